"""Edge-aware smoothness of inverse depth."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from packnet_jax.image import gradient_x, gradient_y

SMALLEST_MEAN = 1e-6
"""Mean inverse depths are held above this before division."""


def smoothness_loss(
    inv_depth_pyramid: Sequence[Float[Array, "b _ _ 1"]],
    rgb_pyramid: Sequence[Float[Array, "b _ _ 3"]],
    *,
    scale_weights: Float[Array, " s"] | None = None,
) -> Float[Array, ""]:
    """Weighted sum over scales of `edge_aware_variation` / 2^scale.

    Args:
        inv_depth_pyramid: Predictions, finest first.
        rgb_pyramid: The image at the size of each of them.
        scale_weights: One weight per scale; by default each scale weighs 1 / number of scales.

    Source: packnet-sfm losses/multiview_photometric_loss.py: calc_smoothness_loss.
    """
    pairs = zip(inv_depth_pyramid, rgb_pyramid, strict=True)
    terms = jnp.stack([edge_aware_variation(d, rgb) / 2**i for i, (d, rgb) in enumerate(pairs)])
    return jnp.mean(terms) if scale_weights is None else jnp.sum(scale_weights * terms)


def edge_aware_variation(
    inv_depth: Float[Array, "b h w 1"], rgb: Float[Array, "b h w 3"]
) -> Float[Array, ""]:
    """Mean of |dx d*| exp(-|dx I|) plus mean of |dy d*| exp(-|dy I|).

    d* is the inverse depth divided by its mean over the image, |d I| a mean over channels: depth
    may change where the colour does.

    Source: Godard et al. 2019, equation 3; packnet-sfm utils/depth.py: calc_smoothness.
    """
    mean = jnp.maximum(jnp.mean(inv_depth, axis=(-3, -2), keepdims=True), SMALLEST_MEAN)

    def variation(gradient: Callable[[Array], Array]) -> Array:
        colour_change = jnp.mean(jnp.abs(gradient(rgb)), axis=-1, keepdims=True)
        # Equal neighbours, of which an enlarged map is full, must differ by exactly 0, where |.|
        # has no slope. Divided first, they differ by rounding wherever a compiler fuses the two.
        change = jnp.abs(gradient(inv_depth)) / mean
        return jnp.mean(change * jnp.exp(-colour_change))

    return variation(gradient_x) + variation(gradient_y)
