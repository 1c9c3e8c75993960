"""What every frame store has in common: its features and its builder.

A frame store is a TFDS data set with one split, 'frames', written as array records in build
order, so that a frame is found by its integer position (its *record*). Each frame is stored
once. Which frames are targets, and which are neighbours in time, is said by the metadata.
"""

import base64
import io
import math
import zlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from packnet_jax.errors import DataError
from packnet_jax.untrusted import MAX_ARRAY_BYTES, parse_array
from tfds_builders.depth_codec import decode_depth, encode_depth
from tfds_builders.frame_checks import defect, in_pixels, picture_shape

__all__ = [
    "ALLOW_MISSING",
    "MAX_FRAMES",
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
ALLOW_MISSING = 0.01
"""Share of a split's targets that may be missing or damaged, unless a caller says otherwise."""

_ALWAYS_ALLOWED = 1  # of a set of a few frames, one is more than any small share
_ENOUGH_TO_STOP = 20  # a build of hours should not go on once so many are bad
_LISTED = 5

# TFDS sorts records by 128-bit keys, in memory, one bucket (a thousandth of the keys) at a time.
# Keys this far apart put about a thousand frames into each.
MAX_FRAMES = 2**20
_KEY_STEP = 2**128 // MAX_FRAMES


class Frame(NamedTuple):
    """One picture of one camera, with what is known about it."""

    name: str
    """Unique and path-like, without a suffix: 'town/drive_0001/camera_02/data/0000000005'."""

    stream: str
    """The camera along one drive; frames are neighbours only within a stream."""

    number: int
    """Position in the stream: `number + 1` is the next picture in time."""

    image: bytes | np.ndarray
    """Bytes of a PNG, JPEG or BMP file, kept as they are, or uint8 [h, w, 3] (stored as PNG)."""

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
    is_gap: bool = False
    """True where the set itself has none of it, as improved ground truth that covers a part of the
    split only: listed, but nothing to be mended."""


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

    Four more have defaults: `stereo_pairs()` gives the name of the other eye's frame, by name,
    `rigs()` the frames that several cameras took at once, `extra_features` adds features (such as
    `semantics`), and `extra_metadata` adds metadata. Every feature must be stored as bytes: an
    Image, a Text, or a Tensor with `encoding=tfds.features.Encoding.BYTES`.

    A frame that can not be used is no reason to end a build of hours: it is `Missing`, too. That
    goes for pictures that can not be decoded or have another size than those before of the same
    stream and K, poses that are not finite, K without positive focal lengths or with a centre far
    outside the picture, and depth maps without a pixel. `build` says when there are too many.

    The metadata of a built set:

    - `streams`: list of {name, numbers, first_record}; frame `numbers[i]` is record
      `first_record + i`;
    - `targets`: records, in the order of the split;
    - `stereo`: per record the record of the other eye's frame, or -1;
    - `has_pose`: whether every frame's pose is known (else poses are stored as the identity);
    - `has_depth`: whether every target has depth;
    - `depth_sources`: number of targets by the source of their depth;
    - `missing`: list of {name, reason};
    - `rigs`: only if the builder has any: list of the records that were taken at one moment, one
      for each camera, in the cameras' order; moments that lack one are left out;
    - `mask`: which pixels of every picture count, bool [h, w] at its full size, as `encode_array`
      writes it; only if some do not;
    - `notes`: what people should know of the set, in words; optional;
    - `stored_shape`, `stored_crop`: only if pictures were cropped and resized before storing. The
      feature `full_shape` then holds their height and width before, and intrinsics and depth are
      those of the full picture;
    - `ray_template`: only of sets whose cameras are no pinholes but all alike: unit rays in the
      camera, float32 [1, 3, h, w], as `encode_array` writes them. Depth is then along the ray.
    """

    VERSION = tfds.core.Version("1.1.0")
    # Nothing is downloaded. This also spares TFDS a look for a file of checksums, which fails
    # where the package importlib_resources, which it needs but does not declare, is absent.
    url_infos = None
    _allow_missing = ALLOW_MISSING

    @abstractmethod
    def read_frames(self) -> Iterator[Frame | Missing]:
        """All frames to store, stream by stream."""

    @abstractmethod
    def targets(self) -> Sequence[str]:
        """Names of the target frames in the order of the split."""

    def stereo_pairs(self) -> Mapping[str, str]:
        """For a frame's name, the name of the other eye's frame taken at the same time."""
        return {}

    def rigs(self) -> Sequence[Sequence[str]]:
        """Names of the frames taken at one moment, by moment, all in the same order of cameras."""
        return ()

    @property
    def extra_features(self) -> dict[str, tfds.features.FeatureConnector]:
        """Features beside the common ones."""
        return {}

    @property
    def extra_metadata(self) -> Mapping[str, Any]:
        """Metadata beside the common ones."""
        return {}

    def build(self, *, allow_missing: float = ALLOW_MISSING) -> None:
        """Writes the set unless it is there already; an interrupted build leaves no set.

        Args:
            allow_missing: share of the targets, in [0, 1], that may be missing or damaged; a single
                one always may. Gaps of the set itself (`Missing.is_gap`) do not count.

        Raises:
            DataError: more are, or no target is left. It comes before the end where many are bad.
        """
        import tensorflow as tf

        self._allow_missing = allow_missing
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
        ledger = _Ledger(self.name, self.targets(), self._allow_missing)
        for item in self.read_frames():
            missing = item if isinstance(item, Missing) else ledger.defect(item)
            if missing is not None:
                ledger.miss(missing)
                continue
            assert isinstance(item, Frame)
            yield ledger.add(item) * _KEY_STEP, _example(item)
        metadata = ledger.metadata(self.stereo_pairs(), self.rigs())
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
        ValueError: if the text is not what `encode_array` wrote, or stands for more than is read.
    """
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text, validate=True), MAX_ARRAY_BYTES)
        return parse_array(data)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"These {len(text)} characters are not an array: {error}.") from error


class _Ledger:
    """Counts the frames as they are stored, and those that can not be."""

    def __init__(self, name: str, targets: Sequence[str], allow_missing: float):
        self._name = name
        self._targets = targets
        self._wanted = frozenset(targets)
        self._allow_missing = allow_missing
        self._missing: list[Missing] = []
        self._bad_targets: dict[str, Missing] = {}
        self._sizes: dict[tuple[str, bytes], tuple[int, int]] = {}  # of the last stream and K
        self._records: dict[str, int] = {}
        self._streams: list[dict[str, Any]] = []
        self._has_pose = True
        self._has_depth: list[bool] = []
        self._depth_sources: list[str] = []

    def defect(self, frame: Frame) -> Missing | None:
        """What makes the frame useless, or None."""
        try:
            shape = picture_shape(frame.image)
        except ValueError as error:
            return Missing(frame.name, str(error))
        if frame.extra and "full_shape" in frame.extra:
            height, width = frame.extra["full_shape"]
            shape = int(height), int(width)
        reason = defect(
            shape=shape,
            intrinsics=frame.intrinsics,
            world_T_camera=frame.world_T_camera,
            depth=frame.depth,
        )
        camera = frame.stream, np.asarray(frame.intrinsics).tobytes()
        before = self._sizes.get(camera, shape)
        if reason is None and before != shape:
            reason = (
                f"the picture is {in_pixels(shape)}, those before it in {frame.stream} are "
                f"{in_pixels(before)}, and its calibration is theirs"
            )
        if reason is not None:
            return Missing(frame.name, reason)
        self._sizes = {camera: shape}
        return None

    def miss(self, missing: Missing) -> None:
        """Notes what can not be stored; raises DataError once it is clear that too much is."""
        self._missing.append(missing)
        if missing.name in self._wanted and not missing.is_gap:
            self._bad_targets[missing.name] = missing
            if len(self._bad_targets) >= _ENOUGH_TO_STOP:
                self._check("or more ")

    def _check(self, more: str = "") -> None:
        bad, wanted = list(self._bad_targets.values()), len(self._wanted)
        if len(bad) > max(_ALWAYS_ALLOWED, math.floor(self._allow_missing * wanted)):
            raise DataError(
                f"{len(bad)} {more}of the {wanted} target frames of {self._name} are missing or "
                f"damaged, but at most a share of {self._allow_missing:g} may be "
                f"(data.allow_missing); first:{_listed(bad)}\nCheck `data.root` and these files, "
                "or go on without them: set data.allow_missing to a larger share, up to 1."
            )

    def add(self, frame: Frame) -> int:
        """Gives the frame its record; raises DataError where it has no place."""
        record = len(self._records)
        if record == MAX_FRAMES:
            raise DataError(
                f"{self._name}: a store holds at most {MAX_FRAMES} frames; split the set."
            )
        if frame.name in self._records:
            raise DataError(
                f"{self._name}: two frames are named {frame.name}; names must be unique: remove or "
                "rename one of their files."
            )
        if not self._streams or self._streams[-1]["name"] != frame.stream:
            if any(stream["name"] == frame.stream for stream in self._streams):
                raise DataError(
                    f"{self._name}: the frames of stream {frame.stream} must come together, but "
                    f"{frame.name} comes after some of {self._streams[-1]['name']}; read one "
                    "stream after the other."
                )
            self._streams.append({"name": frame.stream, "numbers": [], "first_record": record})
        numbers = self._streams[-1]["numbers"]
        if numbers and frame.number <= numbers[-1]:
            raise DataError(
                f"{self._name}: frame {frame.name} of number {frame.number} comes after number "
                f"{numbers[-1]} of stream {frame.stream}; sort them, and keep one file of each "
                "number."
            )
        numbers.append(frame.number)
        self._records[frame.name] = record
        self._has_pose &= frame.world_T_camera is not None
        self._has_depth.append(frame.depth is not None)
        self._depth_sources.append(frame.depth_source)
        return record

    def metadata(self, stereo: Mapping[str, str], rigs: Sequence[Sequence[str]]) -> dict[str, Any]:
        """What is stored; raises DataError if too little is."""
        present = self._records.keys() - {missing.name for missing in self._missing}
        records = [self._records[name] for name in self._targets if name in present]
        if not records:
            raise DataError(_nothing_left(self._name, self._missing))
        self._check()
        complete = [[self._records[n] for n in rig] for rig in rigs if present.issuperset(rig)]
        return {
            "streams": self._streams,
            "targets": records,
            "stereo": [self._records.get(stereo.get(name, ""), -1) for name in self._records],
            "has_pose": self._has_pose,
            "has_depth": all(self._has_depth[record] for record in records),
            "depth_sources": Counter(
                self._depth_sources[record] for record in records if self._has_depth[record]
            ),
            "missing": [{"name": m.name, "reason": m.reason} for m in self._missing],
            **({"rigs": complete} if rigs else {}),
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


def _listed(missing: Sequence[Missing]) -> str:
    return "".join(f"\n  {item.name}: {item.reason}" for item in missing[:_LISTED])


def _nothing_left(name: str, missing: Sequence[Missing]) -> str:
    return (
        f"No target frame of {name} could be stored; {len(missing)} are missing or damaged, "
        f"first:{_listed(missing) or ' none'}\nCheck that `data.root` is the folder the split's "
        "lines start from, and that the split is not empty."
    )
