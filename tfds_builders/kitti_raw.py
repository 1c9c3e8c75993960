"""Frames of the KITTI raw recordings, rectified colour cameras 2 and 3."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Self

import tensorflow_datasets as tfds

from packnet_jax.errors import DataError
from tfds_builders.frames import Frame, FramesBuilder, Missing
from tfds_builders.kitti_files import (
    OTHER_CAMERA,
    Camera,
    Inertial,
    read_camera,
    read_depth,
    read_inertial,
    read_pose,
)

DEPTH_TYPES = ("", "velodyne")


@dataclasses.dataclass
class KittiRawConfig(tfds.core.BuilderConfig):
    """Says which frames a store holds; its name contains a hash of the fields below."""

    root: str = ""
    lines: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    reach: int = 0
    depth_type: str = ""
    with_stereo: bool = False


class FrameId(NamedTuple):
    """One picture of KITTI raw: 'date/drive/camera/data/digits.png'."""

    stream: str
    """'date/drive/camera/data'."""

    digits: str
    suffix: str

    @property
    def name(self) -> str:
        return f"{self.stream}/{self.digits}"

    @property
    def number(self) -> int:
        return int(self.digits)

    def beside(self, offset: int) -> "FrameId":
        """The frame that many steps later in the same stream."""
        return self._replace(digits=f"{self.number + offset:0{len(self.digits)}d}")

    def other_eye(self) -> "FrameId":
        """The frame of the other colour camera at the same time."""
        date, drive, camera, data = self.stream.split("/")
        return self._replace(stream=f"{date}/{drive}/{OTHER_CAMERA[camera]}/{data}")


class KittiRaw(FramesBuilder):
    """The frames around the lines of a split file of KITTI raw.

    A line holds one or two picture paths below the root, such as
    `2011_09_26/2011_09_26_drive_0023_sync/image_02/data/0000000001.png`. The first is the target.
    The second is ignored: the other eye's frame follows from the first.

    Source: packnet-sfm `datasets/kitti_dataset.py: KITTIDataset`.
    """

    @classmethod
    def from_options(
        cls,
        *,
        data_dir: str,
        root: str,
        split: str,
        reach: int = 0,
        depth_type: str = "",
        with_stereo: bool = False,
    ) -> Self:
        """The builder for one split file; see `FramesBuilder.from_options`.

        Args:
            split: path of the file, or a name ('eigen_zhou' or 'eigen_zhou.txt') that is looked
                for in the root and in its folders `data_splits` and `splits`.
            depth_type: 'velodyne' for the projected laser scans in `proj_depth/velodyne`.
        """
        if depth_type not in DEPTH_TYPES:
            raise DataError(f"Depth type {depth_type!r} is unknown; KITTI raw has {DEPTH_TYPES}.")
        path = find_split(root, split)
        options = {
            "root": str(Path(root).expanduser().resolve()),
            "lines": tuple(line for line in path.read_text().splitlines() if line.strip()),
            "reach": reach,
            "depth_type": depth_type,
            "with_stereo": with_stereo,
        }
        fingerprint = hashlib.sha256(json.dumps(options).encode()).hexdigest()[:10]
        config = KittiRawConfig(name=f"{path.stem}-{fingerprint}", **options)
        return cls(config=config, data_dir=data_dir)

    @property
    def config(self) -> KittiRawConfig:
        """Which frames this set holds."""
        assert isinstance(self.builder_config, KittiRawConfig)
        return self.builder_config

    def targets(self) -> Sequence[str]:
        """The first column of the split."""
        return [_parse_line(line).name for line in self.config.lines]

    def stereo_pairs(self) -> Mapping[str, str]:
        """The other eye's frame of every target, where stereo is asked for."""
        if not self.config.with_stereo:
            return {}
        targets = map(_parse_line, self.config.lines)
        return {target.name: target.other_eye().name for target in targets}

    def read_frames(self) -> Iterator[Frame | Missing]:
        """Targets, the frames within reach of them, and the other eye's, by stream and number."""
        targets = {_parse_line(line) for line in self.config.lines}
        needed = set(targets)  # listed if missing; a drive may end within reach of a target
        if self.config.with_stereo:
            needed |= {target.other_eye() for target in targets}
        reach = range(-self.config.reach, self.config.reach + 1)
        nearby = {t.beside(step) for t in targets for step in reach if t.number + step >= 0}
        reader = None
        for frame in sorted(needed | nearby):
            path = Path(self.config.root, f"{frame.name}{frame.suffix}")
            if not path.is_file():
                if frame in needed:
                    yield Missing(frame.name, f"there is no file {path}")
                continue
            if reader is None or reader.stream != frame.stream:
                reader = _StreamReader.open(self.config, frame)
            yield from reader.read(frame, path, with_depth=frame in targets)


class _StreamReader(NamedTuple):
    """Reads the frames of one stream, whose calibration it holds."""

    config: KittiRawConfig
    stream: str
    camera: Camera
    inertial: Inertial | None

    @classmethod
    def open(cls, config: KittiRawConfig, frame: FrameId) -> Self:
        date_name, drive, camera, _ = frame.stream.split("/")
        date = Path(config.root, date_name)
        oxts = date / drive / "oxts" / "data"
        inertial = read_inertial(date, oxts, len(frame.digits))
        return cls(config, frame.stream, read_camera(date, camera), inertial)

    def read(self, frame: FrameId, path: Path, *, with_depth: bool) -> Iterator[Frame | Missing]:
        """The frame, after a note if its depth is missing: it may still serve as context."""
        drive = path.parents[2]
        depth, depth_type = None, self.config.depth_type
        if with_depth and depth_type:
            camera = path.parents[1].name
            depth_path = drive / "proj_depth" / depth_type / camera / f"{frame.digits}.npz"
            try:
                depth = read_depth(depth_path, depth_type)
            except ValueError as error:
                yield Missing(frame.name, str(error))
        pose = None
        if self.inertial is not None:
            pose = read_pose(self.inertial, drive / "oxts" / "data" / f"{frame.digits}.txt")
        yield Frame(
            name=frame.name,
            stream=frame.stream,
            number=frame.number,
            image=path.read_bytes(),
            intrinsics=self.camera.intrinsics,
            world_T_camera=pose,
            depth=depth,
            stereo_T_camera=self.camera.stereo_T_camera,
        )


def find_split(root: str, split: str) -> Path:
    """The split file of that name beside the data, or at that path.

    Raises:
        DataError: if there is none; the message lists the places looked at.
    """
    names = [split] if split.endswith(".txt") else [f"{split}.txt", f"{split}_files.txt"]
    folder = Path(root).expanduser()
    folders = [folder, folder / "data_splits", folder / "splits"]
    places = [folder / name for folder in folders for name in names]
    places.append(Path(split).expanduser())
    for place in places:
        if split and place.is_file():
            return place
    looked = ", ".join(str(place) for place in places)
    raise DataError(
        f"There is no split {split!r}: looked for {looked}. Set `data.split` to a file with one "
        "picture path per line, and `data.root` to the folder those paths start from."
    )


def _parse_line(line: str) -> FrameId:
    path = PurePosixPath(line.split()[0])
    if len(path.parts) != 5 or path.parts[2] not in OTHER_CAMERA or not path.stem.isdigit():
        raise DataError(
            f"The split line {line!r} does not start with a path like "
            "'2011_09_26/2011_09_26_drive_0023_sync/image_02/data/0000000001.png'."
        )
    return FrameId(str(path.parent), path.stem, path.suffix)
