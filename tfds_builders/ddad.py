"""Frames of DDAD, and of other scenes in the format of DGP: several cameras around a car."""

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import tensorflow_datasets as tfds

from packnet_jax.errors import DataError
from tfds_builders.depth_codec import encode_depth
from tfds_builders.dgp_depth import DEPTH_TYPES, read_depth
from tfds_builders.dgp_files import (
    Camera,
    Sample,
    Scene,
    find_data_set,
    list_scenes,
    read_calibration,
    read_scene,
)
from tfds_builders.frame_checks import header_shape
from tfds_builders.frames import Frame, FramesBuilder, Missing
from tfds_builders.stored_size import FULL_SIZE, StoredSize


@dataclasses.dataclass
class DdadConfig(tfds.core.BuilderConfig):
    """Says which frames a store holds; its name contains a hash of the fields below."""

    data_set: str = ""
    """Path of the JSON that lists the scenes."""
    scenes: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    """Paths of the scenes' files, below its folder."""
    cameras: tuple[str, ...] = ()
    """In lower case; () for all that any scene has, by name."""
    depth_type: str = ""
    input_depth_type: str = ""
    stored_size: StoredSize = FULL_SIZE


class Ddad(FramesBuilder):
    """Every sample of a split's scenes: a stream for each camera of each scene, all frames targets.

    Targets come moment by moment, and of one moment in the order of the cameras; `rigs` has the
    moments whose cameras are all there. The feature `vehicle_T_camera` (float64 [4, 4]) is the
    camera's place on the car. With `input_depth_type`, frames hold the feature `lidar` (read with
    `decode_depth`), for networks that take depth; `lidar_source` says where it is from.

    Source: packnet-sfm `datasets/dgp_dataset.py: DGPDataset`.
    Differs: what samples name and the disk does not hold is listed; there it ends the run. Depth
    that was projected is not written into the data set's folders.
    """

    @classmethod
    def from_options(
        cls,
        *,
        data_dir: str,
        root: str,
        split: str,
        cameras: Sequence[str] = (),
        depth_type: str = "",
        input_depth_type: str = "",
        stored_size: StoredSize = FULL_SIZE,
    ) -> Self:
        """The builder for one split; see `FramesBuilder.from_options`.

        Args:
            data_dir: where built sets are kept.
            root: the JSON that lists the scenes, such as ddad.json, or the folder it lies in.
            split: one of `dgp_files.SPLITS`.
            cameras: names, such as 'camera_01', in the order of a rig; case does not matter. () for
                all that there are.
            depth_type: 'lidar' or '' for none; see `dgp_depth.read_depth`.
            input_depth_type: likewise, for the feature `lidar`.
            stored_size: what pictures are cropped and resized to.

        Raises:
            DataError: an option is unknown, or the data set is not found.
        """
        for given in (depth_type, input_depth_type):
            if given not in DEPTH_TYPES:
                raise DataError(f"Depth type {given!r} is unknown; DGP has {DEPTH_TYPES}.")
        lower = tuple(camera.lower() for camera in cameras)
        if len(set(lower)) < len(lower):
            raise DataError(f"The cameras {tuple(cameras)} name one twice.")
        data_set = find_data_set(root)
        options = {
            "data_set": str(data_set),
            "scenes": tuple(list_scenes(data_set, split)),
            "cameras": lower,
            "depth_type": depth_type,
            "input_depth_type": input_depth_type,
            "stored_size": stored_size,
        }
        listed = json.dumps(options, default=dataclasses.astuple)
        fingerprint = hashlib.sha256(listed.encode()).hexdigest()[:10]
        config = DdadConfig(name=f"{data_set.stem}-{split}-{fingerprint}", **options)
        return cls(config=config, data_dir=data_dir)

    @property
    def config(self) -> DdadConfig:
        """Which frames this set holds."""
        assert isinstance(self.builder_config, DdadConfig)
        return self.builder_config

    @property
    def extra_features(self) -> dict[str, tfds.features.FeatureConnector]:
        """The camera's place on the car, and input depth."""
        features: dict[str, tfds.features.FeatureConnector] = {
            "vehicle_T_camera": tfds.features.Tensor(
                shape=(4, 4), dtype=np.float64, encoding=tfds.features.Encoding.BYTES
            ),
            **self.config.stored_size.features,
        }
        if self.config.input_depth_type:
            features["lidar"] = tfds.features.Text()  # bytes of `encode_depth`
            features["lidar_source"] = tfds.features.Text()
        return features

    @property
    def extra_metadata(self) -> Mapping[str, Any]:
        """What was done to pictures that are stored resized."""
        return self.config.stored_size.metadata

    def targets(self) -> Sequence[str]:
        """All frames, moment by moment."""
        return [name for moment in self._plan.moments for name in moment]

    def rigs(self) -> Sequence[Sequence[str]]:
        """The moments of scenes that have all the cameras."""
        cameras = len(self._plan.cameras)
        return [moment for moment in self._plan.moments if len(moment) == cameras]

    def read_frames(self) -> Iterator[Frame | Missing]:
        """The samples' pictures, by scene, camera and number."""
        for scene in self._scenes():
            if isinstance(scene, Missing):
                yield scene
                continue
            reader = _SceneReader(self.config, scene, {}, set())
            for camera in self._plan.cameras:
                if camera not in scene.cameras:
                    known = ", ".join(scene.cameras)
                    yield Missing(f"{scene.name}/{camera}", f"{scene.path} has only {known}")
                    continue
                for sample in scene.samples:
                    yield from reader.read(sample, camera)

    def _scenes(self) -> Iterator[Scene | Missing]:
        for path in self.config.scenes:
            try:
                yield read_scene(Path(self.config.data_set), path)
            except ValueError as error:
                yield Missing(path, str(error))

    @functools.cached_property
    def _plan(self) -> "_Plan":
        """What there is to read; every scene's file is gone through for it."""
        outlines = [
            scene if isinstance(scene, Missing) else _Outline.of(scene) for scene in self._scenes()
        ]
        there = [outline for outline in outlines if isinstance(outline, _Outline)]
        known = sorted({camera for outline in there for camera in outline.cameras})
        cameras = self.config.cameras or tuple(known)
        if unknown := [camera for camera in cameras if there and camera not in known]:
            raise DataError(
                f"No scene of {self.config.data_set} has the camera {', '.join(unknown)}; there "
                f"are {', '.join(known) or 'none'}. Set `data.cameras` to some of these."
            )
        moments: list[list[str]] = []
        for outline in outlines:
            if isinstance(outline, Missing):
                moments.append([outline.name])  # counts as a target, since nobody knows how many
            else:
                moments += outline.moments(cameras)
        return _Plan(cameras, moments)


class _Plan(NamedTuple):
    cameras: tuple[str, ...]
    moments: list[list[str]]
    """Names of frames, taken at one time each, in the order of the cameras."""


class _Outline(NamedTuple):
    """The names in a scene."""

    cameras: tuple[str, ...]
    names: list[dict[str, str]]
    """Of each sample's frames, by camera."""

    @classmethod
    def of(cls, scene: Scene) -> Self:
        names = [
            {camera: _frame_name(scene, sample, camera) for camera in scene.cameras}
            for sample in scene.samples
        ]
        return cls(scene.cameras, names)

    def moments(self, cameras: Sequence[str]) -> list[list[str]]:
        return [[names[camera] for camera in cameras if camera in names] for names in self.names]


class _SceneReader(NamedTuple):
    """Reads the frames of one scene."""

    config: DdadConfig
    scene: Scene
    calibrations: dict[str, dict[str, Camera] | str]
    """By key: what was read before, or why it can not be."""
    read_before: set[str]
    """Names of frames."""

    def read(self, sample: Sample, camera: str) -> Iterator[Frame | Missing]:
        """The frame, after a note if its depth is missing: it may still serve as context."""
        name = _frame_name(self.scene, sample, camera)
        if name in self.read_before:
            yield Missing(name, f"{sample.place} has the picture of an earlier sample again")
            return
        self.read_before.add(name)
        try:
            datum = sample.datum(camera)
            calibration = self._calibration(sample, camera)
            world_T_camera = datum.world_T_sensor
            data, shape = _read_picture(self.scene.folder / datum.filename)
            image = self.config.stored_size.store(data)
        except ValueError as error:
            yield Missing(name, str(error))
            return
        depth, source = None, ""
        if self.config.depth_type or self.config.input_depth_type:
            try:
                depth, source = read_depth(
                    self.scene.folder,
                    sample,
                    camera,
                    intrinsics=calibration.intrinsics,
                    shape=shape,
                )
            except ValueError as error:
                yield Missing(name, str(error))
        extra = {"vehicle_T_camera": calibration.vehicle_T_sensor}
        extra |= self.config.stored_size.extra(shape)
        if self.config.input_depth_type:
            extra |= {"lidar": encode_depth(depth), "lidar_source": source}
        yield Frame(
            name=name,
            stream=f"{self.scene.name}/{camera}",
            number=sample.number,
            image=image,
            intrinsics=calibration.intrinsics,
            world_T_camera=world_T_camera,
            depth=depth if self.config.depth_type else None,
            depth_source=source if self.config.depth_type else "",
            extra=extra,
        )

    def _calibration(self, sample: Sample, camera: str) -> Camera:
        key = sample.calibration_key
        path = self.scene.folder / "calibration" / f"{key}.json"
        if key not in self.calibrations:
            try:
                self.calibrations[key] = read_calibration(path)
            except ValueError as error:
                self.calibrations[key] = str(error)
        found = self.calibrations[key]
        if isinstance(found, str):
            raise ValueError(found)
        if camera not in found:
            raise ValueError(f"{path} has no {camera}, but {', '.join(sorted(found))}")
        return found[camera]


def _frame_name(scene: Scene, sample: Sample, camera: str) -> str:
    """'000150/rgb/CAMERA_01/15616458296936490'; of a missing one, by the sample's number."""
    if camera in sample.data:
        with contextlib.suppress(ValueError):
            return f"{scene.name}/{sample.data[camera].filename.with_suffix('')}"
    return f"{scene.name}/{camera}/sample_{sample.number:06d}"


def _read_picture(path: Path) -> tuple[bytes, tuple[int, int]]:
    """The file's bytes, and the height and width that it begins with."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    data = path.read_bytes()
    try:
        return data, header_shape(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
