"""PackNet-SAN: PackNet whose features sparse depth may complete.

Guizilini et al., "Sparse Auxiliary Networks for Unified Monocular Depth Prediction and
Completion", CVPR 2021.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from packnet_jax.networks.norm import at_least_float32
from packnet_jax.networks.packnet import PackNet, PackNetFeatures, Widths
from packnet_jax.networks.sparse import SparseEncoder, sparsify_depth
from packnet_jax.networks.typing import InvDepthPyramid


class CompletionOutput(NamedTuple):
    """What training compares."""

    inv_depth_pyramid: InvDepthPyramid
    """From the image alone."""
    inv_depth_pyramid_rgbd: InvDepthPyramid
    """From the image and the sparse depth."""
    depth_loss: Float[Array, ""]
    """See `feature_matching_loss`."""


def feature_matching_loss(rgb: PackNetFeatures, rgbd: PackNetFeatures) -> Float[Array, ""]:
    """Mean over the six maps of the mean squared difference; only `rgb` receives a gradient.

    Source: packnet-sfm networks/depth/PackNetSAN01.py: PackNetSAN01.forward.
    """

    def distance(a: Array, b: Array) -> Array:
        return jnp.mean(jnp.square(at_least_float32(lax.stop_gradient(b)) - at_least_float32(a)))

    return jnp.mean(jnp.stack(jax.tree.leaves(jax.tree.map(distance, rgb, rgbd))))


class PackNetSAN(PackNet):
    """PackNet from the image alone, or with sparse depth in the same units it was trained with.

    A second encoder turns the sparse depth into features, which are added to PackNet's at every
    resolution but the first.

    Source: packnet-sfm networks/depth/PackNetSAN01.py: PackNetSAN01.
    Differs: as `PackNet` and `SparseEncoder` do.
    """

    widths: Widths = (32, 64, 128, 256, 512)
    num_3d_features: int = 4
    batch_norm_groups: int = 1
    """Of the sparse encoder; see `BatchNorm.groups`."""

    def setup(self) -> None:
        super().setup()
        self.sparse_encoder = SparseEncoder(self.widths, batch_norm_groups=self.batch_norm_groups)
        self.fusion_scale = self.param("fusion_scale", nn.initializers.ones, (len(self.widths),))
        self.fusion_bias = self.param("fusion_bias", nn.initializers.zeros, (len(self.widths),))

    def __call__(
        self,
        rgb: Float[Array, "b h w 3"],
        input_depth: Float[Array, "b h w 1"] | None = None,
        *,
        train: bool,
    ) -> InvDepthPyramid:
        """Inverse depth from the image and, where given, sparse depth (0: no value)."""
        if input_depth is None and self.is_initializing():
            input_depth = jnp.zeros_like(rgb[..., :1])  # one `init` makes all parameters
        features = self.encoder(rgb, train=train)
        if input_depth is not None:
            features = self._fuse(features, input_depth, train)
        return self.decoder(features)

    def with_and_without_depth(
        self, rgb: Float[Array, "b h w 3"], input_depth: Float[Array, "b h w 1"], *, train: bool
    ) -> CompletionOutput:
        """Both passes, and how far their features are from each other.

        With dropout each pass of training draws its own; else they share what the image gives.
        """
        features = self.encoder(rgb, train=train)
        again = self.encoder(rgb, train=train) if train and self.dropout else features
        fused = self._fuse(again, input_depth, train)
        return CompletionOutput(
            self.decoder(features), self.decoder(fused), feature_matching_loss(features, fused)
        )

    def _fuse(self, features: PackNetFeatures, input_depth: Array, train: bool) -> PackNetFeatures:
        """All maps but the finest, scaled and shifted by learnt numbers, plus sparse features."""
        if input_depth.shape != (*features.skips[0].shape[:3], 1):
            raise ValueError(
                f"got sparse depth of shape {input_depth.shape} beside images of "
                f"{features.skips[0].shape[:3]}; expected one value, 0 for none, for every pixel"
            )
        sparse = self.sparse_encoder(sparsify_depth(input_depth), train=train)
        finest, *coarser = features.skips
        *skips, bottleneck = [
            scale * x + auxiliary.values + bias
            for x, auxiliary, scale, bias in zip(
                (*coarser, features.bottleneck),
                sparse,
                self.fusion_scale,
                self.fusion_bias,
                strict=True,
            )
        ]
        return PackNetFeatures((finest, *skips), bottleneck)
