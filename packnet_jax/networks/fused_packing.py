"""The two convolutions of a packing block as one: the same sums at a third of the cost.

A packing block convolves twice without anything in between. With x the packed image [h, w, c],
zero outside, W [3, 3, 3, f] and a [f] the kernel and bias of the 3-D convolution, V [k, k, f, c, o]
and b those of the 2-D one, p a pixel, and q, r, u offsets of pixels:

    y[p, f, c] = a[f] + sum_{r, s} W[r, s, f] x[p + r, c + s]
    z[p, o]    = b[o] + sum_{q, f, c} V[q, f, c, o] y[p + q, f, c]

Put one into the other, with u = q + r and d = c + s:

    z[p, o] = b'[o] + sum_{u, d} K[u, d, o] x[p + u, d]

    K[u, d, o] = sum_{q + r = u} sum_{c + s = d} sum_f V[q, f, c, o] W[r, s, f]
    b'[o]      = b[o] + sum_{q, f, c} V[q, f, c, o] a[f]

one convolution of (k + 2) x (k + 2) pixels. K is V convolved with W along row, column and channel.

What differs is the border. The 2-D convolution takes y for zero outside the image, whereas K goes
on there: y of those pixels sees the bias a and, next to the border, the image. Their share in z,

    sum_{q: p + q outside} sum_{f, c} V[q, f, c, o] y[p + q, f, c],

is therefore taken off again. It reaches k // 2 pixels inwards, and only needs y of a ring of that
width around the image, and those rows or columns of V that point outwards.

For 8 features and k = 3 that is 25 c o products per pixel instead of 72 c o (and 216 c of the 3-D
convolution), and nothing of the size 8 c is ever written but at the border.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from packnet_jax.networks.channel_conv import NHWC, channel_conv3d
from packnet_jax.networks.norm import at_least_float32

_EXACT = lax.Precision.HIGHEST  # kernels keep float32 where images may not


class Composition(NamedTuple):
    """Both convolutions in one: K and b' above, in float32."""

    kernel: Float[Array, "k+2 k+2 c o"]
    bias: Float[Array, "o"]


def fused_pack(
    x: Float[Array, "b h w c"],
    kernel_3d: Float[Array, "3 3 3 1 f"],
    bias_3d: Float[Array, "f"],
    kernel_2d: Float[Array, "k k f*c o"],
    composition: Composition,
) -> Float[Array, "b h w o"]:
    """`conv2d(channel_conv3d(x))` with zeros around both, as one convolution.

    Args:
        x: after `space_to_depth`.
        kernel_3d: see `channel_conv3d`.
        bias_3d: one for each of its features.
        kernel_2d: its inputs are numbered feature * c + channel.
        composition: of these and the second convolution's bias, by `compose`.

    Source: PackNet paper, 3.3; the composition is ours.
    """
    kernel, bias = composition
    size = kernel.shape[0] // 2
    z = lax.conv_general_dilated(
        x, kernel.astype(x.dtype), (1, 1), [(size, size)] * 2, dimension_numbers=NHWC
    )
    z = z + bias.astype(x.dtype)
    return _without_ring(z, x, kernel_3d, bias_3d, kernel_2d)


def is_cheaper(
    image: tuple[int, int, int], *, kernel_size: int, features: int, is_composed: bool
) -> bool:
    """Whether one convolution, with its composition and border, multiplies less than the two do.

    Counted are products per input and output channel; the 3-D convolution is left out.

    Args:
        image: batch, height and width of the packed images.
        kernel_size: of the 2-D convolution.
        features: of the 3-D one.
        is_composed: whether the composition is at hand already.
    """
    batch, height, width = image
    k, p = kernel_size, kernel_size // 2
    apart = batch * height * width * k**2 * features
    border = 2 * (height + width) * p**2 * k * features
    fused = batch * (height * width * (k + 2) ** 2 + border)
    composing = 0 if is_composed else 3 * (k + 2) ** 2 * k**2 * features
    return fused + composing < apart


def compose(
    kernel_3d: Float[Array, "3 3 3 1 f"],
    bias_3d: Float[Array, "f"],
    kernel_2d: Float[Array, "k k f*c o"],
    bias_2d: Float[Array, "o"],
) -> Composition:
    """Kernel and bias of both convolutions in one.

    For each pair of channels (c, o) and channel offset s, the pixels and features (q, f) of V give
    the pixels u of K by one and the same matrix, W[u - q, s, f]: one product of matrices, whose
    results for the three s are then added where c + s is the same.
    """
    k, outputs = kernel_2d.shape[0], kernel_2d.shape[-1]
    features = kernel_3d.shape[-1]
    channels = kernel_2d.shape[2] // features
    V = at_least_float32(kernel_2d).reshape(k * k * features, channels * outputs)
    W = at_least_float32(kernel_3d)[:, :, :, 0]

    u, q, r = np.ix_(range(k + 2), range(k), range(3))
    is_sum = jnp.asarray(u == q + r, W.dtype)
    spread = jnp.einsum("uqr,vpt,rtsf->suvqpf", is_sum, is_sum, W, precision=_EXACT)
    spread = spread.reshape(3 * (k + 2) ** 2, k * k * features)
    apart = jnp.matmul(spread, V, precision=_EXACT)
    apart = apart.reshape(3, k + 2, k + 2, channels, outputs)
    K = sum(jnp.pad(apart[s], ((0, 0), (0, 0), (s, 2 - s), (0, 0)))[:, :, 1:-1] for s in range(3))
    V = V.reshape(k * k, features, channels, outputs)
    bias = jnp.einsum("qfco,f->o", V, at_least_float32(bias_3d), precision=_EXACT)
    return Composition(K, at_least_float32(bias_2d) + bias)


def _without_ring(
    z: Float[Array, "b h w o"],
    x: Float[Array, "b h w c"],
    kernel_3d: Float[Array, "3 3 3 1 f"],
    bias_3d: Float[Array, "f"],
    kernel_2d: Float[Array, "k k f*c o"],
) -> Float[Array, "b h w o"]:
    """Takes the share of pixels outside the image off again; the corners are with the rows."""
    p = kernel_2d.shape[0] // 2  # width of the ring, and how far its share reaches inwards

    def share(border, padding, ring, kernel, kernel_padding):
        """Of a part of the ring: y from the image's outermost row or column, then V's share."""
        y = channel_conv3d(jnp.pad(border, [(0, 0), *padding, (0, 0)]), kernel_3d)[ring]
        y = y + jnp.repeat(bias_3d, x.shape[-1])
        return lax.conv_general_dilated(y, kernel, (1, 1), kernel_padding, dimension_numbers=NHWC)

    above = share(x[:, :1], [(p, 0), (p, p)], np.s_[:, :-1], kernel_2d[:p], [(0, p - 1), (0, 0)])
    below = share(
        x[:, -1:], [(0, p), (p, p)], np.s_[:, 1:], kernel_2d[p + 1 :], [(p - 1, 0), (0, 0)]
    )
    left = share(
        x[:, :, :1], [(0, 0), (p, 0)], np.s_[:, :, :-1], kernel_2d[:, :p], [(p, p), (0, p - 1)]
    )
    right = share(
        x[:, :, -1:], [(0, 0), (0, p)], np.s_[:, :, 1:], kernel_2d[:, p + 1 :], [(p, p), (p - 1, 0)]
    )
    z = z.at[:, :p].add(-above).at[:, -p:].add(-below)
    return z.at[:, :, :p].add(-left).at[:, :, -p:].add(-right)
