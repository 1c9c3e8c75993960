"""Depth, and the viewing direction of every pixel: for cameras without a known model.

Vasiljevic et al., "Neural Ray Surfaces for Self-Supervised Learning of Depth and Ego-motion",
3DV 2020.
"""

from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from packnet_jax.networks.depth_resnet import DepthResNet, decode_inv_depth
from packnet_jax.networks.resnet import ResNetDecoder, ResNetEncoder
from packnet_jax.networks.typing import InvDepthPyramid


class RaySurfaceOutput(NamedTuple):
    """What training needs."""

    inv_depth_pyramid: InvDepthPyramid
    ray_surface: Float[Array, "b h w 3"]
    """In (-1, 1), not normalised: added to a template, it gives the direction of each pixel."""


class RaySurfaceResNet(DepthResNet):
    """`DepthResNet` beside a second decoder of its features, for the ray surface.

    Source: packnet-sfm networks/depth/RaySurfaceResNet.py: RaySurfaceResNet.
    Differs: as `DepthResNet` does.
    """

    def __call__(self, rgb: Float[Array, "b h w 3"], *, train: bool) -> InvDepthPyramid:
        return self.with_ray_surface(rgb, train=train).inv_depth_pyramid

    @nn.compact
    def with_ray_surface(self, rgb: Float[Array, "b h w 3"], *, train: bool) -> RaySurfaceOutput:
        """The inverse depth, and the ray surface."""
        encoder = ResNetEncoder(self.depth, self.batch_norm_groups, name="encoder")
        features = encoder(rgb, train=train)
        pyramid = decode_inv_depth(
            features, initial_inv_depth=self.initial_inv_depth, name="decoder"
        )
        ray_decoder = ResNetDecoder(
            jnp.tanh, num_channels=3, num_scales=1, name="ray_surface_decoder"
        )
        (ray_surface,) = ray_decoder(features)
        return RaySurfaceOutput(pyramid, ray_surface)
