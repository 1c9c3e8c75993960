"""Bilinear sampling and view synthesis."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from packnet_jax.geometry.pinhole import back_project, project
from packnet_jax.geometry.transforms import scale_vectors, transform_points

PaddingMode = Literal["zeros", "border", "reflection"]


def sample_bilinear(
    image: Float[Array, "*b h w c"],
    pixels_uv: Float[Array, "*b i j 2"],
    *,
    padding_mode: PaddingMode = "zeros",
) -> Float[Array, "*b i j c"]:
    """Reads an image between its pixel centres.

    Args:
        image: Image or map of any channel count.
        pixels_uv: Where to read, in pixels.
        padding_mode: What lies beyond the border pixels' centres. 'zeros': the image falls to 0
            over one pixel; 'border': it keeps the nearest border value; 'reflection': it is
            mirrored about the border pixels.

    Raises:
        ValueError: `padding_mode` is unknown.

    Source: torch grid_sample (bilinear, align_corners=True) in pixel coordinates.
    """
    u, v = pixels_uv[..., 0], pixels_uv[..., 1]
    if padding_mode == "zeros":
        image = jnp.pad(image, [(0, 0)] * (image.ndim - 3) + [(1, 1), (1, 1), (0, 0)])
        u, v = u + 1, v + 1
    elif padding_mode == "reflection":
        u, v = _reflect(u, image.shape[-2]), _reflect(v, image.shape[-3])
    elif padding_mode != "border":
        raise ValueError(f"padding_mode is {padding_mode!r}; use 'zeros', 'border' or 'reflection'")
    left, right, weight_right = _neighbours(u, image.shape[-2])
    top, bottom, weight_bottom = _neighbours(v, image.shape[-3])
    above = _lerp(_gather(image, left, top), _gather(image, right, top), weight_right)
    below = _lerp(_gather(image, left, bottom), _gather(image, right, bottom), weight_right)
    return _lerp(above, below, weight_bottom)


def synthesize_view(
    rgb_context: Float[Array, "*b h w 3"],
    depth_target: Float[Array, "*#b h w 1"],
    target_K: Float[Array, "*#b 3 3"],
    context_K: Float[Array, "*#b 3 3"],
    context_T_target: Float[Array, "*b 4 4"],
    *,
    padding_mode: PaddingMode = "zeros",
) -> Float[Array, "*b h w 3"]:
    """The target view painted with the colours of a context image.

    Every target pixel is lifted by its depth, moved into the context camera, projected, and the
    context image is read there. Leading axes of depth and intrinsics broadcast, so one depth map
    serves several contexts.

    Source: packnet-sfm geometry/camera_utils.py: view_synthesis; Zhou et al. 2017, equation 2.
    """
    points_target = back_project(depth_target, target_K)
    points_context = transform_points(context_T_target, points_target)
    pixels_uv = project(points_context, context_K)
    return sample_bilinear(rgb_context, pixels_uv, padding_mode=padding_mode)


def _reflect(x: Array, size: int) -> Array:
    """Folds coordinates into [0, size - 1] like a mirror at both ends."""
    last = max(size - 1, 1)
    return last - jnp.abs(jnp.mod(x, 2 * last) - last)


def _neighbours(x: Array, size: int) -> tuple[Array, Array, Array]:
    """Indices of the two pixels around x held within [0, size - 1], and the second one's weight.

    The gradient is 0 where x is outside. Clamping precedes the conversion to integers, whose
    result would be undefined for the huge coordinates of points behind the camera.
    """
    x = jax.lax.clamp(jnp.zeros((), x.dtype), x, jnp.array(size - 1, x.dtype))
    first = jnp.floor(x)
    index = first.astype(jnp.int32)
    return index, jnp.minimum(index + 1, size - 1), x - first


def _gather(image: Array, column: Array, row: Array) -> Array:
    """image[..., row, column, :] for each of the leading axes."""
    *batch, height, width, channels = image.shape
    pixels = image.reshape(-1, height * width, channels)
    index = (row * width + column).reshape(pixels.shape[0], -1)
    values = jax.vmap(lambda flat, i: flat.at[i].get(mode="promise_in_bounds"))(pixels, index)
    return values.reshape(*batch, *column.shape[-2:], channels)


def _lerp(first: Array, second: Array, weight: Array) -> Array:
    return first + scale_vectors(second - first, weight)
