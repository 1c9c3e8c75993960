"""PackNet: depth without losing detail to pooling.

Guizilini et al., "3D Packing for Self-Supervised Monocular Depth Estimation", CVPR 2020.
"""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from packnet_jax.networks.layers import (
    ConvNormElu,
    InvDepthHead,
    ResidualConv,
    check_image_size,
    upsample_nearest_2x,
)
from packnet_jax.networks.packing import Pack, Unpack
from packnet_jax.networks.typing import InvDepthPyramid

MIN_DEPTH = 0.5


class PackNet(nn.Module):
    """Inverse depth in (0, 2) at four scales, finest first, in both modes.

    `widths` are the features of the five encoder levels, `num_3d_features` those of each 3-D
    convolution. A skip connection is either stacked on the unpacked features ("concat") or added
    to them ("add"). `dropout` acts on the residual shortcuts while training.

    Source: packnet-sfm networks/depth/PackNet01.py: PackNet01.
    Differs: returns all four scales in evaluation as well; the finest comes first.
    """

    widths: tuple[int, int, int, int, int] = (64, 64, 128, 256, 512)
    num_blocks: tuple[int, int, int, int] = (2, 2, 3, 3)
    pack_kernels: tuple[int, int, int, int, int] = (5, 3, 3, 3, 3)
    num_3d_features: int = 8
    skip: Literal["concat", "add"] = "concat"
    dropout: float = 0.0
    initial_inv_depth: float = 0.0
    """Where fresh weights start; 0 for a bias of zero, as in the original: 1."""

    @property
    def inv_depth_range(self) -> tuple[float, float]:
        """What the output can come near to."""
        return 0.0, 1 / MIN_DEPTH

    @nn.compact
    def __call__(self, rgb: Float[Array, "b h w 3"], *, train: bool) -> InvDepthPyramid:
        check_image_size(rgb)
        return self._decode(*self._encode(rgb, train))

    def _encode(self, rgb, train):
        """The packed coarsest features, and the five skips from full to 1/16 resolution."""
        x = ConvNormElu(self.widths[0], 5, name="pre_calc")(rgb)
        skips = [x]
        for level, (width, kernel_size) in enumerate(
            zip(self.widths, self.pack_kernels, strict=True), start=1
        ):
            if level == 1:
                x = ConvNormElu(width, 7, name="conv1")(x)
            else:
                for i in range(self.num_blocks[level - 2]):
                    x = ResidualConv(width, self.dropout, name=f"conv{level}_{i}")(x, train=train)
            x = Pack(width, kernel_size, self.num_3d_features, name=f"pack{level}")(x)
            skips.append(x)
        return skips.pop(), skips

    def _decode(self, x, skips):
        pyramid = []
        for level in (5, 4, 3, 2, 1):
            width, skip = self.widths[level - 1], skips[level - 1]
            unpacked_width = width if self.skip == "concat" else skip.shape[-1]
            x = Unpack(unpacked_width, 3, self.num_3d_features, name=f"unpack{level}")(x)
            features = [x, skip] if self.skip == "concat" else [x + skip]
            if pyramid:
                features.append(upsample_nearest_2x(pyramid[-1]).astype(x.dtype))
            x = ConvNormElu(width, 3, name=f"iconv{level}")(jnp.concatenate(features, axis=-1))
            if level <= 4:
                head = InvDepthHead(MIN_DEPTH, self.initial_inv_depth, name=f"inv_depth{level}")
                pyramid.append(head(x))
        return tuple(reversed(pyramid))
