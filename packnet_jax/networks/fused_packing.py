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

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from packnet_jax.networks.channel_conv import channel_conv3d
from packnet_jax.networks.norm import at_least_float32

_NHWC = ("NHWC", "HWIO", "NHWC")


def fused_pack(
    x: Float[Array, "b h w c"],
    kernel_3d: Float[Array, "3 3 3 1 f"],
    bias_3d: Float[Array, "f"],
    kernel_2d: Float[Array, "k k f*c o"],
    bias_2d: Float[Array, "o"],
) -> Float[Array, "b h w o"]:
    """`conv2d(channel_conv3d(x))` with zeros around both, as one convolution.

    Args:
        x: after `space_to_depth`.
        kernel_3d: see `channel_conv3d`.
        bias_3d: one for each of its features.
        kernel_2d: its inputs are numbered feature * c + channel.
        bias_2d: likewise of the second convolution.

    Source: PackNet paper, 3.3; the composition is ours.
    """
    kernel, bias = compose(kernel_3d, bias_3d, kernel_2d, bias_2d)
    size = kernel.shape[0] // 2
    z = lax.conv_general_dilated(
        x, kernel.astype(x.dtype), (1, 1), [(size, size)] * 2, dimension_numbers=_NHWC
    )
    z = z + bias.astype(x.dtype)
    return _without_ring(z, x, kernel_3d, bias_3d, kernel_2d)


def is_cheaper(image: tuple[int, int, int], *, kernel_size: int, features: int) -> bool:
    """Whether one convolution, with its composition and border, multiplies less than the two do.

    Counted are products per input and output channel; the 3-D convolution is left out.

    Args:
        image: batch, height and width of the packed images.
        kernel_size: of the 2-D convolution.
        features: of the 3-D one.
    """
    batch, height, width = image
    k, p = kernel_size, kernel_size // 2
    apart = batch * height * width * k**2 * features
    border = 2 * (height + width) * p**2 * k * features
    fused = batch * (height * width * (k + 2) ** 2 + border)
    return fused + (k + 2) ** 2 * 27 * features < apart


def compose(
    kernel_3d: Float[Array, "3 3 3 1 f"],
    bias_3d: Float[Array, "f"],
    kernel_2d: Float[Array, "k k f*c o"],
    bias_2d: Float[Array, "o"],
) -> tuple[Float[Array, "k+2 k+2 c o"], Float[Array, "o"]]:
    """Kernel and bias of both convolutions in one: K and b' above, in float32."""
    k, outputs = kernel_2d.shape[0], kernel_2d.shape[-1]
    features = kernel_3d.shape[-1]
    V = at_least_float32(kernel_2d).reshape(k, k, features, -1, outputs)
    W = at_least_float32(kernel_3d)[:, :, :, 0]
    # lax correlates: to convolve, W is turned round along all of its axes.
    K = lax.conv_general_dilated(
        V.transpose(4, 0, 1, 3, 2),  # o, row, column, channel; feature
        jnp.flip(W, (0, 1, 2))[..., None],
        (1, 1, 1),
        [(2, 2), (2, 2), (1, 1)],
        dimension_numbers=("NHWDC", "HWDIO", "NHWDC"),
        precision=lax.Precision.HIGHEST,
    )
    bias = jnp.einsum("qrfco,f->o", V, at_least_float32(bias_3d))
    return K[..., 0].transpose(1, 2, 3, 0), bias_2d + bias


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
        return lax.conv_general_dilated(y, kernel, (1, 1), kernel_padding, dimension_numbers=_NHWC)

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
