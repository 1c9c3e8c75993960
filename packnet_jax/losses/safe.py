"""Roots and norms whose gradient is finite everywhere."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

LONG = 1e15
"""Vectors that are longer are measured in units of their largest element."""


def root(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """sqrt(x), and 0 with gradient 0 where x <= 0; rounding may bring a sum of squares there."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def norm(x: Float[Array, "*s d"]) -> Float[Array, "*s"]:
    """Euclidean length over the last axis; the gradient of a zero vector's is 0.

    Also of vectors so long that their square exceeds what the type holds.
    """
    longest = lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True))
    unit = jnp.where(longest > LONG, longest, 1.0)  # dividing by 1 changes nothing
    return unit[..., 0] * root(jnp.sum(jnp.square(x / unit), axis=-1))
