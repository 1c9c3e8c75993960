"""A 3-D convolution over (row, column, channel), computed by a 2-D one."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

NHWC = ("NHWC", "HWIO", "NHWC")
"""How 2-D convolutions here lay out images and kernels."""


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
    planes = lax.conv_general_dilated(
        rows.reshape(b * h, w, c, 3),
        kernel[:, :, :, 0].transpose(1, 2, 0, 3),
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=NHWC,
    )
    return planes.swapaxes(-1, -2).reshape(b, h, w, kernel.shape[-1] * c)
