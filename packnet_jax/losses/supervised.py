"""Supervision by measured depth, which may be sparse, on inverse depth."""

from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from packnet_jax.bounds import at_least, magnitude
from packnet_jax.depth_maps import SMALLEST
from packnet_jax.image import resize_nearest
from packnet_jax.losses.safe import root

Comparison = Callable[[Array, Array, Array], Float[Array, ""]]
"""(predicted, measured, weight) -> loss; the weight is 1 where a pixel counts and 0 elsewhere."""

SPARSE = "sparse-"
BERHU_THRESHOLD = 0.2
SILOG_RATIO = 10.0
SILOG_VARIANCE_FOCUS = 0.85


def supervised_loss(
    inv_depth_pyramid: Sequence[Float[Array, "b _ _ 1"]],
    measured_inv_depth: Float[Array, "b h w 1"],
    *,
    supervised_method: str = "sparse-l1",
    supervised_num_scales: int = 4,
    scale_weights: Float[Array, " s"] | None = None,
) -> Float[Array, ""]:
    """Weighted sum over scales of how far predicted is from measured inverse depth.

    Measurements come to each scale by picking pixels.

    Args:
        inv_depth_pyramid: Predictions, finest first, of any sizes; in 1/metre.
        measured_inv_depth: 0 where nothing was measured.
        supervised_method: 'l1', 'mse', 'berhu', 'silog' or 'abs_rel', over all pixels; with
            'sparse-' before it over those that were measured.
        supervised_num_scales: How many scales count, from the finest.
        scale_weights: One weight per scale that counts; by default they are equal and sum to 1.

    Raises:
        ValueError: The method is unknown, or there are not as many scales.

    Source: packnet-sfm losses/supervised_loss.py: SupervisedLoss.
    Differs: the loss is 0 where a sparse scale has no measurement; the reference's is NaN.
        'silog' and 'abs_rel' take predictions below 1e-6 for that; there they give infinities.
        Dense 'berhu' works. `scale_weights` make progressive scaling act; in the reference it
        never does.
    """
    kind = supervised_method.removeprefix(SPARSE)
    if kind not in COMPARISONS:
        raise ValueError(
            f"supervised_method is {supervised_method!r}; use one of {', '.join(COMPARISONS)}, "
            f"or one of them after {SPARSE!r}"
        )
    if len(inv_depth_pyramid) < supervised_num_scales:
        raise ValueError(
            f"supervised_num_scales is {supervised_num_scales}, but only "
            f"{len(inv_depth_pyramid)} inverse depths came"
        )
    losses = []
    for predicted in inv_depth_pyramid[:supervised_num_scales]:
        measured = resize_nearest(measured_inv_depth, predicted.shape[1:3])
        counts = measured > 0 if supervised_method != kind else jnp.ones_like(measured, bool)
        losses.append(COMPARISONS[kind](predicted, measured, counts.astype(predicted.dtype)))
    per_scale = jnp.stack(losses)
    return jnp.mean(per_scale) if scale_weights is None else jnp.sum(scale_weights * per_scale)


def l1(predicted: Array, measured: Array, weight: Array) -> Float[Array, ""]:
    """Mean absolute difference."""
    return weighted_mean(magnitude(predicted - measured), weight)


def mse(predicted: Array, measured: Array, weight: Array) -> Float[Array, ""]:
    """Mean squared difference."""
    return weighted_mean(jnp.square(predicted - measured), weight)


def berhu(predicted: Array, measured: Array, weight: Array) -> Float[Array, ""]:
    """Mean of all absolute differences and, listed once more, the squares of the large ones.

    Large is above a fifth of the largest predicted - measured; the gradient goes through neither
    the threshold nor the choice. This is the reference's rule, on which its numbers rest, and not
    the published BerHu, (d^2 + c^2) / 2c above c.

    Source: packnet-sfm losses/supervised_loss.py: BerHuLoss.
    """
    difference = predicted - measured
    threshold = BERHU_THRESHOLD * jnp.max(jnp.where(weight > 0, difference, -jnp.inf))
    size = magnitude(difference)
    is_large = lax.stop_gradient((size > threshold) & (weight > 0)).astype(size.dtype)
    total = jnp.sum(weight * size) + jnp.sum(is_large * jnp.square(size))
    return total / _at_least_one(jnp.sum(weight) + jnp.sum(is_large))


def silog(predicted: Array, measured: Array, weight: Array) -> Float[Array, ""]:
    """10 sqrt(mean(d^2) - 0.85 mean(d)^2) of log differences d; the gradient is 0 where that is 0.

    Source: packnet-sfm losses/supervised_loss.py: SilogLoss; Eigen et al. 2014, equation 4.
    """
    weight = weight * (measured > 0)  # nothing else has a logarithm
    predicted, measured = (jnp.where(weight > 0, x, 1.0) for x in (predicted, measured))
    predicted = at_least(predicted, SMALLEST)
    difference = jnp.log(SILOG_RATIO * predicted) - jnp.log(SILOG_RATIO * measured)
    spread = weighted_mean(jnp.square(difference), weight)
    shift = jnp.square(weighted_mean(difference, weight))
    return SILOG_RATIO * root(spread - SILOG_VARIANCE_FOCUS * shift)


def abs_rel(predicted: Array, measured: Array, weight: Array) -> Float[Array, ""]:
    """Mean of |predicted - measured| / predicted.

    On inverse depths this is the relative error of the depth: |1/p - 1/m| m = |p - m| / p.

    Source: packnet-sfm losses/supervised_loss.py: get_loss_func.
    """
    divisor = at_least(jnp.where(weight > 0, predicted, 1.0), SMALLEST)
    relative = magnitude(predicted - measured) / divisor
    return weighted_mean(relative, weight)


COMPARISONS: Mapping[str, Comparison] = {
    "l1": l1,
    "mse": mse,
    "berhu": berhu,
    "silog": silog,
    "abs_rel": abs_rel,
}
"""By `supervised_method`, without 'sparse-'."""


def weighted_mean(values: Float[Array, "*s"], weight: Float[Array, "*s"]) -> Float[Array, ""]:
    """Mean over the pixels whose weight is 1; 0 if there is none.

    Values elsewhere may be anything, as long as they are finite.
    """
    return jnp.sum(weight * values) / _at_least_one(jnp.sum(weight))


def _at_least_one(count: Array) -> Array:
    return jnp.maximum(lax.stop_gradient(count), 1.0)
