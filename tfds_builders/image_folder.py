"""Frames with nothing but pictures: folders of them, or videos."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow_datasets as tfds

from packnet_jax.errors import DataError
from packnet_jax.untrusted import open_picture
from tfds_builders.calibration import Calibration
from tfds_builders.folder_files import COUNT_SLACK, Entry, Stream, find_streams, read_video
from tfds_builders.frame_checks import header_shape
from tfds_builders.frames import Frame, FramesBuilder, Missing, encode_array
from tfds_builders.pictures import grey_thumbnail, mean_difference
from tfds_builders.stored_size import FULL_SIZE, StoredSize, whole_image

SPLITS = ("train", "val", "all")
DEPTH_SUFFIXES = (".npz", ".png")

GUESS = Calibration.parse("auto", setting="data.frames.intrinsics")

ReadDepth = Callable[[Path], np.ndarray]
"""Reads a depth map, [h, w] in metres, 0 where there is none; DataError if it can not be read."""


@dataclasses.dataclass
class ImageFolderConfig(tfds.core.BuilderConfig):
    """Says which frames a store holds; its name contains a hash of all that decides its bytes."""

    streams: tuple[Stream, ...] = dataclasses.field(default=(), repr=False)
    """Those of the split alone."""
    calibration: Calibration = GUESS
    mask_path: Path | None = None
    static_threshold: float = 0.0
    depth_files: Mapping[str, Path] = dataclasses.field(default_factory=dict, repr=False)
    """By the name of the frame."""
    read_depth: ReadDepth | None = dataclasses.field(default=None, repr=False)
    needs_depth: bool = False
    stored_size: StoredSize = FULL_SIZE


class ImageFolder(FramesBuilder):
    """Frames of folders and videos; see `folder_files.find_streams`.

    The metadata's `notes` say in words which camera was taken, and what was left out.
    """

    def __init__(self, **fields: Any):
        super().__init__(**fields)
        self._num_static = 0

    @classmethod
    def from_options(
        cls,
        *,
        data_dir: str,
        root: str,
        split: str = "all",
        pattern: str = "",
        stride: int = 1,
        calibration: Calibration = GUESS,
        mask: str = "",
        static_threshold: float = 0.0,
        val_fraction: float = 0.1,
        depth_root: str = "",
        read_depth: ReadDepth | None = None,
        needs_depth: bool = False,
        stored_size: StoredSize = FULL_SIZE,
    ) -> Self:
        """The builder for one split; see `FramesBuilder.from_options`.

        Args:
            data_dir: where built sets are kept.
            root: a folder, or a video.
            split: 'val' is the end of every stream, 'train' what is before it, 'all' both.
            pattern: which files; see `folder_files.find_streams`.
            stride: keep one picture of so many.
            calibration: the camera of all pictures, or a guess for each by its size.
            mask: path of a picture of the size of all others; where it is 0, they are ignored.
            static_threshold: leave out a frame whose mean difference to the last one that was kept
                is less, in levels of 0 to 255; 0 keeps all.
            val_fraction: share of every stream that is 'val', rounded up.
            depth_root: folder with a depth map (`.npz`, `.png`) under the name of each frame that
                has one; '' for none.
            read_depth: reads such a file; needed with `depth_root`.
            needs_depth: whether frames without depth are no targets.
            stored_size: what pictures are cropped and resized to.

        Raises:
            DataError: there are no such pictures, or the split has none.
        """
        if split not in SPLITS:
            raise DataError(f"A folder of frames has the splits {SPLITS}, not {split!r}.")
        folder = Path(root).expanduser()
        others = [Path(other).expanduser() for other in (depth_root, mask) if other]
        found = find_streams(folder, pattern=pattern, stride=stride, exclude=others)
        streams = _split_streams(found, split, val_fraction)
        if not streams:
            raise DataError(_nothing_in_split(folder, found, split, val_fraction))
        options = {
            "calibration": calibration,
            "mask_path": Path(mask).expanduser() if mask else None,
            "static_threshold": static_threshold,
            "depth_files": _depth_files(depth_root, streams, is_needed=needs_depth),
            "needs_depth": needs_depth,
        }
        fingerprint = _fingerprint(streams, options | stored_size.settings)
        config = ImageFolderConfig(
            name=f"{folder.resolve().stem}-{split}-{fingerprint}",
            streams=streams,
            read_depth=read_depth,
            stored_size=stored_size,
            **options,
        )
        return cls(config=config, data_dir=data_dir)

    @property
    def config(self) -> ImageFolderConfig:
        """Which frames this set holds."""
        assert isinstance(self.builder_config, ImageFolderConfig)
        return self.builder_config

    @property
    def extra_features(self) -> dict[str, tfds.features.FeatureConnector]:
        """The full size of pictures that are stored resized."""
        return self.config.stored_size.features

    @property
    def extra_metadata(self) -> Mapping[str, Any]:
        """The mask, and what was guessed, left out and done to pictures."""
        metadata: dict[str, Any] = {"notes": self._notes(), **self.config.stored_size.metadata}
        mask = _read_mask(self.config.mask_path)
        if mask is not None:
            metadata["mask"] = encode_array(mask)
        return metadata

    def targets(self) -> Sequence[str]:
        """All frames of the split; with `needs_depth`, those with a depth map."""
        with_depth, needs_depth = self.config.depth_files, self.config.needs_depth
        names = (entry.name for stream in self.config.streams for entry in stream.entries)
        return [name for name in names if not needs_depth or name in with_depth]

    def read_frames(self) -> Iterator[Frame | Missing]:
        """Reads the streams one after the other, and leaves out static frames."""
        mask = _read_mask(self.config.mask_path)
        self._num_static = 0
        for stream in self.config.streams:
            yield from self._read_stream(stream, mask)

    def _read_stream(self, stream: Stream, mask: np.ndarray | None) -> Iterator[Frame | Missing]:
        first: tuple[Entry, tuple[int, int]] | None = None
        last_kept: np.ndarray | None = None
        num_static = 0
        for entry, picture in _read_pictures(stream):
            if isinstance(picture, Missing):
                yield picture
                continue
            shape = _shape_of(picture)
            if shape is None:
                yield Missing(entry.name, f"{entry.path} is not a picture")
                continue
            first = first or (entry, shape)
            if shape != first[1]:
                raise DataError(_mixed_sizes(first, (entry, shape)))
            if mask is not None and mask.shape != shape:
                raise DataError(_mask_size(self.config.mask_path, mask, entry, shape))
            if threshold := self.config.static_threshold:
                thumbnail = _thumbnail(picture)
                if _are_alike(thumbnail, last_kept, threshold):
                    num_static += 1
                    continue
                last_kept = last_kept if thumbnail is None else thumbnail
            yield from self._frame(stream, entry, entry.number - num_static, picture, shape)
        self._num_static += num_static

    def _frame(
        self,
        stream: Stream,
        entry: Entry,
        number: int,
        picture: bytes | np.ndarray,
        shape: tuple[int, int],
    ) -> Iterator[Frame | Missing]:
        """The frame, after a note if its depth is damaged: it may still serve as context."""
        try:
            depth = self._depth(entry, shape)
        except DataError as error:
            depth = None
            yield Missing(entry.name, str(error))
        try:
            image = self.config.stored_size.store(picture)
        except ValueError as error:
            yield Missing(entry.name, f"{entry.path}: {error}")
            return
        yield Frame(
            name=entry.name,
            stream=stream.name,
            number=number,
            image=image,
            intrinsics=self.config.calibration.at(shape),
            depth=depth,
            depth_source="" if depth is None else "depth maps beside the pictures",
            extra=self.config.stored_size.extra(shape),
        )

    def _depth(self, entry: Entry, shape: tuple[int, int]) -> np.ndarray | None:
        """The depth of a picture of that height and width; raises DataError if it is damaged."""
        path, read = self.config.depth_files.get(entry.name), self.config.read_depth
        if path is None or read is None:
            return None
        depth = np.squeeze(read(path)).astype(np.float32)
        if depth.shape != shape:
            raise DataError(
                f"the depth {path} has shape {depth.shape}, but its picture {entry.path} {shape}"
            )
        return depth

    def _notes(self) -> list[str]:
        """What people should know of this set, in words."""
        config = self.config
        num_frames = sum(len(stream.entries) for stream in config.streams)
        K = config.calibration.K
        values = (
            "" if K is None else f", fx {K[0, 0]:g} fy {K[1, 1]:g} cx {K[0, 2]:g} cy {K[1, 2]:g}"
        )
        notes = [f"intrinsics: {config.calibration.origin}{values}"]
        if config.static_threshold:
            notes.append(
                f"static frames: {self._num_static} of {num_frames} differ by less than "
                f"{config.static_threshold:g} levels from the frame before and are left out"
            )
        if config.mask_path is not None:
            notes.append(f"mask: where {config.mask_path} is 0, pictures are ignored")
        if config.depth_files:
            notes.append(f"depth: there is a map for {len(config.depth_files)} of {num_frames}")
        return notes


def _split_streams(
    streams: Sequence[Stream], split: str, val_fraction: float
) -> tuple[Stream, ...]:
    """The part of every stream that a split has: blocks, so that no neighbours are parted."""
    parts = []
    for stream in streams:
        count = len(stream.entries)
        num_train = count - math.ceil(count * val_fraction - 1e-9)  # 0.1 * 30 > 3 in binary
        part = {"train": slice(num_train), "val": slice(num_train, None), "all": slice(None)}
        parts.append(stream._replace(entries=stream.entries[part[split]]))
    return tuple(part for part in parts if part.entries)


def _depth_files(depth_root: str, streams: Sequence[Stream], *, is_needed: bool) -> dict[str, Path]:
    """The depth maps by frame.

    Raises:
        DataError: there is none, but some are needed.
    """
    if not depth_root:
        return {}
    folder = Path(depth_root).expanduser()
    names = [entry.name for stream in streams for entry in stream.entries]
    places = ((name, folder / f"{name}{suffix}") for name in names for suffix in DEPTH_SUFFIXES)
    found = {}
    for name, path in places:
        if path.is_file():
            found.setdefault(name, path)
    if is_needed and not found:
        raise DataError(
            f"`data.frames.depth_root`: {folder} has depth for none of {len(names)} frames, such "
            f"as {folder / names[0]}{' or '.join(DEPTH_SUFFIXES)}; its files must be named as the "
            "pictures are, in the same folders."
        )
    return found


def _fingerprint(streams: Sequence[Stream], options: Mapping[str, Any]) -> str:
    """A hash of the files and options that decide the stored bytes."""
    calibration: Calibration = options["calibration"]
    files = {entry.path for stream in streams for entry in stream.entries}
    files |= set(options["depth_files"].values())
    files |= {path for path in [options["mask_path"]] if path is not None and path.is_file()}
    listed = {
        "frames": [(s.name, s.stride, [(e.name, e.number) for e in s.entries]) for s in streams],
        "files": [
            (str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted(files)
        ],
        "calibration": (
            calibration.origin,
            None if calibration.K is None else calibration.K.tolist(),
        ),
        **{key: str(options[key]) for key in sorted(options) if key != "calibration"},
    }
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:10]


def _read_pictures(stream: Stream) -> Iterator[tuple[Entry, bytes | np.ndarray | Missing]]:
    """Every entry with its file's bytes, or its frame of the video, or why there is none."""
    if not stream.is_video:
        for entry in stream.entries:
            yield entry, entry.path.read_bytes()
        return
    entries, path = stream.entries, stream.entries[0].path
    first, last = (entry.number * stream.stride for entry in (entries[0], entries[-1]))
    frames = read_video(path, range(first, last + 1, stream.stride))
    absent = []
    for entry, frame in zip(entries, frames, strict=True):
        if frame is None:
            absent.append(entry)
        else:
            yield entry, frame
    if len(absent) * stream.stride > COUNT_SLACK:
        for entry in absent:
            yield entry, Missing(entry.name, f"the video {path} ends before this frame")


def _shape_of(picture: bytes | np.ndarray) -> tuple[int, int] | None:
    """Height and width, from the head of a file; None if it has none."""
    if not isinstance(picture, bytes):
        return picture.shape[0], picture.shape[1]
    try:
        return header_shape(picture)
    except ValueError:
        return None


def _thumbnail(picture: bytes | np.ndarray) -> np.ndarray | None:
    """None if the picture can not be decoded."""
    try:
        return grey_thumbnail(whole_image(picture))
    except ValueError:
        return None  # the base class lists it


def _are_alike(a: np.ndarray | None, b: np.ndarray | None, threshold: float) -> bool:
    return a is not None and b is not None and mean_difference(a, b) < threshold


def _read_mask(path: Path | None) -> np.ndarray | None:
    """Which pixels count, bool [h, w]; None without a mask.

    Raises:
        DataError: it is not a picture, or ignores everything.
    """
    if path is None:
        return None
    try:
        with open_picture(path) as image:
            levels = np.asarray(image.convert("L"))
    except ValueError as error:
        raise DataError(
            f"`data.frames.mask`: {path} can not be read as a picture ({error})."
        ) from error
    if not levels.any():
        raise DataError(
            f"`data.frames.mask`: {path} is 0 everywhere, but 0 means that a pixel is ignored; "
            "make what counts white."
        )
    return levels > 0


def _mixed_sizes(a: tuple[Entry, tuple[int, int]], b: tuple[Entry, tuple[int, int]]) -> str:
    described = " and ".join(f"{e.path} is {width}x{height}" for e, (height, width) in (a, b))
    return (
        f"{described}, but the pictures of a folder are of one camera and one size. Put them into "
        "folders of their own, or choose with `data.frames.pattern`."
    )


def _mask_size(path: Path | None, mask: np.ndarray, entry: Entry, shape: tuple[int, int]) -> str:
    return (
        f"`data.frames.mask`: {path} is {mask.shape[1]}x{mask.shape[0]}, but the picture "
        f"{entry.path} is {shape[1]}x{shape[0]}; a mask has the size of the pictures as they are."
    )


def _nothing_in_split(
    folder: Path, streams: Sequence[Stream], split: str, val_fraction: float
) -> str:
    counts = ", ".join(f"{stream.name}: {len(stream.entries)}" for stream in streams[:5])
    return (
        f"{folder}: the split {split!r} is empty. There are {len(streams)} streams with so many "
        f"pictures: {counts}; the last {val_fraction:.0%} of each, rounded up, are 'val', the "
        "others 'train'. Record more, change `data.frames.val_fraction`, or use all pictures for "
        "both: `data.split=all`, `data.eval_split=all`."
    )
