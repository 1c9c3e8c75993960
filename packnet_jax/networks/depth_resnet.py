"""Depth from a residual encoder and a light decoder with skip connections."""

import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

from packnet_jax.networks.layers import ReflectConv, bias_init_for_sigmoid, upsample_nearest_2x
from packnet_jax.networks.norm import at_least_float32
from packnet_jax.networks.resnet import ResNetEncoder
from packnet_jax.networks.typing import InvDepthPyramid

DECODER_WIDTHS = (16, 32, 64, 128, 256)
MIN_DEPTH, MAX_DEPTH = 0.1, 100.0


class DepthDecoder(nn.Module):
    """Sigmoid maps at full, 1/2, 1/4 and 1/8 resolution from the encoder's five features.

    Source: packnet-sfm networks/layers/resnet/depth_decoder.py: DepthDecoder.
    """

    head_bias_init: Initializer | None = None
    """Of the last convolutions; torch's default if there is none."""

    @nn.compact
    def __call__(self, features: tuple[Float[Array, "b _ _ _"], ...]) -> InvDepthPyramid:
        maps = []
        x = features[-1]
        for level in (4, 3, 2, 1, 0):
            width = DECODER_WIDTHS[level]
            x = nn.elu(ReflectConv(width, name=f"upconv_{level}_0")(x))
            x = upsample_nearest_2x(x)
            if level > 0:
                x = jnp.concatenate([x, features[level - 1]], axis=-1)
            x = nn.elu(ReflectConv(width, name=f"upconv_{level}_1")(x))
            if level <= 3:
                head = ReflectConv(1, self.head_bias_init, name=f"disp_{level}")
                maps.append(nn.sigmoid(head(at_least_float32(x))))
        return tuple(reversed(maps))


class DepthResNet(nn.Module):
    """Inverse depth in (0.01, 10) at four scales, finest first, in both modes.

    inv_depth = 1 / 100 + (1 / 0.1 - 1 / 100) * sigmoid

    Source: packnet-sfm networks/depth/DepthResNet.py: DepthResNet.
    Differs: returns all four scales in evaluation as well.
    """

    depth: int = 18
    initial_inv_depth: float = 0.0
    """Where fresh weights start; 0 for torch's default bias, as in the original: about 5."""

    @property
    def inv_depth_range(self) -> tuple[float, float]:
        """What the output can come near to."""
        return 1 / MAX_DEPTH, 1 / MIN_DEPTH

    @nn.compact
    def __call__(self, rgb: Float[Array, "b h w 3"], *, train: bool) -> InvDepthPyramid:
        features = ResNetEncoder(self.depth, name="encoder")(rgb, train=train)
        low, high = self.inv_depth_range
        head_bias_init = None
        if self.initial_inv_depth:
            head_bias_init = bias_init_for_sigmoid((self.initial_inv_depth - low) / (high - low))
        fine, half, quarter, eighth = (
            low + (high - low) * x for x in DepthDecoder(head_bias_init, name="decoder")(features)
        )
        return fine, half, quarter, eighth
