"""Frames of the KITTI raw recordings, rectified colour cameras 2 and 3."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import tensorflow_datasets as tfds

from packnet_jax.errors import DataError
from packnet_jax.untrusted import read_text
from tfds_builders.depth_codec import encode_depth
from tfds_builders.frame_checks import header_shape
from tfds_builders.frames import Frame, FramesBuilder, Missing
from tfds_builders.kitti_depth import (
    DEPTH_TYPES,
    KEPT_BEAMS,
    MeasuredDepth,
    NotMeasured,
    read_depth,
)
from tfds_builders.kitti_files import Camera, Inertial, read_camera, read_inertial, read_pose
from tfds_builders.kitti_splits import FrameId, find_split, parse_line, split_name
from tfds_builders.stored_size import FULL_SIZE, StoredSize


@dataclasses.dataclass
class KittiRawConfig(tfds.core.BuilderConfig):
    """Says which frames a store holds; its name contains a hash of the fields below."""

    root: str = ""
    lines: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    reach: int = 0
    depth_type: str = ""
    input_depth_type: str = ""
    with_stereo: bool = False
    depth_beams: int = 0
    input_beams: int = 0
    stored_size: StoredSize = FULL_SIZE


class KittiRaw(FramesBuilder):
    """The frames around the lines of a split file of KITTI raw; see `kitti_splits.parse_line`.

    With `input_depth_type`, targets hold a second depth map, for networks that take one, as the
    feature `input_depth` (read with `decode_depth`); `input_depth_source` says where it is from.

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
        input_depth_type: str = "",
        with_stereo: bool = False,
        stored_size: StoredSize = FULL_SIZE,
        depth_beams: int = 0,
        input_beams: int = 0,
    ) -> Self:
        """The builder for one split file; see `FramesBuilder.from_options`.

        Args:
            data_dir: where built sets are kept.
            root: folder of the raw data.
            split: path of the file, or a name such as 'eigen_zhou'; see `kitti_splits.find_split`.
            reach: how many frames before and after each target are stored as well.
            depth_type: 'velodyne', 'groundtruth' or '' for none; see `kitti_depth.read_depth`.
            input_depth_type: likewise, for the feature `input_depth`.
            with_stereo: whether to store the other eye's frames.
            stored_size: what pictures are cropped and resized to.
            depth_beams: how many of the scanner's 64 beams a 'velodyne' depth has; 0 for all; see
                `scan_lines.kept_lines`.
            input_beams: the same for the feature `input_depth`.

        Raises:
            DataError: an option is unknown, or the split is not found.
        """
        for given in (depth_type, input_depth_type):
            if given not in DEPTH_TYPES:
                raise DataError(f"Depth type {given!r} is unknown; KITTI raw has {DEPTH_TYPES}.")
        path = find_split(root, split)
        try:
            lines = read_text(path).splitlines()
        except ValueError as error:
            raise DataError(f"The split can not be read: {error}") from error
        options = {
            "root": str(Path(root).expanduser().resolve()),
            "lines": tuple(line for line in lines if line.strip()),
            "reach": reach,
            "depth_type": depth_type,
            "with_stereo": with_stereo,
        }
        for name, given in (("depth", depth_beams), ("input", input_beams)):
            if given not in KEPT_BEAMS:
                raise DataError(f"`{name}_beams` is {given}; KITTI's scanner gives {KEPT_BEAMS}.")
        later = {
            "input_depth_type": input_depth_type,
            "depth_beams": depth_beams,
            "input_beams": input_beams,
        }
        later = {key: v for key, v in later.items() if v}  # older sets keep their names
        listed = options | stored_size.settings | later
        fingerprint = hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:10]
        name = f"{split_name(path)}-{fingerprint}"
        config = KittiRawConfig(name=name, stored_size=stored_size, **options, **later)
        return cls(config=config, data_dir=data_dir)

    @property
    def config(self) -> KittiRawConfig:
        """Which frames this set holds."""
        assert isinstance(self.builder_config, KittiRawConfig)
        return self.builder_config

    @property
    def extra_features(self) -> dict[str, tfds.features.FeatureConnector]:
        """The full size of pictures that are stored resized, and input depth."""
        features = self.config.stored_size.features
        if self.config.input_depth_type:
            features["input_depth"] = tfds.features.Text()  # bytes of `encode_depth`
            features["input_depth_source"] = tfds.features.Text()
        return features

    @property
    def extra_metadata(self) -> Mapping[str, Any]:
        """What was done to pictures that are stored resized."""
        return self.config.stored_size.metadata

    def targets(self) -> Sequence[str]:
        """The targets of the split's lines."""
        return [parse_line(line).name for line in self.config.lines]

    def stereo_pairs(self) -> Mapping[str, str]:
        """The other eye's frame of every target, where stereo is asked for."""
        if not self.config.with_stereo:
            return {}
        targets = map(parse_line, self.config.lines)
        return {target.name: target.other_eye().name for target in targets}

    def read_frames(self) -> Iterator[Frame | Missing]:
        """Targets, the frames within reach of them, and the other eye's, by stream and number."""
        targets = {target.name: target for target in map(parse_line, self.config.lines)}
        needed = dict(targets)  # listed if missing; a drive may end within reach of a target
        if self.config.with_stereo:
            needed = {t.other_eye().name: t.other_eye() for t in targets.values()} | needed
        reach = range(-self.config.reach, self.config.reach + 1)
        nearby = (
            t.beside(step) for t in targets.values() for step in reach if t.number + step >= 0
        )
        root = Path(self.config.root)
        reader = None
        for frame in sorted(({frame.name: frame for frame in nearby} | needed).values()):
            path = frame.picture_path(root)
            if path is None:
                if frame.name in needed:
                    file = root / f"{frame.name}{frame.suffix}"
                    yield Missing(frame.name, f"there is no file {file}")
                continue
            if reader is None or reader.stream != frame.stream:
                reader = _StreamReader.open(self.config, frame)
            yield from reader.read(frame, path, with_depth=frame.name in targets)


class _StreamReader(NamedTuple):
    """Reads the frames of one stream, whose calibration it holds."""

    config: KittiRawConfig
    stream: str
    drive: Path
    camera_name: str
    camera: Camera
    inertial: Inertial | None

    @classmethod
    def open(cls, config: KittiRawConfig, frame: FrameId) -> Self:
        date_name, drive_name, camera, _ = frame.stream.split("/")
        date = Path(config.root, date_name)
        drive = date / drive_name
        inertial = read_inertial(date, drive / "oxts" / "data", len(frame.digits))
        return cls(config, frame.stream, drive, camera, read_camera(date, camera), inertial)

    def read(self, frame: FrameId, path: Path, *, with_depth: bool) -> Iterator[Frame | Missing]:
        """The frame, after a note if its depth is missing: it may still serve as context."""
        data = path.read_bytes()
        try:
            image, full_shape = self.config.stored_size.store(data), header_shape(data)
        except ValueError as error:
            yield Missing(frame.name, f"{path}: {error}")
            return
        try:
            pose = self._pose(frame)
        except DataError as error:
            yield Missing(frame.name, str(error))
            return
        config = self.config
        measured = input_depth = None
        if with_depth:
            try:
                measured = self._depth(frame, config.depth_type, full_shape, config.depth_beams)
                input_depth = self._depth(
                    frame, config.input_depth_type, full_shape, config.input_beams
                )
            except ValueError as error:
                yield Missing(frame.name, str(error), is_gap=isinstance(error, NotMeasured))
        yield Frame(
            name=frame.name,
            stream=frame.stream,
            number=frame.number,
            image=image,
            intrinsics=self.camera.intrinsics,
            world_T_camera=pose,
            depth=measured and measured.depth,
            depth_source=measured.source if measured else "",
            stereo_T_camera=self.camera.stereo_T_camera,
            extra=self._extra(full_shape, input_depth),
        )

    def _pose(self, frame: FrameId) -> np.ndarray | None:
        """None where it was not measured; raises DataError if its file is damaged."""
        if self.inertial is None:
            return None
        return read_pose(self.inertial, self.drive / "oxts" / "data" / f"{frame.digits}.txt")

    def _depth(
        self, frame: FrameId, depth_type: str, shape: tuple[int, int], beams: int
    ) -> MeasuredDepth | None:
        """The measurement of that type; raises ValueError if it is not there, or damaged."""
        if not depth_type:
            return None
        return read_depth(
            self.drive,
            self.camera_name,
            frame.digits,
            depth_type,
            image_T_velodyne=self.camera.image_T_velodyne,
            shape=shape,
            beams=beams,
        )

    def _extra(
        self, full_shape: tuple[int, int], input_depth: MeasuredDepth | None
    ) -> dict[str, Any]:
        """Values of the builder's `extra_features`."""
        extra = self.config.stored_size.extra(full_shape)
        if self.config.input_depth_type:
            extra["input_depth"] = encode_depth(input_depth and input_depth.depth)
            extra["input_depth_source"] = input_depth.source if input_depth else ""
        return extra
