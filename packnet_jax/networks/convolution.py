"""Convolutions written so that compilers handle them well: the same sums, in another order."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from packnet_jax.networks.kernel_gradient import Padding, kernel_gradient

NHWC = ("NHWC", "HWIO", "NHWC")
"""How 2-D convolutions here lay out images and kernels."""


def conv_general_dilated(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "i j c o"],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    lhs_dilation: Sequence[int] = (1, 1),
    rhs_dilation: Sequence[int] = (1, 1),
    dimension_numbers: Any = NHWC,
    feature_group_count: int = 1,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "b _ _ o"]:
    """`lax.conv_general_dilated` for the layers of flax, or one of those below where they serve.

    They serve where nothing is strided, dilated or grouped, the padding is given in numbers, and
    images and kernel lie as in `NHWC`.
    """
    spread = (*window_strides, *lhs_dilation, *rhs_dilation, feature_group_count)
    layout, ours = (
        lax.conv_dimension_numbers(x.shape, kernel.shape, numbers)
        for numbers in (dimension_numbers, NHWC)
    )
    if isinstance(padding, str) or any(n != 1 for n in spread) or layout != ours:
        return lax.conv_general_dilated(
            x,
            kernel,
            window_strides,
            padding,
            lhs_dilation=lhs_dilation,
            rhs_dilation=rhs_dilation,
            dimension_numbers=dimension_numbers,
            feature_group_count=feature_group_count,
            precision=precision,
        )
    rows, columns = padding
    b, h, w, _ = x.shape
    way = conv2d_by_patches if b * h * w < kernel.shape[-1] else conv2d
    return way(x, kernel, (rows, columns), precision)


def convolve(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c o"]
) -> Float[Array, "b h w o"]:
    """A 2-D convolution with k // 2 zeros around, whichever way costs less; k is odd."""
    p = kernel.shape[0] // 2
    return conv_general_dilated(x, kernel, (1, 1), [(p, p), (p, p)])


def conv2d_by_patches(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "i j c o"],
    padding: Padding,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "b _ _ o"]:
    """A 2-D convolution as one product of matrices: the patches under the kernel, and the kernel.

    Copies each pixel i j times, but reads the kernel as it lies, and makes its gradient so; others
    transpose both. It pays where the patches are smaller than the kernel, that is, where there are
    fewer pixels than outputs.
    """
    around = [(before, after, 0) for before, after in ((0, 0), *padding, (0, 0))]
    x = lax.pad(x, jnp.zeros((), x.dtype), around)
    rows, columns, _, outputs = kernel.shape
    b, h, w, _ = x.shape
    h, w = h - rows + 1, w - columns + 1
    shifted = [x[:, i : i + h, j : j + w] for i in range(rows) for j in range(columns)]
    patches = jnp.concatenate(shifted, axis=-1).reshape(b * h * w, -1)
    return jnp.matmul(patches, kernel.reshape(-1, outputs), precision=precision).reshape(
        b, h, w, outputs
    )


def _conv2d(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "i j c o"],
    padding: Padding,
    precision: lax.PrecisionLike = None,
) -> Float[Array, "b _ _ o"]:
    return lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=NHWC, precision=precision
    )


conv2d = jax.custom_vjp(_conv2d, nondiff_argnums=(2, 3))
"""A 2-D convolution. On CPU its gradient by the kernel is that of `kernel_gradient.py`.

Differentiated backwards only: `jax.jvp`, `jax.jacfwd` and `jax.hessian` of it are a TypeError.
"""


def _forward(
    x: Array, kernel: Array, padding: Padding, precision: lax.PrecisionLike
) -> tuple[Array, tuple[Array, Array]]:
    return _conv2d(x, kernel, padding, precision), (x, kernel)


def _backward(
    padding: Padding, precision: lax.PrecisionLike, inputs: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    def gradients(x: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
        _, pull_back = jax.vjp(lambda x, kernel: _conv2d(x, kernel, padding, precision), x, kernel)
        return pull_back(gradient)

    def gradients_on_cpu(x: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
        # XLA turns the kernel around. As that waits for nothing, it would do so in the forward
        # pass, and keep the copies; 0 times a gradient makes it wait for that one.
        late = kernel * (1 + 0 * gradient[0, 0, 0, 0])
        _, pull_back = jax.vjp(lambda x: _conv2d(x, late, padding, precision), x)
        return *pull_back(gradient), kernel_gradient(x, gradient, padding, precision)

    return lax.platform_dependent(*inputs, gradient, cpu=gradients_on_cpu, default=gradients)


conv2d.defvjp(_forward, _backward)


def channel_conv3d(
    x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 3 1 f"]
) -> Float[Array, "b h w f*c"]:
    """Convolves the volume (row, column, channel), zero padded by one, into f features.

    The three rows under the kernel are stacked as input features, which leaves an ordinary 2-D
    convolution over (column, channel): the same sums, but compilers handle it far better than a
    3-D one with a single input feature.
    """
    b, h, w, c = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    rows = jnp.stack([padded[:, i : i + h] for i in range(3)], axis=-1)
    planes = conv2d(
        rows.reshape(b * h, w, c, 3),
        kernel[:, :, :, 0].transpose(1, 2, 0, 3),
        ((1, 1), (1, 1)),
    )
    return planes.swapaxes(-1, -2).reshape(b, h, w, kernel.shape[-1] * c)
