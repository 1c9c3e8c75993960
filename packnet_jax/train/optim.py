"""Adam and its learning rates."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from packnet_jax.config import OptimConfig

LearningRates = dict[str, Float[Array, ""]]


def make_optimizer(config: OptimConfig) -> optax.GradientTransformation:
    """Adam's direction, before the learning rate; gradients of both networks clipped together.

    Source: torch.optim.Adam with its defaults (betas 0.9 and 0.999, eps 1e-8).
    """
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(clip, optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8))


def make_learning_rates(
    config: OptimConfig, steps_per_epoch: int
) -> Callable[[Int[Array, ""]], LearningRates]:
    """StepLR: `lr * gamma ** (epoch // step_size)` for each network, after its warm-up.

    A function of the run's step, not of the optimiser's count of updates, so that skipped steps do
    not shift it.
    """

    def learning_rates(step: Int[Array, ""]) -> LearningRates:
        decay = config.gamma ** (step // steps_per_epoch // config.step_size).astype(float)
        groups = {"depth_net": config.depth, "pose_net": config.pose}
        return {
            name: jnp.asarray(group.lr * decay * _warmup(step, group.warmup_steps))
            for name, group in groups.items()
        }

    return learning_rates


def _warmup(step: Int[Array, ""], num_steps: int) -> Float[Array, ""]:
    return jnp.minimum((step + 1) / max(num_steps, 1), 1.0)


def apply_updates(params: dict, directions: Any, rates: LearningRates) -> dict:
    """`params - rate * direction`, with each network's own rate."""
    return {
        name: jax.tree.map(
            lambda p, d, lr=rates[name]: p - lr.astype(p.dtype) * d, params[name], directions[name]
        )
        for name in params
    }
