"""Batch normalisation with the running statistics the released weights were made with."""

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Bool, Float, Int


def at_least_float32(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Widens bfloat16 and float16; for sums, and for the layers whose output is a measurement."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class BatchNorm(nn.Module):
    """Normalises every channel over batch and image, or over the pixels that `where` selects.

    running <- momentum * running + (1 - momentum) * batch, the variance with divisor n - 1;
    the normalisation itself uses divisor n. Under jit the statistics are those of the whole
    (global) batch, however it is split over devices and processes. With `train.accumulate=N` they
    are those of each N-th of it, one after the other: what N workers with batches of their own
    normalise by. They are computed and kept in float32 where the features are narrower. Where
    `where` selects no pixel at all, the running ones stay.

    Source: torch.nn.BatchNorm2d, whose `momentum` is one minus this one.
    Differs: flax's own BatchNorm keeps the biased variance, which drifts from the original.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        *,
        train: bool,
        where: Bool[Array, "b h w 1"] | None = None,
    ) -> Float[Array, "b h w c"]:
        shape, given_dtype = x.shape[-1:], x.dtype
        x = at_least_float32(x)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)
        if not train:
            mean, var = running_mean.value, running_var.value
        else:
            count = x.size // x.shape[-1] if where is None else jnp.sum(where)
            # Of nothing there is no mean: then of everything, which keeps gradients finite.
            selected = None if where is None else where | (count == 0)
            mean = jnp.mean(x, (0, 1, 2), where=selected)
            var = jnp.var(x, (0, 1, 2), where=selected)
            if not self.is_initializing():
                unbiased = var * (count / jnp.maximum(count - 1, 1))
                running_mean.value = self._blend(running_mean.value, mean, count)
                running_var.value = self._blend(running_var.value, unbiased, count)
        normalized = (x - mean) * (lax.rsqrt(var + self.epsilon) * scale) + bias
        return normalized.astype(given_dtype)

    def _blend(
        self,
        running: Float[Array, " c"],
        batch: Float[Array, " c"],
        count: int | Int[Array, ""],
    ) -> Float[Array, " c"]:
        batch = lax.stop_gradient(batch)
        blended = self.momentum * running + (1 - self.momentum) * batch
        return jnp.where(count > 0, blended, running)
