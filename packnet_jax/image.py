"""Image operations on [..., height, width, channels] arrays.

Pixel centres lie at integer coordinates, the top-left one at (0, 0).
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer


def to_float(levels: Integer[Array, "*b"]) -> Float[Array, "*b"]:
    """0..255 to float32 in [0, 1]: x / 255, rounded once, as the host rounds it.

    XLA multiplies by a rounded 1 / 255 where a program divides by 255, and is then off by an ulp at
    every other level. With 255 * 257 = 2^16 - 1 it is

        x / 255 = (257 x + x / 255) / 2^16,

    whose first term is a whole number below 2^16, so that the error of the second one vanishes
    when both are added.
    """
    small = levels.astype(jnp.float32) * np.float32(1 / 255)
    return ((levels.astype(jnp.int32) * 257).astype(jnp.float32) + small) * np.float32(2**-16)


def resize_bilinear(
    image: Float[Array, "*b h w c"], shape: Sequence[int]
) -> Float[Array, "*b {shape[0]} {shape[1]} c"]:
    """Resizes so that the centres of the four corner pixels stay where they are.

    Row i of the output is read at row i (h - 1) / (H - 1) of the input, likewise for columns.
    There is no low-pass filter: shrinking by more than two skips pixels.

    Args:
        image: Image or map of any channel count.
        shape: Height and width of the result.

    Source: packnet-sfm utils/image.py: interpolate_image (bilinear, aligned corners).
    """
    for axis, size in zip((-3, -2), shape, strict=True):
        if image.shape[axis] != size:
            image = _interpolate_axis(image, size, axis)
    return image


def _interpolate_axis(image: Array, size: int, axis: int) -> Array:
    """Linear interpolation along one axis at `size` evenly spaced places from end to end."""
    last = image.shape[axis] - 1
    source = np.linspace(0.0, last, size)
    below = np.floor(source).astype(np.int32)
    above = np.minimum(below + 1, last)
    weight = jnp.asarray(source - below, image.dtype)
    weight = jnp.expand_dims(weight, tuple(range(1, -axis)))
    first, second = (jnp.take(image, index, axis, mode="clip") for index in (below, above))
    return first + (second - first) * weight


def resize_nearest(
    image: Float[Array, "*b h w c"], shape: Sequence[int]
) -> Float[Array, "*b {shape[0]} {shape[1]} c"]:
    """Resizes by copying: output row i is input row floor(i h / H), likewise for columns.

    Source: packnet-sfm utils/image.py: interpolate_image (nearest).
    """
    for axis, size in zip((-3, -2), shape, strict=True):
        if image.shape[axis] != size:
            image = jnp.take(image, np.arange(size) * image.shape[axis] // size, axis, mode="clip")
    return image


def gradient_x(image: Float[Array, "*b h w c"]) -> Float[Array, "*b h w-1 c"]:
    """Each pixel minus its right neighbour."""
    return image[..., :-1, :] - image[..., 1:, :]


def gradient_y(image: Float[Array, "*b h w c"]) -> Float[Array, "*b h-1 w c"]:
    """Each pixel minus the neighbour below."""
    return image[..., :-1, :, :] - image[..., 1:, :, :]


def flip_lr(image: Float[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
    """Mirrors left and right."""
    return jnp.flip(image, axis=-2)


def reflect_pad(
    image: Float[Array, "*b h w c"], pad: int = 1
) -> Float[Array, "*b h+2*{pad} w+2*{pad} c"]:
    """Pads rows and columns with their mirror image about the border pixels."""
    widths = [(0, 0)] * (image.ndim - 3) + [(pad, pad), (pad, pad), (0, 0)]
    return jnp.pad(image, widths, mode="reflect")
