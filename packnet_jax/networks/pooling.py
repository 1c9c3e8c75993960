"""Max-pooling that remembers which pixel was the largest.

XLA finds that pixel anew in the backward pass, window by window (select-and-scatter), which on CPU
takes twenty times as long as pooling itself. Here the forward pass keeps it, one byte per output,
and the backward pass is sums of nine masks. What was the largest is decided once, so rounding in a
recomputed operand cannot lose a gradient.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int8


@jax.custom_vjp
def max_pool_3x3(x: Float[Array, "b h w c"]) -> Float[Array, "b h//2 w//2 c"]:
    """The largest value around every second pixel; height and width are even.

    NaN counts as the largest. Of equal values the first, row by row, has the gradient.
    Differentiated backwards only: `jax.jvp`, `jax.jacfwd` and `jax.hessian` of it are a TypeError.

    Source: torch.nn.MaxPool2d(3, stride=2, padding=1).
    """
    return _pool(x)[0]


def _pool(
    x: Float[Array, "b h w c"],
) -> tuple[Float[Array, "b h//2 w//2 c"], Int8[Array, "b h//2 w//2 c"]]:
    """The largest of each window and its place there, 3 * row + column."""
    b, h, w, c = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    largest = jnp.full((b, h // 2, w // 2, c), -jnp.inf, x.dtype)
    place = jnp.full(largest.shape, 4, jnp.int8)  # the pixel itself, where all are -inf
    for row in range(3):
        for column in range(3):
            end = (b, row + h - 1, column + w - 1, c)
            value = lax.slice(padded, (0, row, column, 0), end, (1, 2, 2, 1))
            is_larger = (value > largest) | jnp.isnan(value)
            largest = jnp.where(is_larger, value, largest)
            place = jnp.where(is_larger, jnp.int8(3 * row + column), place)
    return largest, place


def _unpool(
    place: Int8[Array, "b i j c"], gradient: Float[Array, "b i j c"]
) -> tuple[Float[Array, "b 2*i 2*j c"]]:
    """The gradient of each window at its largest pixel.

    Window (i, j) covers rows 2i-1, 2i, 2i+1: an even row lies in one window, in its middle; an odd
    row 2i+1 is the last of window i and the first of window i+1. Columns alike.
    """

    def of(row: int, column: int) -> Float[Array, "b i j c"]:
        return jnp.where(place == 3 * row + column, gradient, 0)

    def next_row(x: Float[Array, "b i j c"]) -> Float[Array, "b i j c"]:
        return jnp.pad(x[:, 1:], ((0, 0), (0, 1), (0, 0), (0, 0)))

    def next_column(x: Float[Array, "b i j c"]) -> Float[Array, "b i j c"]:
        return jnp.pad(x[:, :, 1:], ((0, 0), (0, 0), (0, 1), (0, 0)))

    even_row = of(1, 1), of(1, 2) + next_column(of(1, 0))
    odd_row = (
        of(2, 1) + next_row(of(0, 1)),
        of(2, 2) + next_column(of(2, 0)) + next_row(of(0, 2) + next_column(of(0, 0))),
    )
    b, i, j, c = gradient.shape
    rows = [jnp.stack(columns, axis=3).reshape(b, i, 2 * j, c) for columns in (even_row, odd_row)]
    return (jnp.stack(rows, axis=2).reshape(b, 2 * i, 2 * j, c),)


max_pool_3x3.defvjp(_pool, _unpool)
