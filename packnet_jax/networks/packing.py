"""Packing and unpacking: learned resampling that moves pixels into channels and back."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from packnet_jax.networks.convolution import channel_conv3d, convolve
from packnet_jax.networks.fused_packing import Composition, compose, fused_pack, is_cheaper
from packnet_jax.networks.layers import ConvNormElu, norm_elu, xavier_init

Packing = Literal["fused", "reference"]
"""How packing blocks compute: as one convolution where that costs less, or as the paper has it."""


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


class _ConvParameters(nn.Module):
    """Kernel and bias of a convolution that somebody else computes."""

    kernel_shape: tuple[int, ...]

    @nn.compact
    def __call__(self) -> tuple[Array, Array]:
        kernel = self.param("kernel", xavier_init, self.kernel_shape)
        return kernel, self.param("bias", nn.initializers.zeros, self.kernel_shape[-1:])


class _PackedConvNormElu(nn.Module):
    """A 3-D convolution with parameters from elsewhere, then `ConvNormElu`, which has its own."""

    features: int
    kernel_size: int
    num_3d_features: int
    packing: Packing

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], conv3d: Callable[[], tuple[Array, Array]]
    ) -> Float[Array, "b h w {self.features}"]:
        if self.packing == "fused" and self.has_variable("composed", "kernel"):
            x = fused_pack(x, self._stored())
        else:
            inputs = self.num_3d_features * x.shape[-1]
            shape = (self.kernel_size, self.kernel_size, inputs, self.features)
            parameters = (*conv3d(), *_ConvParameters(shape, name="conv")())
            if self.is_mutable_collection("composed") and not self.is_initializing():
                self._store(compose(*parameters))
            x = self._convolved(x, *parameters)
        return norm_elu(self, x)

    def _convolved(self, x: Array, *parameters: Array) -> Array:
        b, h, w, _ = x.shape
        if self.packing == "fused" and is_cheaper(
            (b, h, w), kernel_size=self.kernel_size, features=self.num_3d_features
        ):
            return fused_pack(x, compose(*parameters))
        return _two_convolutions(x, *parameters)

    def _store(self, composition: Composition) -> None:
        for name, value in composition._asdict().items():
            self.put_variable("composed", name, value)

    def _stored(self) -> Composition:
        names = Composition._fields
        return Composition(*(self.get_variable("composed", name) for name in names))


def _two_convolutions(
    x: Float[Array, "b h w c"],
    kernel_3d: Float[Array, "3 3 3 1 f"],
    bias_3d: Float[Array, "f"],
    kernel_2d: Float[Array, "k k f*c o"],
    bias_2d: Float[Array, "o"],
) -> Float[Array, "b h w o"]:
    """As the paper has it."""
    volume = channel_conv3d(x, kernel_3d) + jnp.repeat(bias_3d, x.shape[-1])
    return convolve(volume, kernel_2d) + bias_2d


class Pack(nn.Module):
    """Halves the image: space to depth, 3-D convolution, then a block back to `features`.

    With packing="fused" both convolutions are computed as one: with the composition of the
    collection "composed" where that has one (see `fold`), and else, wherever it costs less (see
    `is_cheaper`), with one made from the parameters, which are the same either way.

    Source: packnet-sfm networks/layers/packnet/layers01.py: PackLayerConv3d; PackNet paper, 3.3.
    Differs: "fused" sums in another order, and so rounds otherwise; half the work.
    """

    features: int
    kernel_size: int
    num_3d_features: int
    packing: Packing = "fused"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h//2 w//2 {self.features}"]:
        conv3d = _ConvParameters((3, 3, 3, 1, self.num_3d_features), name="conv3d")
        block = _PackedConvNormElu(
            self.features, self.kernel_size, self.num_3d_features, self.packing, name="conv2d"
        )
        return block(space_to_depth(x), conv3d)


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
