"""Random access to the frames of a built set; builds it on first use.

Only building needs TensorFlow. Reading uses the array records directly and decodes a picture or
a depth map when it is asked for, so that a context frame never pays for depth.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.proto import tf_example_pb2

from packnet_jax.data.buckets import fetch_set
from packnet_jax.errors import DataError, PacknetError, first_line, reason
from packnet_jax.locks import take_lock
from packnet_jax.quiet import without_warnings
from tfds_builders.depth_codec import decode_depth
from tfds_builders.frame_checks import header_shape
from tfds_builders.frames import ALLOW_MISSING, SPLIT, FramesBuilder, decode_array
from tfds_builders.pictures import CropBorders, decode_image

_Example: Any = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]


class FrameSource(Protocol):
    """What a `FrameStore` reads: serialised `tf.train.Example`s by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, record: Any, /) -> bytes: ...


@dataclasses.dataclass(frozen=True)
class StoredFrame:
    """One frame, still encoded; each method decodes anew."""

    name: str
    intrinsics: np.ndarray
    """Camera matrix K, float64 [3, 3], in pixels of the full picture."""
    world_T_camera: np.ndarray
    """Pose, float64 [4, 4], metres; the identity where the store has no poses."""
    stereo_T_camera: np.ndarray
    """From this camera to the other eye, float64 [4, 4]; the identity without stereo."""
    encoded: Mapping[str, bytes]
    """Every feature as bytes, also those that one builder adds."""

    def image(self, feature: str = "image") -> np.ndarray:
        """The picture, uint8 [h, w, 3]; grey ones are repeated over the channels.

        Raises:
            DataError: if it can not be decoded.
        """
        try:
            return decode_image(self.encoded[feature])
        except ValueError as error:
            raise _damaged(self.name, f"feature {feature!r}: {error}") from error

    def depth(self, feature: str = "depth") -> np.ndarray | None:
        """Depth in metres at the full size, float32 [h, w], 0 = none; None if not stored.

        Raises:
            DataError: if it can not be decoded.
        """
        try:
            return decode_depth(self.encoded[feature])
        except ValueError as error:
            raise _damaged(self.name, f"feature {feature!r}: {error}") from error

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the picture as stored, without decoding it.

        Raises:
            DataError: if it is no picture.
        """
        try:
            return header_shape(self.encoded["image"])
        except ValueError as error:
            raise _damaged(self.name, str(error)) from error

    @property
    def depth_source(self) -> str:
        """Where the depth is from; empty if the builder does not say."""
        return self.encoded.get("depth_source", b"").decode()

    def source_of(self, feature: str) -> str:
        """Where another depth map is from; the name of the feature if the builder does not say."""
        return self.encoded.get(f"{feature}_source", feature.encode()).decode()

    @property
    def timestamp(self) -> float | None:
        """Seconds on the stream's own clock; None if the builder does not say."""
        stored = self.encoded.get("timestamp")
        time = np.nan if stored is None else float(np.frombuffer(stored, np.float64)[0])
        return None if np.isnan(time) else time

    @property
    def vehicle_T_camera(self) -> np.ndarray | None:
        """Where the camera sits on the car, float64 [4, 4], metres; None if it is not known."""
        data = self.encoded.get("vehicle_T_camera")
        return None if data is None else _matrix(data, 4)

    @property
    def full_shape(self) -> tuple[int, int]:
        """Height and width of a resized picture before it was stored."""
        height, width = np.frombuffer(self.encoded["full_shape"], np.int64)
        return int(height), int(width)


class Framing(NamedTuple):
    """Which part of every picture is shown, and at which size."""

    shape: tuple[int, int]
    """Height and width."""
    crop: CropBorders = ()
    """What is cut off before resizing; see `tfds_builders.pictures.crop_box`."""


class FrameStore:
    """The frames of one built set by record number, and its metadata.

    Frames are read anew each time and nothing is kept, so threads may share a store.
    """

    def __init__(self, source: FrameSource, metadata: Mapping[str, Any], *, name: str):
        """Args:
        source: the serialised frames.
        metadata: as `FramesBuilder` describes it.
        name: of the set, for messages.
        """
        self.name = name
        self.streams: Sequence[Mapping[str, Any]] = metadata["streams"]
        self.targets = np.array(metadata["targets"], np.int64)
        self.stereo = np.array(metadata["stereo"], np.int64)
        self.has_pose: bool = metadata["has_pose"]
        self.has_depth: bool = metadata["has_depth"]
        self.missing: Sequence[Mapping[str, str]] = metadata["missing"]
        self.depth_sources: Mapping[str, int] = metadata.get("depth_sources", {})
        self.rigs = np.array(metadata.get("rigs", ()), np.int64)
        """Records by moment and camera, [moments, cameras]; empty without several cameras."""
        self.notes: Sequence[str] = metadata.get("notes", ())
        """What people should know of the set, in words: a guessed camera, frames left out."""
        self.framing: Framing | None = None
        """How pictures were cropped and resized before storing; None if they were not."""
        if "stored_shape" in metadata:
            height, width = metadata["stored_shape"]
            self.framing = Framing((height, width), tuple(metadata["stored_crop"]))
        self.ray_template = _array(metadata, "ray_template")
        """Unit rays of every pixel, float32 [1, 3, h, w], where the cameras are no pinholes; else
        None. Depth is then along the ray."""
        self.mask = _array(metadata, "mask")
        """Which pixels of every picture count, bool [h, w] at its full size; None if all do."""
        self._source = source

    def fingerprint(self) -> str:
        """Of which frames there are, in which order; their pixels are not looked at."""
        streams = [dict(stream) for stream in self.streams]
        described = [self.name, len(self), streams, self.targets.tolist(), self.has_pose]
        text = json.dumps(described, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, record: int) -> StoredFrame:
        """The frame at that position.

        Raises:
            DataError: if the record is damaged.
        """
        try:
            example = _Example.FromString(self._source[int(record)])
            features = example.features.feature
            encoded = {key: features[key].bytes_list.value[0] for key in features}
            return StoredFrame(
                name=encoded["name"].decode(),
                intrinsics=_matrix(encoded["intrinsics"], 3),
                world_T_camera=_matrix(encoded["world_T_camera"], 4),
                stereo_T_camera=_matrix(encoded["stereo_T_camera"], 4),
                encoded=encoded,
            )
        except Exception as error:  # readers raise whatever their file format likes
            raise _damaged(self._describe(int(record)), str(error)) from error

    def _describe(self, record: int) -> str:
        for stream in self.streams:
            position = record - stream["first_record"]
            if 0 <= position < len(stream["numbers"]):
                return f"{stream['name']}, number {stream['numbers'][position]} in {self.name}"
        return f"record {record} of {len(self)} in {self.name}"


def open_store(
    make_builder: Callable[[], FramesBuilder],
    *,
    allow_missing: float = ALLOW_MISSING,
    bucket: str | None = None,
) -> FrameStore:
    """Opens a set of frames, building it first if it is not there yet.

    Processes that share the folder of built sets wait for whichever builds first.

    Args:
        make_builder: makes the builder; it is asked again after a build, since a builder learns
            what is on disk only when it is made.
        allow_missing: share of the targets that a build may skip; see `FramesBuilder.build`.
        bucket: where the set comes from instead of being built; see `buckets.fetch_set`.

    Raises:
        DataError: nothing can be stored, more is missing, or the disk takes no more.
    """
    try:
        builder = _built(make_builder, allow_missing, bucket)
    except (OSError, RuntimeError) as error:  # RuntimeError is what writers of records raise
        raise DataError(
            f"A data set can not be built ({reason(error)}); nothing of it is kept. Look for space "
            "and permissions at `data.tfds_dir`, and start the same command again."
        ) from error
    full_name = f"{builder.name}/{Path(builder.data_dir).parent.name}"
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    read: Any = builder.as_data_source  # TFDS's decorator hides its signature from checkers
    with _damage_named(full_name):
        metadata: Any = builder.info.metadata
        store = FrameStore(read(SPLIT, deserialize_method=raw), metadata, name=full_name)
    if store.missing:
        first = "; ".join(f"{item['name']}: {item['reason']}" for item in store.missing[:3])
        have = f"{len(store.targets)} targets remain"
        number = len(store.missing)
        logging.warning("%s lacks %d frames (%s), first: %s", full_name, number, have, first)
    for note in store.notes:
        logging.info("%s: %s", full_name, note)
    if len(store.depth_sources) > 1:
        mixed = ", ".join(f"{count} {name}" for name, count in store.depth_sources.items())
        logging.warning("%s mixes sources of depth: %s", full_name, mixed)
    return store


def _built(
    make_builder: Callable[[], FramesBuilder], allow_missing: float, bucket: str | None
) -> FramesBuilder:
    with without_warnings():  # that a configuration is custom, as all of ours are, or not built
        with _damage_named("of this configuration"):
            builder = make_builder()
        if builder.is_prepared():
            return builder
    folder = Path(builder.data_dir)
    with _only_one_process(folder.parent), without_warnings():
        if not builder.is_prepared() and bucket is not None:
            fetch_set(bucket, folder)
        elif not builder.is_prepared():
            builder.build(allow_missing=allow_missing)
        return make_builder()


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Whatever readers of a built set's own files raise is a DataError."""
    try:
        yield
    except (PacknetError, OSError):
        raise
    except Exception as error:
        raise DataError(
            f"The built set {name} can not be opened: its `dataset_info.json` or `metadata.json` "
            f"is damaged ({first_line(error)}). Delete it under `data.tfds_dir` and start again to "
            "build it anew."
        ) from error


@contextmanager
def _only_one_process(folder: Path) -> Iterator[None]:
    """Holds a lock beside `folder`, and clears what a killed build left in it.

    On file systems without locks a warning says that nobody watches; then nothing is cleared, as it
    may be another build's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f"{folder.name}.lock", "w") as lock:
        refusal = take_lock(lock.fileno(), wait=True)
        if refusal is not None:
            logging.warning("%s can not be locked (%s): build no set twice", folder, refusal)
        else:
            for leftover in folder.glob("incomplete.*"):
                shutil.rmtree(leftover, ignore_errors=True)
        yield


def _array(metadata: Mapping[str, Any], key: str) -> np.ndarray | None:
    return decode_array(metadata[key]) if key in metadata else None


def _matrix(data: bytes, size: int) -> np.ndarray:
    return np.frombuffer(data, np.float64).reshape(size, size)


def _damaged(what: str, why: str) -> DataError:
    return DataError(
        f"The stored frame {what} is damaged ({why}). Delete the built set under `data.tfds_dir` "
        "and start again to build it anew."
    )
