"""What the network says of one frame."""

from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from numpy import ndarray

from packnet_jax.ray_template import RayTemplate


class Prediction(NamedTuple):
    """One frame at the network's resolution, before its depth has got a unit."""

    name: Path
    rgb: Float[ndarray, "h w 3"]
    inv_depth: Float[ndarray, "h w"]
    depth: Float[ndarray, "h w"]
    K: Float[ndarray, "3 3"] | None
    """In pixels of the maps; None where the camera is unknown, or no pinhole."""
    rays: RayTemplate | None = None
    """Of a network that has learned them: the depth is then along these."""
