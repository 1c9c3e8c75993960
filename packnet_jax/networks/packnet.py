"""PackNet: depth without losing detail to pooling.

Guizilini et al., "3D Packing for Self-Supervised Monocular Depth Estimation", CVPR 2020.
"""

from typing import Literal, NamedTuple

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
from packnet_jax.networks.packing import Pack, Packing, Unpack
from packnet_jax.networks.typing import InvDepthPyramid

MIN_DEPTH = 0.5

Widths = tuple[int, int, int, int, int]


class PackNetFeatures(NamedTuple):
    """What the encoder hands to the decoder."""

    skips: tuple[Float[Array, "b _ _ _"], ...]
    """Five maps from full to 1/16 resolution."""
    bottleneck: Float[Array, "b h//32 w//32 c"]


class PackNetEncoder(nn.Module):
    """Features at six resolutions; see `PackNet` for the fields."""

    widths: Widths
    num_blocks: tuple[int, int, int, int]
    pack_kernels: tuple[int, int, int, int, int]
    num_3d_features: int
    dropout: float
    packing: Packing = "fused"

    @nn.compact
    def __call__(self, rgb: Float[Array, "b h w 3"], *, train: bool) -> PackNetFeatures:
        check_image_size(rgb)
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
            x = Pack(width, kernel_size, self.num_3d_features, self.packing, name=f"pack{level}")(x)
            skips.append(x)
        return PackNetFeatures(tuple(skips[:-1]), bottleneck=x)


class PackNetDecoder(nn.Module):
    """Inverse depth at four scales, finest first; see `PackNet` for the fields."""

    widths: Widths
    num_3d_features: int
    skip: Literal["concat", "add"]
    initial_inv_depth: float

    @nn.compact
    def __call__(self, features: PackNetFeatures) -> InvDepthPyramid:
        x, pyramid = features.bottleneck, []
        for level in (5, 4, 3, 2, 1):
            width, skip = self.widths[level - 1], features.skips[level - 1]
            unpacked_width = width if self.skip == "concat" else skip.shape[-1]
            x = Unpack(unpacked_width, 3, self.num_3d_features, name=f"unpack{level}")(x)
            stacked = [x, skip] if self.skip == "concat" else [x + skip]
            if pyramid:
                stacked.append(upsample_nearest_2x(pyramid[-1]).astype(x.dtype))
            x = ConvNormElu(width, 3, name=f"iconv{level}")(jnp.concatenate(stacked, axis=-1))
            if level <= 4:
                head = InvDepthHead(MIN_DEPTH, self.initial_inv_depth, name=f"inv_depth{level}")
                pyramid.append(head(x))
        eighth, quarter, half, fine = pyramid
        return fine, half, quarter, eighth


class PackNet(nn.Module):
    """Inverse depth in (0, 2) at four scales, finest first, in both modes.

    `widths` are the features of the five encoder levels, `num_3d_features` those of each 3-D
    convolution. A skip connection is either stacked on the unpacked features ("concat") or added
    to them ("add"). `dropout` acts on the residual shortcuts while training.

    Source: packnet-sfm networks/depth/PackNet01.py: PackNet01.
    Differs: returns all four scales in evaluation as well; the finest comes first.
    """

    widths: Widths = (64, 64, 128, 256, 512)
    num_blocks: tuple[int, int, int, int] = (2, 2, 3, 3)
    pack_kernels: tuple[int, int, int, int, int] = (5, 3, 3, 3, 3)
    num_3d_features: int = 8
    skip: Literal["concat", "add"] = "concat"
    dropout: float = 0.0
    initial_inv_depth: float = 0.0
    """Where fresh weights start; 0 for a bias of zero, as in the original: 1."""
    packing: Packing = "fused"
    """How packing blocks compute; see `Pack`. The parameters are the same."""

    @property
    def inv_depth_range(self) -> tuple[float, float]:
        """What the output can come near to."""
        return 0.0, 1 / MIN_DEPTH

    def setup(self) -> None:
        self.encoder = PackNetEncoder(
            self.widths,
            self.num_blocks,
            self.pack_kernels,
            self.num_3d_features,
            self.dropout,
            self.packing,
        )
        self.decoder = PackNetDecoder(
            self.widths, self.num_3d_features, self.skip, self.initial_inv_depth
        )
        # As in the original, the parameters of both lie side by side.
        nn.share_scope(self, self.encoder)
        nn.share_scope(self, self.decoder)

    def __call__(self, rgb: Float[Array, "b h w 3"], *, train: bool) -> InvDepthPyramid:
        return self.decoder(self.encoder(rgb, train=train))
