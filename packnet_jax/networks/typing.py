"""The shape every depth network returns."""

from jaxtyping import Array, Float

InvDepthPyramid = tuple[
    Float[Array, "b h w 1"],
    Float[Array, "b h//2 w//2 1"],
    Float[Array, "b h//4 w//4 1"],
    Float[Array, "b h//8 w//8 1"],
]
"""Inverse depth, finest first; each scale has half the size of the one before."""
