"""Edge-aware smoothness of inverse depth."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from packnet_jax.bounds import at_least, magnitude
from packnet_jax.image import gradient_x, gradient_y

SMALLEST_MEAN = 1e-6
"""Mean inverse depths are held above this before division."""


def smoothness_loss(
    inv_depth_pyramid: Sequence[Float[Array, "b _ _ 1"]],
    rgb_pyramid: Sequence[Float[Array, "b _ _ 3"]],
    *,
    scale_weights: Float[Array, " s"] | None = None,
    mask_pyramid: Sequence[Float[Array, "b _ _ 1"] | None] | None = None,
) -> Float[Array, ""]:
    """Weighted sum over scales of `edge_aware_variation` / 2^scale.

    Args:
        inv_depth_pyramid: Predictions, finest first.
        rgb_pyramid: The image at the size of each of them.
        scale_weights: One weight per scale; by default each scale weighs 1 / number of scales.
        mask_pyramid: See `edge_aware_variation`; one for each scale.

    Source: packnet-sfm losses/multiview_photometric_loss.py: calc_smoothness_loss.
    """
    masks = mask_pyramid or [None] * len(inv_depth_pyramid)
    scales = enumerate(zip(inv_depth_pyramid, rgb_pyramid, masks, strict=True))
    terms = jnp.stack([edge_aware_variation(d, rgb, mask) / 2**i for i, (d, rgb, mask) in scales])
    return jnp.mean(terms) if scale_weights is None else jnp.sum(scale_weights * terms)


def edge_aware_variation(
    inv_depth: Float[Array, "b h w 1"],
    rgb: Float[Array, "b h w 3"],
    mask: Float[Array, "b h w 1"] | None = None,
) -> Float[Array, ""]:
    """Mean of |dx d*| exp(-|dx I|) plus mean of |dy d*| exp(-|dy I|).

    Args:
        inv_depth: Prediction.
        rgb: Its image.
        mask: 1 where a pixel counts; a difference counts where both of its pixels do.

    Source: Godard et al. 2019, equation 3.
    """
    along_x, along_y = edge_aware_gradients(inv_depth, rgb)
    if mask is None:
        mask_x = mask_y = None
    else:
        mask_x = mask[..., :-1, :] * mask[..., 1:, :]
        mask_y = mask[..., :-1, :, :] * mask[..., 1:, :, :]
    return masked_mean(magnitude(along_x), mask_x) + masked_mean(magnitude(along_y), mask_y)


def masked_mean(
    values: Float[Array, "b h w 1"], mask: Float[Array, "b h w 1"] | None
) -> Float[Array, ""]:
    """Mean over the pixels whose mask is 1, 0 if there is none; without a mask over all."""
    if mask is None:
        return jnp.mean(values)
    return jnp.sum(values * mask) / at_least(jnp.sum(mask), 1.0)


def edge_aware_gradients(
    inv_depth: Float[Array, "b h w 1"], rgb: Float[Array, "b h w 3"]
) -> tuple[Float[Array, "b h w-1 1"], Float[Array, "b h-1 w 1"]]:
    """dx d* exp(-|dx I|) and dy d* exp(-|dy I|): depth may change where the colour does.

    d* is the inverse depth divided by `floored_mean`, |d I| a mean over channels; differences are
    those of `gradient_x` and `gradient_y`.

    Source: packnet-sfm utils/depth.py: calc_smoothness.
    """
    mean = floored_mean(inv_depth)

    def weighted(gradient: Callable[[Array], Array]) -> Array:
        colour_change = jnp.mean(jnp.abs(gradient(rgb)), axis=-1, keepdims=True)
        # Equal neighbours, of which an enlarged map is full, must differ by exactly 0, where the
        # variation has no slope. If they are divided first, a compiler that fuses the division
        # into the difference leaves them apart by rounding.
        return gradient(inv_depth) / mean * jnp.exp(-colour_change)

    return weighted(gradient_x), weighted(gradient_y)


def floored_mean(inv_depth: Float[Array, "b h w 1"]) -> Float[Array, "b 1 1 1"]:
    """The mean of each inverse depth map, held above `SMALLEST_MEAN`.

    Source: packnet-sfm utils/depth.py: inv_depths_normalize.
    """
    return at_least(jnp.mean(inv_depth, axis=(-3, -2), keepdims=True), SMALLEST_MEAN)
