"""What every frame store has in common: its features and its builder.

A frame store is a TFDS data set with one split, 'frames', written as array records in build
order, so that a frame is found by its integer position (its *record*). Each frame is stored
once. Which frames are targets, and which are neighbours in time, is said by the metadata.
"""

import base64
import io
import zlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from packnet_jax.errors import DataError
from tfds_builders.depth_codec import decode_depth, encode_depth

__all__ = [
    "SPLIT",
    "Frame",
    "FramesBuilder",
    "Missing",
    "decode_array",
    "decode_depth",
    "encode_array",
    "encode_depth",
]

SPLIT = "frames"

# TFDS sorts records by 128-bit keys, in memory, one bucket (a thousandth of the keys) at a time.
# Keys this far apart put about a thousand frames into each.
_MAX_FRAMES = 2**20
_KEY_STEP = 2**128 // _MAX_FRAMES


class Frame(NamedTuple):
    """One picture of one camera, with what is known about it."""

    name: str
    """Unique and path-like, without a suffix: 'town/drive_0001/camera_02/data/0000000005'."""

    stream: str
    """The camera along one drive; frames are neighbours only within a stream."""

    number: int
    """Position in the stream: `number + 1` is the next picture in time."""

    image: bytes | np.ndarray
    """Bytes of a PNG or JPEG file, kept as they are, or uint8 [h, w, 3] (stored as PNG)."""

    intrinsics: np.ndarray
    """Camera matrix K [3, 3] in pixels of `image`."""

    world_T_camera: np.ndarray | None = None
    """Pose [4, 4] in metres, in any world that the whole stream shares; None if unknown."""

    depth: np.ndarray | None = None
    """Depth [h, w] in metres along z, 0 where there is none; None if not measured."""

    depth_source: str = ""
    """Where the depth is from, for the protocol of an evaluation: 'dense (rendered)'."""

    stereo_T_camera: np.ndarray | None = None
    """Transform [4, 4] from this camera to the other eye, metres; None if there is none."""

    extra: Mapping[str, Any] | None = None
    """Values of the builder's `extra_features`, encoded as those features expect."""


class Missing(NamedTuple):
    """A picture or measurement that a split names and the disk does not hold intact."""

    name: str
    reason: str


class FramesBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base of the builders; it numbers the frames and writes the metadata.

    A builder says what its frames are, in three methods:

    - `from_options(...)`: the builder for one split. It makes a `tfds.core.BuilderConfig` whose
      name differs whenever the stored bytes would, and passes it to the constructor together
      with `data_dir`. It must be cheap: it runs each time a store is opened.
    - `read_frames()`: yields every `Frame` to store, those of one stream together and by rising
      `number`. Frames that only serve as context are yielded as well. Instead of a frame it may
      yield `Missing`, which is listed in the metadata.
    - `targets()`: names of the target frames, in the order of the split. Repeats are allowed.
      Those that were not stored, or were yielded as `Missing`, are dropped. A frame whose depth
      is missing may be yielded as `Missing` and as `Frame`: it then serves as context only.

    Three more have defaults: `stereo_pairs()` gives the name of the other eye's frame, by name,
    `extra_features` adds features (such as `semantics`), and `extra_metadata` adds metadata. Every
    feature must be stored as bytes: an Image, a Text, or a Tensor with
    `encoding=tfds.features.Encoding.BYTES`.

    The metadata of a built set:

    - `streams`: list of {name, numbers, first_record}; frame `numbers[i]` is record
      `first_record + i`;
    - `targets`: records, in the order of the split;
    - `stereo`: per record the record of the other eye's frame, or -1;
    - `has_pose`: whether every frame's pose is known (else poses are stored as the identity);
    - `has_depth`: whether every target has depth;
    - `depth_sources`: number of targets by the source of their depth;
    - `missing`: list of {name, reason};
    - `mask`: which pixels of every picture count, bool [h, w] at its full size, as `encode_array`
      writes it; only if some do not;
    - `notes`: what people should know of the set, in words; optional;
    - `stored_shape`, `stored_crop`: only if pictures were cropped and resized before storing. The
      feature `full_shape` then holds their height and width before, and intrinsics and depth are
      those of the full picture.
    """

    VERSION = tfds.core.Version("1.1.0")
    # Nothing is downloaded. This also spares TFDS a look for a file of checksums, which fails
    # where the package importlib_resources, which it needs but does not declare, is absent.
    url_infos = None

    @abstractmethod
    def read_frames(self) -> Iterator[Frame | Missing]:
        """All frames to store, stream by stream."""

    @abstractmethod
    def targets(self) -> Sequence[str]:
        """Names of the target frames in the order of the split."""

    def stereo_pairs(self) -> Mapping[str, str]:
        """For a frame's name, the name of the other eye's frame taken at the same time."""
        return {}

    @property
    def extra_features(self) -> dict[str, tfds.features.FeatureConnector]:
        """Features beside the common ones."""
        return {}

    @property
    def extra_metadata(self) -> Mapping[str, Any]:
        """Metadata beside the common ones."""
        return {}

    def build(self) -> None:
        """Writes the set unless it is there already; an interrupted build leaves no set."""
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")  # the accelerator belongs to jax
        self.download_and_prepare(file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        bytes_tensor = {"dtype": np.float64, "encoding": tfds.features.Encoding.BYTES}
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Frames of driving sequences, stored once each ({self.name}).",
            features=tfds.features.FeaturesDict(
                {
                    "name": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "intrinsics": tfds.features.Tensor(shape=(3, 3), **bytes_tensor),
                    "world_T_camera": tfds.features.Tensor(shape=(4, 4), **bytes_tensor),
                    "stereo_T_camera": tfds.features.Tensor(shape=(4, 4), **bytes_tensor),
                    "depth": tfds.features.Text(),  # bytes of `encode_depth`
                    "depth_source": tfds.features.Text(),
                    **self.extra_features,
                }
            ),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # the data are on this machine already, or made
        return {SPLIT: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        ledger = _Ledger()
        for item in self.read_frames():
            missing = item if isinstance(item, Missing) else _unreadable(item)
            if missing is not None:
                ledger.missing.append(missing)
                continue
            assert isinstance(item, Frame)
            yield ledger.add(item) * _KEY_STEP, _example(item)
        metadata = ledger.metadata(self.targets(), self.stereo_pairs())
        if not metadata["targets"]:
            raise DataError(_nothing_left(self.name, ledger.missing))
        assert isinstance(self.info.metadata, tfds.core.MetadataDict)
        self.info.metadata.update({**metadata, **self.extra_metadata})


def encode_array(array: np.ndarray) -> str:
    """An array as text, for metadata."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode()


def decode_array(text: str) -> np.ndarray:
    """The inverse of `encode_array`.

    Raises:
        ValueError: if the text is not what `encode_array` wrote.
    """
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
    except zlib.error as error:
        raise ValueError(f"These {len(text)} characters are not an array: {error}.") from error
    return np.load(io.BytesIO(data), allow_pickle=False)


class _Ledger:
    """Counts the frames as they are stored."""

    def __init__(self):
        self.missing: list[Missing] = []
        self._records: dict[str, int] = {}
        self._streams: list[dict[str, Any]] = []
        self._has_pose = True
        self._has_depth: list[bool] = []
        self._depth_sources: list[str] = []

    def add(self, frame: Frame) -> int:
        """Gives the frame its record."""
        record = len(self._records)
        if record == _MAX_FRAMES:
            raise ValueError(f"A store holds at most {_MAX_FRAMES} frames; split the set.")
        if frame.name in self._records:
            raise ValueError(f"Two frames are named {frame.name}; names must be unique.")
        if not self._streams or self._streams[-1]["name"] != frame.stream:
            if any(stream["name"] == frame.stream for stream in self._streams):
                raise ValueError(f"The frames of stream {frame.stream} must come together.")
            self._streams.append({"name": frame.stream, "numbers": [], "first_record": record})
        numbers = self._streams[-1]["numbers"]
        if numbers and frame.number <= numbers[-1]:
            raise ValueError(f"Frame {frame.name} comes after number {numbers[-1]}; sort them.")
        numbers.append(frame.number)
        self._records[frame.name] = record
        self._has_pose &= frame.world_T_camera is not None
        self._has_depth.append(frame.depth is not None)
        self._depth_sources.append(frame.depth_source)
        return record

    def metadata(self, targets: Sequence[str], stereo: Mapping[str, str]) -> dict[str, Any]:
        present = self._records.keys() - {missing.name for missing in self.missing}
        records = [self._records[name] for name in targets if name in present]
        return {
            "streams": self._streams,
            "targets": records,
            "stereo": [self._records.get(stereo.get(name, ""), -1) for name in self._records],
            "has_pose": self._has_pose,
            "has_depth": all(self._has_depth[record] for record in records),
            "depth_sources": Counter(
                self._depth_sources[record] for record in records if self._has_depth[record]
            ),
            "missing": [missing._asdict() for missing in self.missing],
        }


def _example(frame: Frame) -> dict[str, Any]:
    pose = np.eye(4) if frame.world_T_camera is None else frame.world_T_camera
    stereo = np.eye(4) if frame.stereo_T_camera is None else frame.stereo_T_camera
    image = frame.image
    return {
        "name": frame.name,
        "image": io.BytesIO(image) if isinstance(image, bytes) else image,
        "intrinsics": np.asarray(frame.intrinsics, np.float64),
        "world_T_camera": np.asarray(pose, np.float64),
        "stereo_T_camera": np.asarray(stereo, np.float64),
        "depth": encode_depth(frame.depth),
        "depth_source": frame.depth_source,
        **(frame.extra or {}),
    }


def _unreadable(frame: Frame) -> Missing | None:
    """Says why the frame's picture can not be decoded, or None if it can."""
    if not isinstance(frame.image, bytes):
        return None
    try:
        with Image.open(io.BytesIO(frame.image)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        return Missing(frame.name, f"the picture can not be decoded: {error}")
    return None


def _nothing_left(name: str, missing: Sequence[Missing]) -> str:
    listed = "".join(f"\n  {item.name}: {item.reason}" for item in missing[:5])
    return (
        f"No target frame of {name} could be stored; {len(missing)} are missing or damaged, "
        f"first:{listed or ' none'}\nCheck that `data.root` is the folder the split's lines "
        "start from, and that the split is not empty."
    )
