"""Roots and norms whose gradient is finite everywhere."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def root(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """sqrt(x), and 0 with gradient 0 where x <= 0; rounding may bring a sum of squares there."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def norm(x: Float[Array, "*s d"]) -> Float[Array, "*s"]:
    """Euclidean length over the last axis; the gradient of a zero vector's is 0."""
    return root(jnp.sum(jnp.square(x), axis=-1))
