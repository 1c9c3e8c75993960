"""Signs that training has gone astray while its loss looks well, and what to do about them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from packnet_jax.batch import Batch
from packnet_jax.losses.safe import norm
from packnet_jax.sfm import Predictions

PARALLAX, SPREAD = "health/parallax", "health/inv_depth_spread"
AT_BOUNDS, STATIC = "health/inv_depth_at_bounds", "health/static_share"

LEAST_PARALLAX = 1e-6
"""Distance travelled over depth; with a focal length of 500 pixels, a two-thousandth of a pixel."""
LEAST_SPREAD = 0.01
"""Standard deviation of inverse depth over its mean."""
MOST_AT_BOUNDS = 0.6
"""Share of the pixels; a sky may well be at the lower bound."""
MOST_STATIC = 0.5
"""Share of the samples."""
AT_LOWER, AT_UPPER = 1e-4, 1 - 1e-3
"""Where a sigmoid counts as saturated; far depth comes near to the lower bound by itself."""
STATIC_DIFFERENCE = 1 / 255
"""Of neighbouring pictures, mean over pixels and channels; noise alone makes two or three times as
much."""

WINDOW = 10
"""So many logs in a row have to show a sign."""
SILENCE = 100
"""So many logs pass before the same warning comes again."""


def signs(
    predictions: Predictions, batch: Batch, depth_net: nn.Module
) -> dict[str, Float[Array, ""]]:
    """What the rules of `HealthWatch` look at; a few sums over a batch, without a gradient.

    `health/parallax` and `health/static_share` only of what learns from motion,
    `health/inv_depth_at_bounds` only of networks that say what their `inv_depth_range` is.
    """
    inv_depth = lax.stop_gradient(predictions.inv_depth_pyramid[0])
    mean = jnp.mean(inv_depth, (1, 2, 3))
    found = {SPREAD: jnp.mean(jnp.std(inv_depth, (1, 2, 3)) / jnp.maximum(mean, 1e-6))}
    bounds = getattr(depth_net, "inv_depth_range", None)
    if bounds is not None:
        low, high = bounds
        share = (inv_depth - low) / (high - low)
        found[AT_BOUNDS] = jnp.mean((share < AT_LOWER) | (share > AT_UPPER), dtype=jnp.float32)
    if predictions.context_T_target is not None:
        motion = lax.stop_gradient(predictions.context_T_target)
        found[PARALLAX] = jnp.mean(norm(motion[..., :3, 3]) * mean[:, None])
        difference = jnp.abs(batch.rgb_context_original - batch.rgb_original[:, None])
        is_static = jnp.max(jnp.mean(difference, (2, 3, 4)), axis=1) < STATIC_DIFFERENCE
        found[STATIC] = jnp.mean(is_static, dtype=jnp.float32)
    return found


class Rule(NamedTuple):
    """A sign, when it is a bad one, and what to say."""

    is_bad: Callable[[float], bool]
    message: str
    """Completed with the latest value."""


RULES: Mapping[str, Rule] = {
    PARALLAX: Rule(
        lambda value: value < LEAST_PARALLAX,
        "the camera is predicted to stand still: its way is {value:.1e} of the depth. The pose "
        "network has collapsed. Look for contexts that equal their targets "
        "(python -m packnet_jax.data_check), lower config.optim.pose.lr, or start its weights "
        "anew; without motion nothing is learnt about depth",
    ),
    SPREAD: Rule(
        lambda value: value < LEAST_SPREAD,
        "depth is the same everywhere: the spread of inverse depth is {value:.1e} of its mean. "
        "Lower config.optim.depth.lr or config.loss.smooth_loss_weight, check the intrinsics "
        "(python -m packnet_jax.data_check), and that the camera moves between frames",
    ),
    AT_BOUNDS: Rule(
        lambda value: value > MOST_AT_BOUNDS,
        "{value:.0%} of the pixels have the least or greatest inverse depth that the network can "
        "say, where its gradient vanishes. Lower config.optim.depth.lr, set "
        "config.model.initial_inv_depth near the scene's, and where depth is metric check its unit "
        "(metres)",
    ),
    STATIC: Rule(
        lambda value: value > MOST_STATIC,
        "{value:.0%} of the targets equal their contexts: the camera stood still, or the same "
        "frame was stored twice. Nothing is learnt from these. Leave them out "
        "(config.data.frames.static_threshold, config.data.strides, or another split file)",
    ),
}


class HealthWatch:
    """Reads what is logged, and warns where a sign was bad in `WINDOW` logs in a row.

    The same warning comes at most once in `SILENCE` logs.
    """

    def __init__(self) -> None:
        self._num_logs = 0
        self._bad: dict[str, list[int]] = {name: [] for name in RULES}
        self._warned: dict[str, int] = {}

    def read(self, step: int, scalars: Mapping[str, float]) -> list[str]:
        """The warnings that are due after this log."""
        self._num_logs += 1
        due = []
        for name, rule in RULES.items():
            steps = self._bad[name]
            if name not in scalars or not rule.is_bad(scalars[name]):
                steps.clear()
                continue
            steps.append(step)
            last = self._warned.get(name)
            if len(steps) >= WINDOW and (last is None or self._num_logs - last >= SILENCE):
                self._warned[name] = self._num_logs
                said = rule.message.format(value=scalars[name])
                due.append(f"{name}, steps {steps[0]} to {step} ({len(steps)} logs): {said}")
        return due
