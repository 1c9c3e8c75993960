"""Layers over maps that have values at some sites only: exact there, in static shapes.

A sparse map is a dense one and the mask of its occupied sites, with zeros elsewhere. Every layer
keeps the zeros, so that only occupied sites ever reach another one; the sites are data, the shapes
are not, and one program serves them all.

Guizilini et al., "Sparse Auxiliary Networks for Unified Monocular Depth Prediction and
Completion", CVPR 2021.
"""

from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from packnet_jax.networks.layers import conv2d, torch_default_init
from packnet_jax.networks.norm import BatchNorm
from packnet_jax.networks.pooling import max_pool_3x3


class SparseMap(NamedTuple):
    """Features at the occupied sites."""

    values: Float[Array, "b h w c"]
    """Zero where not occupied."""
    occupied: Bool[Array, "b h w 1"]

    def with_values(self, values: Float[Array, "b h w k"]) -> "SparseMap":
        """The same sites with other features."""
        return SparseMap(jnp.where(self.occupied, values, 0), self.occupied)


def sparsify_depth(depth: Float[Array, "b h w 1"]) -> SparseMap:
    """The pixels that have a depth; 0 means none.

    Source: packnet-sfm networks/layers/minkowski.py: sparsify_depth.
    """
    occupied = depth > 0
    return SparseMap(jnp.where(occupied, depth, 0), occupied)


def sparse_max_pool(x: SparseMap) -> SparseMap:
    """Half the size; a site is occupied where any of the four below it is.

    Its value is the largest of the occupied ones around the first of the four, 3x3; height and
    width are even.

    Source: MinkowskiEngine 0.5.4, MinkowskiMaxPooling(3, stride=2).
    """
    b, h, w, _ = x.occupied.shape
    occupied = x.occupied.reshape(b, h // 2, 2, w // 2, 2, 1).any((2, 4))
    largest = max_pool_3x3(jnp.where(x.occupied, x.values, -jnp.inf))
    return SparseMap(jnp.where(occupied, largest, 0), occupied)


def sparse_conv(x: SparseMap, features: int, kernel_size: int, *, name: str) -> SparseMap:
    """Applies a convolution without bias whose output has the sites of its input.

    Source: MinkowskiEngine 0.5.4, MinkowskiConvolution(stride=1), its initialisation included.
    """
    conv = conv2d(features, kernel_size, use_bias=False, kernel_init=torch_default_init, name=name)
    return x.with_values(conv(x.values))


def sparse_norm_relu(x: SparseMap, *, train: bool, name: str, groups: int = 1) -> SparseMap:
    """Applies a batch normalisation over the occupied sites of the batch, and ReLU.

    Args:
        groups: see `BatchNorm.groups`.
    """
    norm = BatchNorm(groups=groups, name=name)
    return x.with_values(nn.relu(norm(x.values, train=train, where=x.occupied)))


class SparseBranch(nn.Module):
    """`num_convs` convolutions; all but the last are twice as wide, normalised and rectified."""

    features: int
    kernel_size: int
    num_convs: int
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, x: SparseMap, *, train: bool) -> SparseMap:
        for i in range(1, self.num_convs):
            x = sparse_conv(x, 2 * self.features, self.kernel_size, name=f"conv{i}")
            x = sparse_norm_relu(x, train=train, name=f"bn{i}", groups=self.batch_norm_groups)
        return sparse_conv(x, self.features, self.kernel_size, name=f"conv{self.num_convs}")


class SparseBlock(nn.Module):
    """Halves the map; then the sum of three branches of one, two and three convolutions.

    Source: packnet-sfm networks/layers/minkowski_encoder.py: MinkConv2D.
    """

    features: int
    kernel_size: int
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, x: SparseMap, *, train: bool) -> SparseMap:
        x, groups = sparse_max_pool(x), self.batch_norm_groups
        one, two, three = (
            SparseBranch(self.features, self.kernel_size, n, groups, name=f"branch{n}")(
                x, train=train
            )
            for n in (1, 2, 3)
        )
        total = x.with_values(one.values + two.values + three.values)
        return sparse_norm_relu(total, train=train, name="bn", groups=groups)


class SparseEncoder(nn.Module):
    """Sparse features at 1/2, 1/4, 1/8, 1/16 and 1/32 of a sparse map, finest first.

    Source: packnet-sfm networks/layers/minkowski_encoder.py: MinkowskiEncoder.
    Differs: the original ends the process where the whole batch has no site. Here every feature is
    then zero, and nothing is learnt: no gradient, and running statistics that stay. A single site
    it refuses in training; here its variance is 0.
    """

    widths: tuple[int, ...]
    kernel_sizes: tuple[int, ...] = (5, 5, 3, 3, 3)
    batch_norm_groups: int = 1
    """See `BatchNorm.groups`."""

    @nn.compact
    def __call__(self, x: SparseMap, *, train: bool) -> tuple[SparseMap, ...]:
        features = []
        for level, (width, kernel_size) in enumerate(
            zip(self.widths, self.kernel_sizes, strict=True), start=1
        ):
            block = SparseBlock(width, kernel_size, self.batch_norm_groups, name=f"block{level}")
            x = block(x, train=train)
            features.append(x)
        return tuple(features)
