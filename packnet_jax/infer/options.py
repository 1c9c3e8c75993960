"""How inference is run."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from packnet_jax.data_config import SHAPE_MULTIPLE
from packnet_jax.errors import ConfigError
from packnet_jax.infer.outputs import CloudOptions
from packnet_jax.infer.rays import RayOptions
from packnet_jax.infer.scaling import AsPredicted, Scaling
from packnet_jax.sfm import ComputeDtype
from tfds_builders.calibration import Calibration


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


def parse_image_shape(words: Sequence[str] | None) -> tuple[int, int] | None:
    """`H,W` as two positive multiples of 32.

    Raises:
        ConfigError: it is something else.
    """
    if words is None:
        return None
    numbers = [int(w) for w in words if w.strip().isdigit()]
    fits = len(words) == len(numbers) == 2 and all(
        n > 0 and n % SHAPE_MULTIPLE == 0 for n in numbers
    )
    if not fits:
        raise ConfigError(
            f"--image_shape: given {','.join(words)!r}, expected H,W, both multiples of "
            f"{SHAPE_MULTIPLE}, such as 192,640"
        )
    return numbers[0], numbers[1]
