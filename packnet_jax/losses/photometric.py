"""The self-supervised objective: context images warped into the target view must look like it."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from packnet_jax.bounds import at_most, magnitude, smaller_of
from packnet_jax.depth_maps import inv_depth_to_depth
from packnet_jax.geometry.pinhole import scale_intrinsics
from packnet_jax.geometry.warp import PaddingMode, synthesize_view
from packnet_jax.image import resize_bilinear, resize_nearest
from packnet_jax.losses.smoothness import masked_mean, smoothness_loss
from packnet_jax.losses.ssim import ssim_loss


def _smallest(error: Array) -> Array:
    """The minimum over contexts and channels; its gradient goes to one of them (see `bounds`)."""
    contexts, channels = error.shape[1], error.shape[-1]
    parts = [error[:, n, ..., c] for n in range(contexts) for c in range(channels)]
    return functools.reduce(smaller_of, parts)


def _mean(error: Array) -> Array:
    return jnp.mean(error, (1, -1))


_REDUCTIONS = {"min": _smallest, "mean": _mean}

Warp = Callable[[Float[Array, "b n h w 3"], Float[Array, "b 1 h w 1"]], Float[Array, "b n h w 3"]]
"""Context images and depth of the target, to the contexts in the target view."""


@dataclass(frozen=True, kw_only=True)
class PhotometricSettings:
    """How pictures are compared, under the original's names; of any camera.

    Raises:
        ValueError: `photometric_reduce_op` is unknown, or does not go with `automask_loss`.
    """

    num_scales: int = 4
    """How many scales count, from the finest."""
    ssim_loss_weight: float = 0.85
    """In [0, 1]: the share of the structural dissimilarity in the error of a pixel."""
    smooth_loss_weight: float = 1e-3
    """Factor of the smoothness term; 0 turns it off."""
    C1: float = 1e-4
    """See `ssim`."""
    C2: float = 9e-4
    """See `ssim`."""
    photometric_reduce_op: Literal["min", "mean"] = "min"
    """'min' takes the smallest error over contexts, 'mean' their mean."""
    clip_loss: float = 0.0
    """If positive, each context's errors are held below their mean plus this many standard
    deviations."""
    automask_loss: bool = True
    """Let unmoved contexts compete with the warped ones; needs 'min'."""
    padding_mode: PaddingMode = "zeros"
    """See `sample_bilinear`."""
    progressive_scaling: float = 0.0
    """Fraction of the training after which one scale is dropped; 0: never. See `scale_weights`."""

    def __post_init__(self) -> None:
        if self.photometric_reduce_op not in _REDUCTIONS:
            raise ValueError(
                f"photometric_reduce_op is {self.photometric_reduce_op!r}; use 'min' or 'mean'"
            )
        if self.automask_loss and self.photometric_reduce_op != "min":
            raise ValueError("automask_loss=True needs photometric_reduce_op='min', given 'mean'")


class PhotometricMaps(NamedTuple):
    """What the loss looked at, at the finest scale; gradients do not flow through."""

    warped: Float[Array, "b n h w 3"]
    """Each context image in the target view."""

    error: Float[Array, "b h w 1"]
    """Photometric error after reduction over contexts."""

    automask: Float[Array, "b h w 1"]
    """1 where a warped context explains the pixel best, 0 where an unmoved one does."""


class PhotometricResult(NamedTuple):
    """`total` is the objective; `photometric` and `smoothness` add up to it."""

    total: Float[Array, ""]
    photometric: Float[Array, ""]
    smoothness: Float[Array, ""]
    maps: PhotometricMaps


def photometric_error(
    synthesized: Float[Array, "b n h w 3"],
    target: Float[Array, "b #n h w 3"],
    settings: PhotometricSettings,
) -> Float[Array, "b n h w _"]:
    """Per-pixel difference, weight * ssim_loss + (1 - weight) * |difference|, mean over channels.

    With `ssim_loss_weight` 0 the channels stay apart, so that a minimum over contexts also picks
    the channel that fits best. The threshold of `clip_loss` counts as a constant in the gradient;
    its statistics run over the whole batch, on however many devices it lies.

    Args:
        synthesized: Warped or unmoved context images.
        target: The image that they should equal.
        settings: `ssim_loss_weight`, `C1`, `C2` and `clip_loss` are read.

    Source: packnet-sfm losses/multiview_photometric_loss.py: calc_photometric_loss.
    """
    error = magnitude(synthesized - target)
    weight = settings.ssim_loss_weight
    if weight > 0:
        dissimilarity = ssim_loss(synthesized, target, C1=settings.C1, C2=settings.C2)
        error = weight * dissimilarity + (1 - weight) * error
        error = jnp.mean(error, axis=-1, keepdims=True)
    if settings.clip_loss > 0:
        per_context = (0, 2, 3, 4)
        mean = jnp.mean(error, per_context, keepdims=True)
        deviation = jnp.std(error, per_context, keepdims=True, ddof=1)
        error = at_most(error, jax.lax.stop_gradient(mean + settings.clip_loss * deviation))
    return error


def multi_view_photometric_loss(
    rgb: Float[Array, "b h w 3"],
    rgb_context: Float[Array, "b n h w 3"],
    inv_depth_pyramid: Sequence[Float[Array, "b _ _ 1"]],
    K: Float[Array, "b 3 3"],
    context_T_target: Float[Array, "b n 4 4"],
    *,
    settings: PhotometricSettings,
    progress: float | Float[Array, ""] = 0.0,
    mask: Float[Array, "b h w 1"] | None = None,
) -> PhotometricResult:
    """Mean over scales of the reduced photometric error, plus weighted smoothness.

    Every scale is compared at its own size: images and K follow each inverse depth map. With
    `automask_loss` the unmoved contexts compete with the warped ones, which excludes pixels that
    look the same without any motion.

    Args:
        rgb: Target image.
        rgb_context: Neighbouring images.
        inv_depth_pyramid: Predictions for the target, finest first, of any sizes.
        K: Intrinsics of target and contexts at the size of `rgb`; at other scales both of its rows
            follow the width.
        context_T_target: Motion from the target to each context camera.
        settings: How they are compared.
        progress: Fraction of the training done, for `progressive_scaling`.
        mask: 1 where a pixel of the target counts, 0 where it does not, such as on the vehicle
            itself; other scales pick pixels of it. Both terms are means over what counts.

    Raises:
        ValueError: There are fewer maps than `num_scales`, or `padding_mode` is unknown.

    Source: packnet-sfm losses/multiview_photometric_loss.py: MultiViewPhotometricLoss.
    Differs: `photometric` is the photometric part alone; the reference's metric of that name is
        the total. `progressive_scaling` acts as documented; in the reference it never does.
    """

    def warp(rgb_context: Array, depth: Array) -> Array:
        scale = depth.shape[-2] / rgb.shape[-2]
        scaled_K = scale_intrinsics(K, scale, scale)[:, None]
        return synthesize_view(
            rgb_context,
            depth,
            scaled_K,
            scaled_K,
            context_T_target,
            padding_mode=settings.padding_mode,
        )

    return warped_photometric_loss(
        rgb,
        rgb_context,
        inv_depth_pyramid,
        warp,
        settings=settings,
        progress=progress,
        mask=mask,
    )


def warped_photometric_loss(
    rgb: Float[Array, "b h w 3"],
    rgb_context: Float[Array, "b n h w 3"],
    inv_depth_pyramid: Sequence[Float[Array, "b _ _ 1"]],
    warp: Warp,
    *,
    settings: PhotometricSettings,
    progress: float | Float[Array, ""] = 0.0,
    mask: Float[Array, "b h w 1"] | None = None,
) -> PhotometricResult:
    """`multi_view_photometric_loss` of any camera: how contexts are warped is an argument.

    Args:
        warp: Context images and depth of one scale, at its size, to context images in the target
            view. Whether it heeds `settings.padding_mode` is up to it.

    The others, and `Raises`, are those of `multi_view_photometric_loss`.
    """
    num_scales = settings.num_scales
    if len(inv_depth_pyramid) < num_scales:
        raise ValueError(
            f"num_scales is {num_scales}, but only {len(inv_depth_pyramid)} inverse depths came"
        )
    inv_depth_pyramid = inv_depth_pyramid[:num_scales]
    rgb_pyramid = [resize_bilinear(rgb, inv_depth.shape[1:3]) for inv_depth in inv_depth_pyramid]
    maps = [
        _compare(target, resize_bilinear(rgb_context, target.shape[1:3]), inv_depth, warp, settings)
        for target, inv_depth in zip(rgb_pyramid, inv_depth_pyramid, strict=True)
    ]
    masks = [
        None if mask is None else resize_nearest(mask, d.shape[1:3]) for d in inv_depth_pyramid
    ]
    weights = scale_weights(num_scales, settings.progressive_scaling, progress)
    errors = [masked_mean(scale.error, m) for scale, m in zip(maps, masks, strict=True)]
    photometric = jnp.sum(weights * jnp.stack(errors))
    smoothness = jnp.zeros_like(photometric)
    if settings.smooth_loss_weight > 0:
        smoothness = settings.smooth_loss_weight * smoothness_loss(
            inv_depth_pyramid, rgb_pyramid, scale_weights=weights, mask_pyramid=masks
        )
    finest = jax.lax.stop_gradient(maps[0])
    return PhotometricResult(photometric + smoothness, photometric, smoothness, finest)


def scale_weights(
    num_scales: int, progressive_scaling: float, progress: float | Float[Array, ""]
) -> Float[Array, " {num_scales}"]:
    """1 / k for the k finest scales and 0 for the rest, where k shrinks as training proceeds.

    Each time `progress` passes a multiple of `progressive_scaling`, the coarsest scale still in
    use is dropped; the finest always stays.

    Args:
        num_scales: Scales in use at first.
        progressive_scaling: Fraction of the training after which one scale is dropped; 0: never.
        progress: Fraction of the training done.

    Source: packnet-sfm losses/loss_base.py: ProgressiveScaling.
    """
    in_use = num_scales
    if progressive_scaling > 0:
        ends = progressive_scaling * jnp.arange(1, num_scales, dtype=jnp.float32)
        in_use = num_scales - jnp.sum(ends < progress)
    return jnp.where(jnp.arange(num_scales) < in_use, 1.0 / in_use, 0.0)


def _compare(
    rgb: Array,
    rgb_context: Array,
    inv_depth: Array,
    warp: Warp,
    settings: PhotometricSettings,
) -> PhotometricMaps:
    """Warps the contexts into the target view and compares, all at the size of `inv_depth`.

    Under `jit` the terms without motion are computed once for all scales of equal size.
    """
    reduce = _REDUCTIONS[settings.photometric_reduce_op]
    depth, target = inv_depth_to_depth(inv_depth)[:, None], rgb[:, None]
    warped = warp(rgb_context, depth)
    error = reduce(photometric_error(warped, target, settings))[..., None]
    if not settings.automask_loss:
        return PhotometricMaps(warped, error, jnp.ones_like(error))
    unmoved = reduce(photometric_error(rgb_context, target, settings))[..., None]
    automask = jnp.asarray(error <= unmoved, error.dtype)
    return PhotometricMaps(warped, smaller_of(error, unmoved), automask)
