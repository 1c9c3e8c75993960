"""The batch every layer agrees on."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray

type_of_array = Array | ndarray


class Batch(NamedTuple):
    """Training samples; a pytree whose absent fields are None.

    The same colour jitter is applied to a target and its context frames; the `_original` images
    are free of it and are what the photometric loss compares.
    """

    rgb: Float[type_of_array, "b h w 3"]
    """Target image, in [0, 1], after colour jitter: what the networks see."""

    rgb_original: Float[type_of_array, "b h w 3"]
    """Target image without jitter: what the losses see."""

    rgb_context: Float[type_of_array, "b n h w 3"]
    """Context images after jitter: backward frames oldest first, then forward frames."""

    rgb_context_original: Float[type_of_array, "b n h w 3"]
    """Context images without jitter."""

    intrinsics: Float[type_of_array, "b 3 3"]
    """Camera matrix K in pixels of `rgb`."""

    index: Int[type_of_array, " b"]
    """Position of the sample in its split."""

    valid: Bool[type_of_array, " b"]
    """False for rows that only pad a short batch."""

    depth: Float[type_of_array, "b h w 1"] | None = None
    """Measured depth at the size of `rgb`, metres, 0 where there is none."""

    context_T_target: Float[type_of_array, "b n 4 4"] | None = None
    """Measured camera motion, metres."""

    rgb_stereo: Float[type_of_array, "b h w 3"] | None = None
    """The other eye's image without jitter."""

    stereo_T_target: Float[type_of_array, "b 4 4"] | None = None
    """Transform from the target camera to the other eye, metres."""
