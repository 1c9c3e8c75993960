"""Depth metrics of one image against its ground truth."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from packnet_jax.image import resize_bilinear

METRIC_NAMES = ("abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3")
"""The metrics in the order of `DepthMetrics.values`."""


class DepthMetrics(NamedTuple):
    """Metrics of one image; a pytree, so `vmap` and `jit` return it."""

    values: Float[Array, "7"]
    """In the order of `METRIC_NAMES`; 0 when no pixel is valid."""

    num_valid: Int[Array, ""]
    """Pixels compared. Images with 0 must not be averaged in as if they were perfect."""

    scale: Float[Array, ""]
    """Factor applied to the prediction: the ratio of medians, or 1."""


def garg_crop_mask(height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    """True inside the crop that KITTI depth papers evaluate on.

    Source: Garg et al. 2016; packnet-sfm utils/depth.py: compute_depth_metrics.
    """
    mask = np.zeros((height, width), bool)
    rows = slice(int(0.40810811 * height), int(0.99189189 * height))
    columns = slice(int(0.03594771 * width), int(0.96405229 * width))
    mask[rows, columns] = True
    return mask


def fit_to_ground_truth(
    depth: Float[Array, "h w"],
    shape: Sequence[int],
    scale_output: Literal["resize", "top-center"],
) -> Float[Array, "{shape[0]} {shape[1]}"]:
    """Brings a predicted depth map to the size of its ground truth.

    Args:
        depth: Prediction, metres or any scale.
        shape: Height and width of the ground truth.
        scale_output: 'resize' interpolates; 'top-center' takes the prediction to come from an
            image whose top rows, and as many columns on both sides, were cut off, and fills
            those with 0.

    Raises:
        ValueError: The mode is unknown, or the prediction is too large for 'top-center'.

    Source: packnet-sfm utils/depth.py: scale_depth.
    """
    if scale_output == "resize":
        return resize_bilinear(depth[..., None], shape)[..., 0]
    if scale_output != "top-center":
        raise ValueError(f"scale_output is {scale_output!r}; use 'resize' or 'top-center'")
    top, sides = shape[0] - depth.shape[0], shape[1] - depth.shape[1]
    if top < 0 or sides < 0:
        raise ValueError(
            f"'top-center' pads the prediction, but its shape {depth.shape} exceeds the ground "
            f"truth's {shape}; use scale_output='resize'"
        )
    return jnp.pad(depth, ((top, 0), (sides // 2, sides - sides // 2)))


def depth_metrics(
    depth: Float[Array, "h w"],
    ground_truth: Float[Array, "H W"],
    *,
    min_depth: float,
    max_depth: float,
    crop: Literal["garg", ""],
    median_scaling: bool,
    scale_output: Literal["resize", "top-center"] = "resize",
    mask: Bool[Array, "H W"] | None = None,
) -> DepthMetrics:
    """Compares a predicted depth map with the measured one.

    Pixels count where min_depth < ground truth < max_depth, inside the crop and the mask. The
    prediction is brought to the size of the ground truth, scaled, then held within the two bounds.

    Args:
        depth: Prediction, metres, or of any scale with `median_scaling`. Where it is NaN and
            counts, so are the metrics.
        ground_truth: Measured depth, metres, 0 where there is none.
        min_depth: Metres. With 0, a prediction of 0 makes rmse_log infinite.
        max_depth: Metres.
        crop: 'garg', or '' for the whole image.
        median_scaling: Multiply the prediction by the ratio of the (lower) medians; not where its
            own is 0 or infinite, and there is no ratio.
        scale_output: See `fit_to_ground_truth`.
        mask: False where pixels do not count.

    Raises:
        ValueError: An option is unknown.

    Source: Eigen et al. 2014; packnet-sfm utils/depth.py: compute_depth_metrics.
    Differs: one image at a time, with the number of valid pixels beside the values. The reference
        averages over a batch and lets an image without valid pixels count as zeros.
    """
    if crop not in ("garg", ""):
        raise ValueError(f"crop is {crop!r}; use 'garg' or ''")
    predicted = fit_to_ground_truth(depth, ground_truth.shape, scale_output)
    valid = (ground_truth > min_depth) & (ground_truth < max_depth)
    if crop == "garg":
        valid &= garg_crop_mask(*ground_truth.shape)
    if mask is not None:
        valid &= mask
    num_valid = jnp.sum(valid)

    scale = jnp.ones((), predicted.dtype)
    if median_scaling:
        median_true, median = _lower_median(ground_truth, valid), _lower_median(predicted, valid)
        is_scale = (median > 0) & (median < jnp.inf)
        median = jnp.where(is_scale, median, 1.0)
        scale = jnp.where(is_scale, median_true / median, 1.0)
        predicted = jnp.where(is_scale, predicted * median_true / median, predicted)
    predicted = jnp.clip(predicted, min_depth, max_depth)

    values = jnp.stack(_values(predicted, ground_truth, valid, num_valid))
    some = num_valid > 0
    return DepthMetrics(jnp.where(some, values, 0.0), num_valid, jnp.where(some, scale, 1.0))


def _values(predicted: Array, true: Array, valid: Array, num_valid: Array) -> list[Array]:
    def mean(per_pixel: Array) -> Array:
        return jnp.sum(per_pixel, where=valid) / num_valid

    error = true - predicted
    ratio = jnp.maximum(true / predicted, predicted / true)
    return [
        mean(jnp.abs(error) / true),
        mean(error**2 / true),
        jnp.sqrt(mean(error**2)),
        jnp.sqrt(mean((jnp.log(true) - jnp.log(predicted)) ** 2)),
        *(mean(jnp.asarray(ratio < 1.25**power, predicted.dtype)) for power in (1, 2, 3)),
    ]


def _lower_median(values: Array, valid: Array) -> Array:
    """Median of the valid values; the lower of the middle two when their number is even."""
    ordered = jnp.sort(jnp.where(valid, values, jnp.inf), axis=None)
    return ordered[jnp.maximum(jnp.sum(valid) - 1, 0) // 2]
