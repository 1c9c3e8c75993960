"""Adam and its learning rates."""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from packnet_jax.config import OptimConfig

LearningRates = dict[str, Float[Array, ""]]


def make_optimizer(config: OptimConfig) -> optax.GradientTransformation:
    """Adam's direction, before the learning rate; gradients of both networks clipped together.

    Weight decay adds `weight_decay * parameter` to every gradient of its network, biases and
    normalisations included, and Adam then scales the sum.

    Source: torch.optim.Adam with its defaults (betas 0.9 and 0.999, eps 1e-8).
    """
    decays = {
        "depth_net": config.depth.weight_decay,
        "pose_net": config.pose.weight_decay,
    }
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        _add_decayed_weights(decays) if any(decays.values()) else optax.identity(),
        optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
    )


def _add_decayed_weights(decays: dict[str, float]) -> optax.GradientTransformation:
    transforms: dict[Hashable, optax.GradientTransformation] = {
        name: optax.add_decayed_weights(decay) for name, decay in decays.items()
    }
    return optax.partition(transforms, lambda params: {name: name for name in params})


def make_learning_rates(
    config: OptimConfig, steps_per_epoch: int
) -> Callable[[Int[Array, ""]], LearningRates]:
    """The rate of each network: its `lr` times the schedule's factor, after its warm-up.

    A function of the run's step, not of the optimiser's count of updates, so that skipped steps do
    not shift it. Factors by epoch e: StepLR `gamma ** (e // step_size)`; CosineAnnealingLR
    `(1 + cos(pi e / T_max)) / 2`; ExponentialLR `gamma ** e`.

    Source: torch.optim.lr_scheduler, stepped once an epoch.
    """

    def learning_rates(step: Int[Array, ""]) -> LearningRates:
        epoch = step // steps_per_epoch
        groups = {"depth_net": config.depth, "pose_net": config.pose}
        return {
            name: jnp.asarray(
                group.lr * schedule_factor(config, epoch) * _warmup(step, group.warmup_steps)
            )
            for name, group in groups.items()
        }

    return learning_rates


def schedule_factor(config: OptimConfig, epoch: Int[Array, "*e"]) -> Float[Array, "*e"]:
    """What the schedule multiplies every rate with in an epoch (from 0)."""
    if config.scheduler == "CosineAnnealingLR":
        return (1 + jnp.cos(jnp.pi * epoch / config.T_max)) / 2
    period = config.step_size if config.scheduler == "StepLR" else 1
    return config.gamma ** (epoch // period).astype(float)


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
