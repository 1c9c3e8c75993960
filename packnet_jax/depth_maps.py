"""Depth and inverse depth maps.

Depth is in metres along the camera's z axis; 0 means that there is no value.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from packnet_jax.bounds import at_least

SMALLEST = 1e-6
"""Depths (metres) and inverse depths (1/metres) are held above this before division."""


def inv_depth_to_depth(inv_depth: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """1 / inv_depth, at most 1e6 metres; the gradient is 0 where that bound holds.

    Source: packnet-sfm utils/depth.py: inv2depth.
    """
    return 1.0 / at_least(inv_depth, SMALLEST)


def depth_to_inv_depth(depth: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """1 / depth, and 0 where there is no depth.

    Source: packnet-sfm utils/depth.py: depth2inv.
    """
    return jnp.where(depth > 0, 1.0 / at_least(depth, SMALLEST), 0.0)


def fuse_flipped(
    inv_depth: Float[Array, "*b h w 1"],
    inv_depth_of_flipped: Float[Array, "*b h w 1"],
    method: Literal["mean", "max", "min"] = "mean",
) -> Float[Array, "*b h w 1"]:
    """Fuses a prediction with the one made from the mirrored image.

    Left of objects a network sees what they hide less well; on the left edge of the image only
    the second prediction is used, on the right edge only the first, and over the 5 % next to
    each edge they blend into the fused value of the interior.

    Args:
        inv_depth: Prediction from the image.
        inv_depth_of_flipped: Prediction from the mirrored image, mirrored back.
        method: How the interior is fused.

    Raises:
        ValueError: `method` is unknown.

    Source: packnet-sfm utils/depth.py: post_process_inv_depth; Godard et al. 2017, section 3.3.
    """
    match method:
        case "mean":
            fused = 0.5 * (inv_depth + inv_depth_of_flipped)
        case "max":
            fused = jnp.maximum(inv_depth, inv_depth_of_flipped)
        case "min":
            fused = jnp.minimum(inv_depth, inv_depth_of_flipped)
        case _:
            raise ValueError(f"fusion method is {method!r}; use 'mean', 'max' or 'min'")
    across = jnp.linspace(0.0, 1.0, inv_depth.shape[-2], dtype=inv_depth.dtype)[:, None]
    at_left = 1.0 - jnp.clip(20.0 * (across - 0.05), 0.0, 1.0)
    at_right = at_left[::-1]
    interior = 1.0 - at_left - at_right
    return at_right * inv_depth + at_left * inv_depth_of_flipped + interior * fused
