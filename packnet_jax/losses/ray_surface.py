"""The photometric loss of a camera that is given by the direction of every pixel."""

from collections.abc import Sequence

from jaxtyping import Array, Float

from packnet_jax.geometry.ray_surface import WINDOW, normalize, project_softmax, unproject
from packnet_jax.geometry.transforms import transform_points
from packnet_jax.geometry.warp import sample_bilinear
from packnet_jax.image import resize_bilinear
from packnet_jax.losses.photometric import (
    PhotometricResult,
    PhotometricSettings,
    warped_photometric_loss,
)


def ray_surface_photometric_loss(
    rgb: Float[Array, "b h w 3"],
    rgb_context: Float[Array, "b n h w 3"],
    inv_depth_pyramid: Sequence[Float[Array, "b _ _ 1"]],
    rays: Float[Array, "#b h w 3"],
    context_T_target: Float[Array, "b n 4 4"],
    *,
    settings: PhotometricSettings,
    temperature: float | Float[Array, ""],
    half_resolution: bool = True,
    window: int = WINDOW,
    progress: float | Float[Array, ""] = 0.0,
    mask: Float[Array, "b h w 1"] | None = None,
) -> PhotometricResult:
    """`multi_view_photometric_loss` with rays in place of intrinsics.

    The inverse depth is that of the distance along each pixel's ray.

    Args:
        rays: Unit vectors of target and contexts, at the size of `rgb`; resized with the images
            for maps of another size.
        temperature: See `project_softmax`.
        half_resolution: See `project_softmax`.
        window: See `project_softmax`.

    The others, and `Raises`, are those of `multi_view_photometric_loss`.

    Source: packnet-sfm losses/generic_multiview_photometric_loss.py.
    Differs: takes maps of any size; the reference needs those of the image's size. `photometric` is
        the photometric part alone. `progressive_scaling` acts.
    """

    def warp(rgb_context: Array, distance: Array) -> Array:
        rays_here = _resize_rays(rays, distance.shape[-3:-1])[:, None]
        points_context = transform_points(context_T_target, unproject(distance, rays_here))
        pixels_uv = project_softmax(
            points_context,
            rays_here,
            temperature=temperature,
            half_resolution=half_resolution,
            window=window,
        )
        return sample_bilinear(rgb_context, pixels_uv, padding_mode=settings.padding_mode)

    return warped_photometric_loss(
        rgb,
        rgb_context,
        inv_depth_pyramid,
        warp,
        settings=settings,
        progress=progress,
        mask=mask,
    )


def _resize_rays(rays: Array, shape: Sequence[int]) -> Array:
    """Rays of the images resized by `resize_bilinear`; as they are where the size is the same."""
    if rays.shape[-3:-1] == tuple(shape):
        return rays
    return normalize(resize_bilinear(rays, shape))
