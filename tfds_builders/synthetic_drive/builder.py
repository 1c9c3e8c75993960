"""The frame store of rendered streets."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Bool, Float
from numpy import ndarray

from packnet_jax.errors import DataError
from tfds_builders.depth_codec import encode_depth
from tfds_builders.frames import Frame, FramesBuilder, encode_array
from tfds_builders.scan_lines import kept_lines
from tfds_builders.synthetic_drive.cameras import (
    CAMERA_MODELS,
    Camera,
    CameraModel,
    RoundCamera,
    make_camera,
)
from tfds_builders.synthetic_drive.drive import STEREO_BASELINE, right_eye
from tfds_builders.synthetic_drive.render import Renderer, lidar_depth, lidar_mask
from tfds_builders.synthetic_drive.rig import LOOKING_DOWN, RIGS, SIX_CAMERAS, Rig
from tfds_builders.synthetic_drive.street import make_street

SPLITS = ("train", "test")
DEPTH_TYPES = ("", "dense", "lidar")
FIRST_TEST_SEED = 10_000
"""Streets of the split 'test' have seeds from here on, those of 'train' below."""


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
    camera: CameraModel = "pinhole"
    rig: Rig = "single"
    cameras: tuple[str, ...] = ()
    depth_beams: int = 0
    input_beams: int = 0

    @property
    def is_all_round(self) -> bool:
        """Whether some camera sees more than what is ahead."""
        return self.camera != "pinhole" or self.rig != "single"

    @property
    def views(self) -> tuple[str, ...]:
        """The streams of a street."""
        if self.rig == "six":
            return self.cameras or tuple(SIX_CAMERAS)
        return ("left", "right") if self.with_stereo else ("left",)

    def vehicle_T_camera(self, view: str) -> Float[ndarray, "4 4"] | None:
        """How a camera is mounted (the left one of two); None if its axes are the vehicle's."""
        if self.rig == "six":
            return SIX_CAMERAS[view]
        return LOOKING_DOWN if self.camera == "catadioptric" else None

    def seeds(self) -> range:
        """The seeds of the streets."""
        start = self.first_seed + (FIRST_TEST_SEED if self.split == "test" else 0)
        return range(start, start + self.num_streets)


class SyntheticDrive(FramesBuilder):
    """Drives along made-up streets with exact depth, poses and labels.

    Streams are 'street_0003/left' and, with stereo, 'street_0003/right'; every left frame is a
    target. Of a rig, each camera is a stream ('street_0003/camera_01'; see `rig.SIX_CAMERAS`) and
    each frame a target. Beside the common features a frame holds `semantics` (uint8 [h, w, 1],
    positions in `scene.SEMANTIC_NAMES`, `scene.VOID` outside a mask) and `lidar` (a sparse depth
    map, read with `decode_depth`). With `input_beams` there is `lidar_source`, too; in a rig,
    `vehicle_T_camera` (float64 [4, 4]).

    Other cameras than the pinhole have depth along the ray, which `depth_source` says, and black
    pixels outside a mask. The metadata `ray_template` and `mask` hold their unit rays, float32
    [1, 3, h, w], and bool [h, w] (see `FramesBuilder`). Their intrinsics are those of the pinhole
    camera that comes closest (`RoundCamera.intrinsics`), so that a pinhole model can be compared.
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
        camera: CameraModel = "pinhole",
        rig: Rig = "single",
        cameras: Sequence[str] = (),
        depth_beams: int = 0,
        input_beams: int = 0,
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
            focal_ratio: focal length over image width, of pinhole cameras.
            num_streets: how many streets are rendered.
            first_seed: how many seeds of the split's range are passed over.
            frames_per_street: length of each drive.
            moving_cars: whether other cars drive.
            lidar_beams: beams of the laser scanner.
            supersampling: colour is averaged over this many rays squared per pixel.
            camera: 'pinhole'; 'fisheye', which sees the half-space ahead; 'catadioptric', a mirror
                above the roof that sees all round.
            rig: 'single', or 'six' cameras around the car.
            cameras: names of the rig's cameras that are rendered; () for all.
            depth_beams: how many of the scanner's beams the depth type 'lidar' has; 0 for all.
            input_beams: the same for the feature `lidar`. See `scan_lines.kept_lines`.

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
        later = {
            "camera": camera,
            "rig": rig,
            "cameras": tuple(cameras),
            "depth_beams": depth_beams,
            "input_beams": input_beams,
        }
        # Sets built before there were these options keep their names.
        defaults = SyntheticDriveConfig(name="")
        options |= {key: v for key, v in later.items() if v != getattr(defaults, key)}
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
        """Labels, laser ranges, and how a rig's cameras are mounted."""
        features: dict[str, tfds.features.FeatureConnector] = {
            "semantics": tfds.features.Image(shape=(None, None, 1)),
            "lidar": tfds.features.Text(),  # bytes of `encode_depth`
        }
        if self.config.input_beams:
            features["lidar_source"] = tfds.features.Text()
        if self.config.rig != "single":
            features["vehicle_T_camera"] = tfds.features.Tensor(
                shape=(4, 4), dtype=np.float64, encoding=tfds.features.Encoding.BYTES
            )
        return features

    @property
    def extra_metadata(self) -> Mapping[str, Any]:
        """The rays of a camera that is no pinhole."""
        camera = self._camera
        if not isinstance(camera, RoundCamera):
            return {}
        template = np.moveaxis(camera.rays, -1, 0)[None].astype(np.float32)
        return {"ray_template": encode_array(template), "mask": encode_array(camera.mask)}

    def targets(self) -> Sequence[str]:
        """Every left frame, or every frame of a rig, moment by moment."""
        if self.config.rig == "single":
            return list(self._names("left"))
        return [name for moment in self.rigs() for name in moment]

    def rigs(self) -> Sequence[Sequence[str]]:
        """What the cameras of a rig take at each moment, in their order; none without a rig."""
        if self.config.rig == "single":
            return []
        return list(zip(*(self._names(view) for view in self.config.views), strict=True))

    def stereo_pairs(self) -> Mapping[str, str]:
        """Left and right frames of the same time, in both directions."""
        if not self.config.with_stereo:
            return {}
        pairs = list(zip(self._names("left"), self._names("right"), strict=True))
        return dict(pairs) | {right: left for left, right in pairs}

    def read_frames(self) -> Iterator[Frame]:
        """Renders the streets one after the other, camera by camera."""
        for seed in self.config.seeds():
            yield from self._render_street(seed)

    def _names(self, view: str) -> Iterator[str]:
        for seed in self.config.seeds():
            for number in range(self.config.frames_per_street):
                yield f"{_stream(seed, view)}/{number:010d}"

    @property
    def _camera(self) -> Camera:
        config = self.config
        return make_camera(config.camera, *config.image_shape, focal_ratio=config.focal_ratio)

    def _render_street(self, seed: int) -> Iterator[Frame]:
        config = self.config
        street = make_street(
            seed,
            num_frames=config.frames_per_street,
            moving_cars=config.moving_cars,
            all_round=config.is_all_round,
        )
        camera = self._camera
        renderer = Renderer(street, camera, supersampling=config.supersampling)
        for view in config.views:
            depth_mask, input_mask = self._scanned_pixels(camera, view)
            for number, world_T_vehicle in enumerate(street.world_T_camera):
                world_T_camera = self._place(world_T_vehicle, view)
                seen = renderer.render(world_T_camera, number)
                depths = {
                    "": None,
                    "dense": seen.depth,
                    "lidar": lidar_depth(seen.depth, depth_mask),
                }
                extra = {
                    "semantics": seen.semantics[..., None],
                    "lidar": encode_depth(lidar_depth(seen.depth, input_mask)),
                }
                if config.input_beams:
                    extra["lidar_source"] = self._source("lidar", config.input_beams)
                if config.rig != "single":
                    extra["vehicle_T_camera"] = config.vehicle_T_camera(view)
                yield Frame(
                    name=f"{_stream(seed, view)}/{number:010d}",
                    stream=_stream(seed, view),
                    number=number,
                    image=seen.rgb,
                    intrinsics=camera.intrinsics,
                    world_T_camera=world_T_camera,
                    depth=depths[config.depth_type],
                    depth_source=self._source(config.depth_type, config.depth_beams),
                    stereo_T_camera=_stereo_T_camera(view) if config.with_stereo else None,
                    extra=extra,
                )

    def _place(self, world_T_vehicle: Float[ndarray, "4 4"], view: str) -> Float[ndarray, "4 4"]:
        """world_T_camera."""
        vehicle_T_camera = self.config.vehicle_T_camera(view)
        if vehicle_T_camera is None:
            world_T_camera = world_T_vehicle
        else:
            world_T_camera = world_T_vehicle @ vehicle_T_camera
        return right_eye(world_T_camera) if view == "right" else world_T_camera

    def _scanned_pixels(
        self, camera: Camera, view: str
    ) -> tuple[Bool[ndarray, "h w"], Bool[ndarray, "h w"]]:
        """Where the scanner measures what is stored as depth, and as the feature `lidar`."""
        config = self.config
        vehicle_T_camera = config.vehicle_T_camera(view)

        def pixels(beams: int) -> Bool[ndarray, "h w"]:
            return lidar_mask(
                camera,
                beams=config.lidar_beams,
                kept=_kept(config, beams),
                camera_R_scanner=None if vehicle_T_camera is None else vehicle_T_camera[:3, :3].T,
            )

        return pixels(config.depth_beams), pixels(config.input_beams)

    def _source(self, depth_type: str, beams: int) -> str:
        """Where a depth map is from, for the protocol of an evaluation."""
        if not depth_type:
            return ""
        beam = f", {beams} of {self.config.lidar_beams} beams" if beams else ""
        along = "" if self.config.camera == "pinhole" else ", along the ray"
        return f"{depth_type}{beam if depth_type == 'lidar' else ''}{along} (rendered)"


def _kept(config: SyntheticDriveConfig, beams: int) -> tuple[int, ...] | None:
    return kept_lines(config.lidar_beams, beams, all_lines=config.lidar_beams) if beams else None


def _stream(seed: int, view: str) -> str:
    return f"street_{seed:04d}/{view}"


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
    if config.camera not in CAMERA_MODELS or config.rig not in RIGS:
        raise DataError(
            f"synthetic_drive: camera is {config.camera!r} and rig {config.rig!r}, but must be one "
            f"of {CAMERA_MODELS} and one of {RIGS}."
        )
    unknown = sorted(set(config.cameras) - set(SIX_CAMERAS if config.rig == "six" else ()))
    if unknown:
        raise DataError(
            f"synthetic_drive: cameras {unknown} are not of the rig {config.rig!r}; 'six' has "
            f"{', '.join(SIX_CAMERAS)}, 'single' none to choose from."
        )
    for beams in (config.depth_beams, config.input_beams):
        if beams and (beams >= config.lidar_beams or config.lidar_beams % beams):
            raise DataError(
                f"synthetic_drive: {beams} beams can not be kept of {config.lidar_beams}; take a "
                "proper divisor, or 0 for all."
            )
    if config.rig == "six" and (config.with_stereo or config.camera == "catadioptric"):
        raise DataError(
            "synthetic_drive: a rig of six has no stereo pairs, and no mirrors, each of which "
            "sees all round; take rig 'single'."
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
