"""The two convolutions of a packing block as one: the same sums at a third of the cost.

A packing block convolves twice without anything in between. With x the packed image [h, w, c],
zero outside, beyond its channels as well, W [3, 3, 3, f] and a [f] the kernel and bias of the 3-D
convolution, V [k, k, f, c, o] and b those of the 2-D one, g and p pixels, and q, r, u offsets of
pixels, each a row and a column:

    y[g, f, c] = a[f] + sum_{r, s} W[r, s, f] x[g + r, c + s]
    z[p, o]    = b[o] + sum_{q, f, c} V[q, f, c, o] y[p + q, f, c]     over p + q inside the image

**The inside.** Put one into the other, with u = q + r and d = c + s. Were it not for the border,

    z[p, o] = b'[o] + sum_{u, d} K[u, d, o] x[p + u, d]
    K[u, d, o] = sum_{q + r = u} sum_{c + s = d} sum_f V[q, f, c, o] W[r, s, f]

would be all: one convolution of (k + 2) x (k + 2) pixels. (In what follows, s, f, c and d take part
in the same way, and are left out: K[u] = sum_{q + r = u} V[q] W[r].)

**The bias.** a counts where p + q is inside. The sum of V[q] a over those q is the convolution of
an image of ones, with zeros around it, with the small kernel V a.

**The border.** K goes on where p + q is outside, and that has to be taken off again. Outside, only
the pixels of y next to the image see any of x. Those above it see it through r_row = +1 alone: the
first row of x. What they add to z is the convolution of this row with

    K[q_row, u_col] = sum_{q_col + r_col = u_col} V[q] W[+1, r_col]     for q_row < 0

and likewise below (W[-1], q_row > 0, the last row), left and right. The ring's corners are in a row
and in a column, and taken off twice: once too often. What they add comes from one pixel of x:

    K[q_row, q_col] = V[q] W[+1, +1]     for q_row < 0 and q_col < 0, and likewise the others.

So along rows and along columns alike, an offset in K belongs to the first line (k // 2 values of
q), to all lines (k + 2 values of u) or to the last line (k // 2 of q): 2 k + 1 in a row. And z is
the sum over three times three convolutions, each of its part of x with its part of K, negative for
the four sides, positive for the inside and the four corners.

For 8 features and k = 3 that is 25 c o products per pixel instead of 72 c o (and 216 c of the 3-D
convolution), little more at the border, and nothing of the size 8 c is ever written.
"""

import itertools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from packnet_jax.networks.convolution import conv2d, convolve
from packnet_jax.networks.norm import at_least_float32

_EXACT = lax.Precision.HIGHEST  # kernels keep float32 where images may not


class Composition(NamedTuple):
    """Both convolutions in one, in float32."""

    kernel: Float[Array, "2*k+1 2*k+1 c o"]
    """K above, with its borders."""
    ones_kernel: Float[Array, "k k 1 o"]
    """V a above."""
    bias: Float[Array, "o"]


def fused_pack(x: Float[Array, "b h w c"], composition: Composition) -> Float[Array, "b h w o"]:
    """Both convolutions of a packing block, with zeros around both, as one.

    Args:
        x: after `space_to_depth`, at least k // 2 pixels high and wide.
        composition: see `compose`.

    Raises:
        ValueError: x is smaller.

    Source: PackNet paper, 3.3; the composition is ours.
    """
    kernel, ones_kernel, bias = (part.astype(x.dtype) for part in composition)
    _, h, w, _ = x.shape
    k = ones_kernel.shape[0]
    if min(h, w) < k // 2:
        raise ValueError(
            f"got packed images of {h}x{w} pixels (shape {x.shape}), expected at least {k // 2} "
            f"rows and columns under a kernel of {k}x{k}; take larger images, or "
            "packing='reference'"
        )
    z = convolve(jnp.ones((1, h, w, 1), x.dtype), ones_kernel) + bias
    for row, column in itertools.product(_lines(h, k), _lines(w, k)):
        part = conv2d(
            x[:, row.of_image, column.of_image],
            kernel[row.of_kernel, column.of_kernel],
            (row.padding, column.padding),
        )
        around = ((0, 0), row.around, column.around, (0, 0))
        z = z + row.sign * column.sign * jnp.pad(part, around)
    return z


class _Lines(NamedTuple):
    """Rows or columns: the first, all or the last, and where they count."""

    sign: int
    of_image: slice
    of_kernel: slice
    padding: tuple[int, int]
    """Zeros before and after the image's lines."""
    around: tuple[int, int]
    """Lines of the result before and after those that are reached."""


def _lines(size: int, k: int) -> tuple[_Lines, _Lines, _Lines]:
    """The parts of an axis of so many lines."""
    half = k // 2
    reach, rest = (half - 1, half - 1), size - half
    return (
        _Lines(-1, slice(0, 1), slice(0, half), reach, (0, rest)),
        _Lines(+1, slice(None), slice(half, -half), (half + 1, half + 1), (0, 0)),
        _Lines(-1, slice(-1, None), slice(-half, None), reach, (rest, 0)),
    )


def is_cheaper(image: tuple[int, int, int], *, kernel_size: int, features: int) -> bool:
    """Whether composing, and one convolution with its border, multiply less than the two do.

    Counted are products per input and output channel; the 3-D convolution is left out. Those of
    the composition count twice, since what they make is as large as the kernels: it is the writing
    and reading that takes the time.

    This is a rule for one device that multiplies at one rate. Devices that share a batch compose
    for themselves, each as much as if it were alone, but here the batch is the whole one: a module
    does not know how many share it. And composing keeps float32 where the convolutions may have
    the far higher rates that tensor cores have for less: it then costs more than is counted. Both
    favour "fused" at the deep levels, where kernels are large and images small: at 192x640 the
    rule composes the last two of five from batches of 2 and 5 on. packing="reference" composes
    nowhere; measure both where it matters (`python -m benchmarks.run --only=train_step`).

    Args:
        image: batch, height and width of the packed images.
        kernel_size: of the 2-D convolution.
        features: of the 3-D one.
    """
    batch, height, width = image
    k, half = kernel_size, kernel_size // 2
    apart = batch * height * width * k**2 * features
    border = 2 * (height + width + 2 * half) * half * (k + 2)
    fused = batch * (height * width * (k + 2) ** 2 + border)
    composing = 2 * (3 * (2 * k + 1) ** 2 + k**2) * k**2 * features
    return fused + composing < apart


def compose(
    kernel_3d: Float[Array, "3 3 3 1 f"],
    bias_3d: Float[Array, "f"],
    kernel_2d: Float[Array, "k k f*c o"],
    bias_2d: Float[Array, "o"],
) -> Composition:
    """Kernels and biases of both convolutions in one.

    For each pair of channels (c, o) and channel offset s, the pixels and features (q, f) of V give
    the offsets of K by one and the same matrix, made of W: for each s one product of matrices,
    whose results are then added where c + s is the same.

    The three are as large as K each, and one is there beside the sum: of the largest block of
    PackNet01 (2048 channels to 512) temporaries of 0.38 GiB for a result of 0.19 GiB.

    Args:
        kernel_3d: see `channel_conv3d`.
        bias_3d: one for each of its features.
        kernel_2d: of odd k; its inputs are numbered feature * c + channel.
        bias_2d: likewise of the second convolution.
    """
    k, outputs = kernel_2d.shape[0], kernel_2d.shape[-1]
    features, size = kernel_3d.shape[-1], 2 * k + 1
    V = at_least_float32(kernel_2d).reshape(k * k * features, -1)
    W = at_least_float32(kernel_3d)[:, :, :, 0]
    a = at_least_float32(bias_3d)

    meet = jnp.asarray(_meeting(k), W.dtype)
    # u, q, r are the rows, and v, w, t the columns, of what the derivation calls u, q, r.
    from_W = jnp.einsum("uqr,vwt,rtsf->suvqwf", meet, meet, W, precision=_EXACT)

    def at_offset(s: int) -> Float[Array, "size size c o"]:
        matrix = from_W[s].reshape(size**2, -1)
        return jnp.matmul(matrix, V, precision=_EXACT).reshape(size, size, -1, outputs)

    # W[s] has the offset s - 1; what comes to lie at channels outside meets zeros of x.
    K = at_offset(1)
    K = K.at[:, :, :-1].add(at_offset(0)[:, :, 1:])
    K = K.at[:, :, 1:].add(at_offset(2)[:, :, :-1])
    Va = jnp.einsum("qfco,f->qo", V.reshape(k * k, features, -1, outputs), a, precision=_EXACT)
    return Composition(K, Va.reshape(k, k, 1, outputs), at_least_float32(bias_2d))


def _meeting(k: int) -> np.ndarray:
    """[2 k + 1, k, 3]: which q and r, of rows or columns, are in which offset of K."""
    half = k // 2
    q, r = np.arange(k)[:, None], np.arange(3)
    first = [(q == i) & (r == 2) for i in range(half)]
    all_lines = [q + r == u for u in range(k + 2)]
    last = [(q == i) & (r == 0) for i in range(half + 1, k)]
    return np.stack(first + all_lines + last)
