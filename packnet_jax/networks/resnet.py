"""The residual encoder of the ResNet depth and pose networks, and the decoder of dense maps.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

from packnet_jax.networks.layers import (
    ReflectConv,
    check_image_size,
    conv2d,
    kaiming_fan_out_init,
    upsample_nearest_2x,
)
from packnet_jax.networks.norm import BatchNorm, at_least_float32
from packnet_jax.networks.pooling import max_pool_3x3

STAGE_SIZES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
STAGE_WIDTHS = (64, 128, 256, 512)
DECODER_WIDTHS = (16, 32, 64, 128, 256)

IMAGE_MEAN = 0.45
IMAGE_STD = 0.225


def residual_conv2d(features: int, kernel_size: int, *, name: str, stride: int = 1) -> nn.Conv:
    """A convolution without bias, as every one before a batch normalisation."""
    return conv2d(
        features,
        kernel_size,
        stride=stride,
        use_bias=False,
        kernel_init=kaiming_fan_out_init,
        name=name,
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    width: int
    stride: int = 1
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b i j k"]:
        groups = self.batch_norm_groups
        y = residual_conv2d(self.width, 3, stride=self.stride, name="conv1")(x)
        y = nn.relu(BatchNorm(groups=groups, name="bn1")(y, train=train))
        y = residual_conv2d(self.width, 3, name="conv2")(y)
        y = BatchNorm(groups=groups, name="bn2")(y, train=train)
        shortcut = Shortcut(self.width, self.stride, groups, name="shortcut")(x, train=train)
        return nn.relu(y + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride) and 1x1 convolutions beside a shortcut."""

    width: int
    stride: int = 1
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b i j k"]:
        features, groups = 4 * self.width, self.batch_norm_groups
        y = residual_conv2d(self.width, 1, name="conv1")(x)
        y = nn.relu(BatchNorm(groups=groups, name="bn1")(y, train=train))
        y = residual_conv2d(self.width, 3, stride=self.stride, name="conv2")(y)
        y = nn.relu(BatchNorm(groups=groups, name="bn2")(y, train=train))
        y = residual_conv2d(features, 1, name="conv3")(y)
        y = BatchNorm(groups=groups, name="bn3")(y, train=train)
        shortcut = Shortcut(features, self.stride, groups, name="shortcut")(x, train=train)
        return nn.relu(y + shortcut)


class Shortcut(nn.Module):
    """The identity, or a normalised 1x1 convolution where the shape changes."""

    features: int
    stride: int
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b i j k"]:
        if self.stride == 1 and x.shape[-1] == self.features:
            return x
        y = residual_conv2d(self.features, 1, stride=self.stride, name="conv")(x)
        return BatchNorm(groups=self.batch_norm_groups, name="bn")(y, train=train)


class ResNetEncoder(nn.Module):
    """Features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image, finest first.

    The input may stack several images along its channels. The first entry is taken after the
    first ReLU, before pooling.

    Source: packnet-sfm networks/layers/resnet/resnet_encoder.py: ResnetEncoder.
    Differs: no classifier; the original's weights hold one that nothing reads.
    """

    depth: int = 18
    batch_norm_groups: int = 1
    """See `BatchNorm.groups`."""

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b _ _ _"], ...]:
        check_image_size(images)
        block = Bottleneck if self.depth >= 50 else BasicBlock
        x = residual_conv2d(64, 7, stride=2, name="conv1")((images - IMAGE_MEAN) / IMAGE_STD)
        x = nn.relu(BatchNorm(groups=self.batch_norm_groups, name="bn1")(x, train=train))
        features = [x]
        x = max_pool_3x3(x)
        stages = zip(STAGE_WIDTHS, STAGE_SIZES[self.depth], strict=True)
        for stage, (width, num_blocks) in enumerate(stages, start=1):
            for i in range(num_blocks):
                stride = 2 if stage > 1 and i == 0 else 1
                name = f"layer{stage}_{i}"
                x = block(width, stride, self.batch_norm_groups, name=name)(x, train=train)
            features.append(x)
        return tuple(features)


class ResNetDecoder(nn.Module):
    """Maps at full resolution, 1/2, 1/4, ... from the encoder's five features, finest first.

    Source: packnet-sfm networks/layers/resnet/depth_decoder.py: DepthDecoder;
    raysurface_decoder.py: RaySurfaceDecoder.
    """

    activation: Callable[[Array], Array]
    num_channels: int = 1
    num_scales: int = 4
    head_bias_init: Initializer | None = None
    """Of the last convolutions; torch's default if there is none."""

    @nn.compact
    def __call__(
        self, features: tuple[Float[Array, "b _ _ _"], ...]
    ) -> tuple[Float[Array, "b _ _ {self.num_channels}"], ...]:
        maps = []
        x = features[-1]
        for level in (4, 3, 2, 1, 0):
            width = DECODER_WIDTHS[level]
            x = nn.elu(ReflectConv(width, name=f"upconv_{level}_0")(x))
            x = upsample_nearest_2x(x)
            if level > 0:
                x = jnp.concatenate([x, features[level - 1]], axis=-1)
            x = nn.elu(ReflectConv(width, name=f"upconv_{level}_1")(x))
            if level < self.num_scales:
                head = ReflectConv(self.num_channels, self.head_bias_init, name=f"disp_{level}")
                maps.append(self.activation(head(at_least_float32(x))))
        return tuple(reversed(maps))
