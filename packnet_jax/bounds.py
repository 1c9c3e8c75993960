"""Minimum, bounds and absolute value with the gradients of torch, whatever a compiler does.

The gradient of `jnp.minimum` and its kin goes where an operand equals the result. A compiler may
compute the operand anew for that comparison, round it differently, and find no equal: the pixel
then has no gradient. Here the comparison that chooses the value also chooses the gradient.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def smaller_of(x: Float[Array, "*#s"], y: Float[Array, "*#s"]) -> Float[Array, "*s"]:
    """min(x, y), NaN if either is; the gradient goes to the smaller one, to x if they are equal."""
    return jnp.where((y < x) | jnp.isnan(y), y, x)


def at_least(x: Float[Array, "*s"], bound: float | Float[Array, "*#s"]) -> Float[Array, "*s"]:
    """max(x, bound), NaN where x is; the gradient is 1 down to the bound itself and 0 below.

    Source: torch.clamp, whose gradient does the same.
    """
    return jnp.where(x < bound, bound, x)


def at_most(x: Float[Array, "*s"], bound: float | Float[Array, "*#s"]) -> Float[Array, "*s"]:
    """min(x, bound), NaN where x is; the gradient is 1 up to the bound itself and 0 above.

    Source: torch.clamp, whose gradient does the same.
    """
    return jnp.where(x > bound, bound, x)


def magnitude(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """|x|; the gradient at 0 is 0, as torch.abs has it (that of `jnp.abs` is 1 there)."""
    return x * lax.stop_gradient(jnp.sign(x))
