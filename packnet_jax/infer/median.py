"""The ratio of two depth maps' medians, as evaluation takes it."""

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from packnet_jax.metrics.depth import depth_metrics


@jax.jit
def median_ratio(
    depth: Float[Array, "h w"], truth: Float[Array, "H W"]
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """What makes the median of a depth map that of its ground truth, over pixels that have one.

    Returns:
        The ratio, and the number of such pixels.
    """
    metrics = depth_metrics(
        depth, truth, min_depth=0, max_depth=np.inf, crop="", median_scaling=True
    )
    return metrics.scale, metrics.num_valid
