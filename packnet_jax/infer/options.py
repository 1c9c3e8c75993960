"""How inference is run, as flags say it; nothing here takes long to import."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from packnet_jax.config import ComputeDtype
from packnet_jax.data_config import SHAPE_MULTIPLE
from packnet_jax.errors import ConfigError
from packnet_jax.infer.scaling import AsPredicted, Scaling
from tfds_builders.calibration import Calibration

PICTURE, NPZ, PNG, PLY, MP4 = KINDS = ("picture", "npz", "png", "ply", "mp4")
"""A picture with its inverse depth below it; depth, exact or in 16 bits; a point cloud; one video
of all such pictures."""


class CloudOptions(NamedTuple):
    """Which points a cloud keeps; see `point_cloud`."""

    near: float = 0.0
    far: float = math.inf
    max_slope: float = 40.0


@dataclass(frozen=True)
class RayOptions:
    """What the user says of the rays of a neural ray surface."""

    template: Path | None = None
    """None for that of the training."""
    residual_weight: float | None = None
    """None for that of the checkpoint's step."""


@dataclass(frozen=True)
class Options:
    """The flags of `packnet_jax.infer.__main__`, checked."""

    save: Sequence[str] = ()
    image_shape: tuple[int, int] | None = None
    """Height and width the network works at; None for those of its training."""
    batch_size: int = 1
    flip: bool = False
    """Average with the prediction for the mirrored picture."""
    compute_dtype: ComputeDtype = "float32"
    """What the network computes in."""
    calibration: Calibration | None = None
    rays: RayOptions = field(default_factory=RayOptions)
    """For neural ray surfaces."""
    scaling: Scaling = field(default_factory=AsPredicted)
    cloud: CloudOptions = field(default_factory=CloudOptions)
    fps: float | None = None
    """Of the video; None for the source's."""
    max_frames: int | None = None
    overwrite: bool = False


def check_kinds(save: Sequence[str]) -> None:
    """Raises ConfigError unless there is such output."""
    if set(save) - set(KINDS):
        raise ConfigError(f"--save: given {','.join(save)}, expected some of {', '.join(KINDS)}")


def parse_image_shape(words: Sequence[str] | None) -> tuple[int, int] | None:
    """`H,W` as two positive multiples of 32.

    Raises:
        ConfigError: it is something else.
    """
    if words is None:
        return None
    numbers = [int(w) for w in words if w.strip().isdecimal()]
    fits = len(words) == len(numbers) == 2 and all(
        n > 0 and n % SHAPE_MULTIPLE == 0 for n in numbers
    )
    if not fits:
        raise ConfigError(
            f"--image_shape: given {','.join(words)!r}, expected H,W, both multiples of "
            f"{SHAPE_MULTIPLE}, such as 192,640"
        )
    return numbers[0], numbers[1]
