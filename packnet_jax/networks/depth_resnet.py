"""Depth from a residual encoder and a light decoder with skip connections."""

from flax import linen as nn
from jaxtyping import Array, Float

from packnet_jax.networks.layers import bias_init_for_sigmoid
from packnet_jax.networks.resnet import ResNetDecoder, ResNetEncoder
from packnet_jax.networks.typing import InvDepthPyramid

MIN_DEPTH, MAX_DEPTH = 0.1, 100.0
MIN_INV_DEPTH, MAX_INV_DEPTH = 1 / MAX_DEPTH, 1 / MIN_DEPTH


def decode_inv_depth(
    features: tuple[Float[Array, "b _ _ _"], ...], *, initial_inv_depth: float, name: str
) -> InvDepthPyramid:
    """Applies a decoder whose sigmoids become inverse depth.

    inv_depth = 1 / 100 + (1 / 0.1 - 1 / 100) * sigmoid

    Source: packnet-sfm networks/layers/resnet/layers.py: disp_to_depth.
    """
    low, high = MIN_INV_DEPTH, MAX_INV_DEPTH
    head_bias_init = None
    if initial_inv_depth:
        head_bias_init = bias_init_for_sigmoid((initial_inv_depth - low) / (high - low))
    decoder = ResNetDecoder(nn.sigmoid, head_bias_init=head_bias_init, name=name)
    fine, half, quarter, eighth = (low + (high - low) * x for x in decoder(features))
    return fine, half, quarter, eighth


class DepthResNet(nn.Module):
    """Inverse depth in (0.01, 10) at four scales, finest first, in both modes.

    Source: packnet-sfm networks/depth/DepthResNet.py: DepthResNet.
    Differs: returns all four scales in evaluation as well.
    """

    depth: int = 18
    initial_inv_depth: float = 0.0
    """Where fresh weights start; 0 for torch's default bias, as in the original: about 5."""
    batch_norm_groups: int = 1
    """See `BatchNorm.groups`."""

    @property
    def inv_depth_range(self) -> tuple[float, float]:
        """What the output can come near to."""
        return MIN_INV_DEPTH, MAX_INV_DEPTH

    @nn.compact
    def __call__(self, rgb: Float[Array, "b h w 3"], *, train: bool) -> InvDepthPyramid:
        encoder = ResNetEncoder(self.depth, self.batch_norm_groups, name="encoder")
        features = encoder(rgb, train=train)
        return decode_inv_depth(features, initial_inv_depth=self.initial_inv_depth, name="decoder")
