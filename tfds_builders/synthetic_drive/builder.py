"""The frame store of rendered streets."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float
from numpy import ndarray

from packnet_jax.errors import DataError
from tfds_builders.depth_codec import encode_depth
from tfds_builders.frames import Frame, FramesBuilder
from tfds_builders.synthetic_drive.drive import STEREO_BASELINE, right_eye
from tfds_builders.synthetic_drive.render import Renderer, lidar_depth, lidar_mask
from tfds_builders.synthetic_drive.scene import default_camera
from tfds_builders.synthetic_drive.street import make_street

SPLITS = ("train", "test")
DEPTH_TYPES = ("", "dense", "lidar")
FIRST_TEST_SEED = 10_000
"""Streets of the split 'test' have seeds from here on, those of 'train' below."""

_EYES = ("left", "right")


@dataclasses.dataclass
class SyntheticDriveConfig(tfds.core.BuilderConfig):
    """Says what is rendered; its name contains a hash of the fields below."""

    split: str = "train"
    image_shape: tuple[int, int] = (192, 640)
    focal_ratio: float = 0.58
    """Focal length over image width."""

    num_streets: int = 40
    first_seed: int = 0
    """How many seeds of the split's range are passed over."""

    frames_per_street: int = 12
    moving_cars: bool = True
    depth_type: str = "dense"
    with_stereo: bool = False
    lidar_beams: int = 64
    supersampling: int = 2

    def seeds(self) -> range:
        """The seeds of the streets."""
        start = self.first_seed + (FIRST_TEST_SEED if self.split == "test" else 0)
        return range(start, start + self.num_streets)


class SyntheticDrive(FramesBuilder):
    """Drives along made-up streets with exact depth, poses and labels.

    Streams are 'street_0003/left' and, with stereo, 'street_0003/right'; every left frame is a
    target. Beside the common features a frame holds `semantics` (uint8 [h, w, 1], positions in
    `scene.SEMANTIC_NAMES`) and `lidar` (a sparse depth map, read with `decode_depth`).
    """

    VERSION = tfds.core.Version("1.2.0")
    """Counted up whenever the same options render other frames."""

    @classmethod
    def from_options(
        cls,
        *,
        data_dir: str,
        root: str = "",
        split: str,
        reach: int = 0,
        depth_type: str = "dense",
        with_stereo: bool = False,
        image_shape: tuple[int, int] = (192, 640),
        focal_ratio: float = 0.58,
        num_streets: int = 40,
        first_seed: int = 0,
        frames_per_street: int = 12,
        moving_cars: bool = True,
        lidar_beams: int = 64,
        supersampling: int = 2,
    ) -> Self:
        """The builder for one split; see `FramesBuilder.from_options`.

        Args:
            data_dir: where built sets are kept.
            root: not used; the data are made.
            split: 'train' or 'test'; they have no street in common.
            reach: not used; every frame of a street is stored.
            depth_type: 'dense' or 'lidar' for the common feature `depth`, '' for none.
            with_stereo: whether the right eye is rendered as well.
            image_shape: height and width of the pictures.
            focal_ratio: focal length over image width.
            num_streets: how many streets are rendered.
            first_seed: how many seeds of the split's range are passed over.
            frames_per_street: length of each drive.
            moving_cars: whether other cars drive.
            lidar_beams: beams of the laser scanner.
            supersampling: colour is averaged over this many rays squared per pixel.

        Raises:
            DataError: an option is unknown or out of range.
        """
        del root, reach
        options = {
            "split": split,
            "image_shape": (int(image_shape[0]), int(image_shape[1])),
            "focal_ratio": focal_ratio,
            "num_streets": num_streets,
            "first_seed": first_seed,
            "frames_per_street": frames_per_street,
            "moving_cars": moving_cars,
            "depth_type": depth_type,
            "with_stereo": with_stereo,
            "lidar_beams": lidar_beams,
            "supersampling": supersampling,
        }
        fingerprint = hashlib.sha256(json.dumps(options).encode()).hexdigest()[:10]
        config = SyntheticDriveConfig(name=f"{split}-{fingerprint}", **options)
        _check(config)
        return cls(config=config, data_dir=data_dir)

    @property
    def config(self) -> SyntheticDriveConfig:
        """What this set holds."""
        assert isinstance(self.builder_config, SyntheticDriveConfig)
        return self.builder_config

    @property
    def extra_features(self) -> dict[str, tfds.features.FeatureConnector]:
        """Labels and laser ranges."""
        return {
            "semantics": tfds.features.Image(shape=(None, None, 1)),
            "lidar": tfds.features.Text(),  # bytes of `encode_depth`
        }

    def targets(self) -> Sequence[str]:
        """Every left frame."""
        return list(self._names("left"))

    def stereo_pairs(self) -> Mapping[str, str]:
        """Left and right frames of the same time, in both directions."""
        if not self.config.with_stereo:
            return {}
        pairs = list(zip(self._names("left"), self._names("right"), strict=True))
        return dict(pairs) | {right: left for left, right in pairs}

    def read_frames(self) -> Iterator[Frame]:
        """Renders the streets one after the other, the left eye before the right."""
        for seed in self.config.seeds():
            yield from self._render_street(seed)

    def _names(self, eye: str) -> Iterator[str]:
        for seed in self.config.seeds():
            for number in range(self.config.frames_per_street):
                yield f"{_stream(seed, eye)}/{number:010d}"

    def _render_street(self, seed: int) -> Iterator[Frame]:
        config = self.config
        street = make_street(
            seed, num_frames=config.frames_per_street, moving_cars=config.moving_cars
        )
        camera = default_camera(*config.image_shape, focal_ratio=config.focal_ratio)
        renderer = Renderer(street, camera, supersampling=config.supersampling)
        mask = lidar_mask(camera, beams=config.lidar_beams)
        for eye in _EYES if config.with_stereo else _EYES[:1]:
            for number, world_T_left in enumerate(street.world_T_camera):
                world_T_camera = world_T_left if eye == "left" else right_eye(world_T_left)
                view = renderer.render(world_T_camera, number)
                lidar = lidar_depth(view.depth, mask)
                yield Frame(
                    name=f"{_stream(seed, eye)}/{number:010d}",
                    stream=_stream(seed, eye),
                    number=number,
                    image=view.rgb,
                    intrinsics=camera.intrinsics,
                    world_T_camera=world_T_camera,
                    depth={"": None, "dense": view.depth, "lidar": lidar}[config.depth_type],
                    depth_source=f"{config.depth_type} (rendered)" if config.depth_type else "",
                    stereo_T_camera=_stereo_T_camera(eye) if config.with_stereo else None,
                    extra={
                        "semantics": view.semantics[..., None],
                        "lidar": encode_depth(lidar),
                    },
                )


def _stream(seed: int, eye: str) -> str:
    return f"street_{seed:04d}/{eye}"


def _stereo_T_camera(eye: str) -> Float[ndarray, "4 4"]:
    transform = np.eye(4)
    transform[0, 3] = -STEREO_BASELINE if eye == "left" else STEREO_BASELINE
    return transform


def _check(config: SyntheticDriveConfig) -> None:
    if config.split not in SPLITS:
        raise DataError(f"synthetic_drive has no split {config.split!r}; choose one of {SPLITS}.")
    if config.depth_type not in DEPTH_TYPES:
        raise DataError(
            f"Depth type {config.depth_type!r} is unknown; synthetic_drive has {DEPTH_TYPES}."
        )
    counts = {
        "image_shape": min(config.image_shape),
        "num_streets": config.num_streets,
        "frames_per_street": config.frames_per_street,
        "lidar_beams": config.lidar_beams,
        "supersampling": config.supersampling,
    }
    for name, count in counts.items():
        if count < 1:
            raise DataError(f"synthetic_drive: {name} must be at least 1, but is {count}.")
    if config.focal_ratio <= 0:
        raise DataError(
            f"synthetic_drive: focal_ratio must be positive, but is {config.focal_ratio}."
        )
    last = config.first_seed + config.num_streets
    if config.first_seed < 0 or last > FIRST_TEST_SEED:
        raise DataError(
            f"synthetic_drive: each split has {FIRST_TEST_SEED} streets, but first_seed = "
            f"{config.first_seed} and num_streets = {config.num_streets} go beyond; lower them."
        )
