"""Batch normalisation with the running statistics the released weights were made with."""

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped


def at_least_float32(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Widens bfloat16 and float16; for sums, and for the layers whose output is a measurement."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class BatchNorm(nn.Module):
    """Normalises every channel over batch and image, or over the pixels that `where` selects.

    running <- momentum * running + (1 - momentum) * batch, the variance with divisor n - 1;
    the normalisation itself uses divisor n. Under jit the statistics are those of the whole
    (global) batch, however it is split over devices and processes. With `train.accumulate=N` they
    are those of each N-th of it, one after the other. They are computed and kept in float32 where
    the features are narrower. Where `where` selects no pixel at all, the running ones stay.

    With `groups=N` training normalises each of N equal runs of samples by its own statistics: what
    N workers with batches of their own do. Devices that hold whole groups normalise without
    sending anything. The running statistics move once, by the mean of the groups' means and of
    their unbiased variances, leaving out groups without a selected pixel.

    Source: torch.nn.BatchNorm2d, whose `momentum` is one minus this one.
    Differs: flax's own BatchNorm keeps the biased variance, which drifts from the original. Under
    Horovod each of the original's workers keeps running statistics of its own, and the first one's
    are saved and evaluated with; here those of all groups count.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    groups: int = 1
    """A divisor of the batch; without effect in evaluation."""

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        *,
        train: bool,
        where: Bool[Array, "b h w 1"] | None = None,
    ) -> Float[Array, "b h w c"]:
        shape, given_dtype = x.shape, x.dtype
        x = at_least_float32(x)
        scale = self.param("scale", nn.initializers.ones, shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, shape[-1:])
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape[-1:])
        running_var = self.variable("batch_stats", "var", jnp.ones, shape[-1:])
        if not train:
            mean, var = running_mean.value, running_var.value
        else:
            x, where = self._grouped(x), None if where is None else self._grouped(where)
            pixels = (-4, -3, -2)
            count = x.size // shape[-1] // self.groups
            if where is not None:
                count = jnp.sum(where, pixels, keepdims=True)
            # Of nothing there is no mean: then of everything, which keeps gradients finite.
            selected = None if where is None else where | (count == 0)
            mean = jnp.mean(x, pixels, where=selected, keepdims=True)
            var = jnp.var(x, pixels, where=selected, keepdims=True)
            if not self.is_initializing():
                unbiased = var * (count / jnp.maximum(count - 1, 1))
                running_mean.value = self._blend(running_mean.value, mean, count)
                running_var.value = self._blend(running_var.value, unbiased, count)
        normalized = (x - mean) * (lax.rsqrt(var + self.epsilon) * scale) + bias
        return normalized.reshape(shape).astype(given_dtype)

    def _grouped(self, x: Shaped[Array, "b h w _"]) -> Shaped[Array, "*g _ h w _"]:
        return x if self.groups == 1 else x.reshape(self.groups, -1, *x.shape[1:])

    def _blend(
        self,
        running: Float[Array, " c"],
        found: Float[Array, "*g 1 1 1 c"],
        count: int | Int[Array, "*g 1 1 1 1"],
    ) -> Float[Array, " c"]:
        """What was found of each group, which has so many pixels, moves the running value."""
        found = lax.stop_gradient(found).reshape(-1, found.shape[-1])
        held = jnp.broadcast_to(jnp.asarray(count).reshape(-1, 1) > 0, (len(found), 1))
        batch = jnp.sum(jnp.where(held, found, 0), 0) / jnp.maximum(jnp.sum(held), 1)
        blended = self.momentum * running + (1 - self.momentum) * batch
        return jnp.where(jnp.any(held), blended, running)
