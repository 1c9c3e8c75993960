"""Packing and unpacking: learned resampling that moves pixels into channels and back."""

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from packnet_jax.networks.layers import ConvNormElu, xavier_init


def space_to_depth(x: Float[Array, "b h w c"]) -> Float[Array, "b h//2 w//2 c*4"]:
    """Moves each 2x2 block of pixels into channels: new channel = 4 c + 2 row + column.

    Source: packnet-sfm networks/layers/packnet/layers01.py: packing.
    """
    b, h, w, c = x.shape
    blocks = x.reshape(b, h // 2, 2, w // 2, 2, c)
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(b, h // 2, w // 2, 4 * c)


def depth_to_space(x: Float[Array, "b h w c"]) -> Float[Array, "b h*2 w*2 c//4"]:
    """The inverse of `space_to_depth`.

    Source: torch.nn.PixelShuffle(2).
    """
    b, h, w, c = x.shape
    blocks = x.reshape(b, h, w, c // 4, 2, 2)
    return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(b, 2 * h, 2 * w, c // 4)


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
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return planes.swapaxes(-1, -2).reshape(b, h, w, kernel.shape[-1] * c)


class ChannelConv3d(nn.Module):
    """A 3-D convolution that sees (row, column, channel) as one volume with a single feature.

    Its features come out one after the other: new channel = feature * c + channel.
    """

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c*{self.features}"]:
        kernel = self.param("kernel", xavier_init, (3, 3, 3, 1, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return channel_conv3d(x, kernel) + jnp.repeat(bias, x.shape[-1])


class Pack(nn.Module):
    """Halves the image: space to depth, 3-D convolution, then a block back to `features`.

    Source: packnet-sfm networks/layers/packnet/layers01.py: PackLayerConv3d; PackNet paper, 3.3.
    """

    features: int
    kernel_size: int
    num_3d_features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h//2 w//2 {self.features}"]:
        x = ChannelConv3d(self.num_3d_features, name="conv3d")(space_to_depth(x))
        return ConvNormElu(self.features, self.kernel_size, name="conv2d")(x)


class Unpack(nn.Module):
    """Doubles the image: a block, 3-D convolution, then depth to space.

    `features` must be divisible by num_3d_features / 4.

    Source: packnet-sfm networks/layers/packnet/layers01.py: UnpackLayerConv3d; PackNet paper, 3.4.
    """

    features: int
    kernel_size: int
    num_3d_features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h*2 w*2 {self.features}"]:
        narrow = 4 * self.features // self.num_3d_features
        x = ConvNormElu(narrow, self.kernel_size, name="conv2d")(x)
        return depth_to_space(ChannelConv3d(self.num_3d_features, name="conv3d")(x))
