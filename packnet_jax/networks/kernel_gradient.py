"""The gradient of a 2-D convolution by its kernel, as XLA's CPU backend does it well.

With x the input, g the gradient by the output, and zeros around x,

    dK[i, j, c, o] = sum over b, row, column of x[b, row + i, column + j, c] g[b, row, column, o].

XLA makes of it a convolution whose kernel is as large as the picture and has one feature for each
picture of the batch, so that it multiplies number by number, at a fifth of the rate of the
convolution itself (docs/benchmarks.md). Here columns and pictures together are the features: rows
of g, shifted by each j, move over those of x in a one-dimensional convolution, and products are of
whole rows.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Zeros before and after the rows, then the columns; negative numbers leave some out."""


def kernel_gradient(
    x: Float[Array, "b h w c"],
    gradient: Float[Array, "b y x o"],
    padding: Padding,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "i j c o"]:
    """The gradient by the kernel of a convolution with stride 1.

    Of input and output, the one with fewer channels is moved over the other, as it has to be
    transposed: moving x over g and g over x give the same sums in opposite order.

    Args:
        x: the convolution's input.
        gradient: that by its output, y = h + padding - i + 1 rows high.
        padding: the convolution's.
    """
    if x.shape[-1] < gradient.shape[-1]:
        return _correlate(x, gradient, padding, precision)
    (top, bottom), (left, right) = padding
    _, rows, columns, _ = np.subtract(x.shape, gradient.shape)
    turned = ((bottom + rows, top + rows), (right + columns, left + columns))
    return _correlate(gradient, x, turned, precision)[::-1, ::-1].swapaxes(2, 3)


def _correlate(
    moved: Float[Array, "b h w m"],
    fixed: Float[Array, "b y x f"],
    padding: Padding,
    precision: lax.PrecisionLike,
) -> Float[Array, "i j m f"]:
    """The sums of products for every place of the fixed one within the padded other."""
    b, height, width, f = fixed.shape
    around = [(0, 0, 0), *((*ends, 0) for ends in (padding[0], (0, 0), padding[1]))]
    padded = lax.pad(moved.transpose(3, 1, 0, 2), jnp.zeros((), moved.dtype), around)
    m, rows, _, columns = padded.shape
    places = columns - width + 1
    shifted = jnp.stack([padded[..., j : j + width] for j in range(places)])
    by_column = lax.conv_general_dilated(
        shifted.reshape(places * m, rows, b * width),
        fixed.transpose(1, 0, 2, 3).reshape(height, b * width, f),
        window_strides=(1,),
        padding="VALID",
        dimension_numbers=("NHC", "HIO", "NHC"),
        precision=precision,
    )
    return by_column.reshape(places, m, -1, f).transpose(2, 0, 1, 3)
