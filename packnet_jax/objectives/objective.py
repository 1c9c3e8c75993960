"""What every objective is, and what it says of a batch."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from packnet_jax.batch import Batch
from packnet_jax.loss_config import Needs
from packnet_jax.sfm import Predictions

Progress = Float[Array, ""] | float
"""How far training has come, in [0, 1]."""

_ROUNDING = 1e-6  # XLA divides by multiplying with a reciprocal: 30 steps of 50 come before 0.6

T = TypeVar("T")


def given(value: T | None, what: str) -> T:
    """The value; raises ValueError where a batch or its predictions lack it."""
    if value is None:
        raise ValueError(f"the objective needs {what}, but there is none")
    return value


def has_begun(progress: Progress, start: float) -> Bool[Array, ""]:
    """Whether training has come to a stage that begins at this share of it."""
    return jnp.asarray(progress) >= start - _ROUNDING


class Pictures(NamedTuple):
    """Maps of one sample, for the dashboard; images in [0, 1], None where an objective has none."""

    rgb: Float[Array, "h w 3"]
    inv_depth: Float[Array, "h w 1"]
    warped_context: Float[Array, "n h w 3"] | None = None
    photometric_error: Float[Array, "h w 1"] | None = None
    automask: Float[Array, "h w 1"] | None = None
    measured_inv_depth: Float[Array, "h w 1"] | None = None
    """0 where nothing was measured."""
    inv_depth_rgbd: Float[Array, "h w 1"] | None = None
    """From the picture and its sparse depth."""


class Measured(NamedTuple):
    """What an objective says of a batch."""

    total: Float[Array, ""]
    """What training lowers."""
    terms: dict[str, Float[Array, ""]]
    """Its parts, each as it is before it is weighted, smoothness excepted."""
    pictures: Pictures


class Objective(NamedTuple):
    """Something to learn, with its settings."""

    measure: Callable[[Predictions, Batch, Progress], Measured]
    needs: Needs
    flip_lr_prob: float
    """How often the depth network sees mirrored pictures."""
    frozen: tuple[str, ...] = ()
    """Parameters, by the path of their module, such as "depth_net/encoder", that keep their
    values..."""
    frozen_from: float = 1.0
    """... from this share of the training on."""
