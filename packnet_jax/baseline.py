"""A prediction that has learnt nothing of the picture: what any network must beat."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from packnet_jax.data.pipeline import EvalExample
from packnet_jax.data.transforms import resize_depth
from packnet_jax.errors import DataError

MAX_EXAMPLES = 500


def median_inv_depth(
    examples: Iterable[EvalExample], image_shape: tuple[int, int]
) -> Float[np.ndarray, "h w"]:
    """Inverse of the per-pixel median depth of (up to 500) training frames.

    Pixels that no frame measured get the median of those in their row, or of all.

    Raises:
        DataError: no frame has depth.
    """
    depths = []
    for example in tqdm(examples, desc="median depth map", unit="frame", leave=False):
        if example.depth is not None:
            depths.append(resize_depth(example.depth, image_shape))
        if len(depths) == MAX_EXAMPLES:
            break
    measured = np.ma.masked_equal(np.stack(depths), 0) if depths else np.ma.masked_all((1, 1, 1))
    if not measured.count():
        raise DataError(
            "config.eval.median_baseline: the training split has no depth to take a median of; set "
            "it to False"
        )
    per_pixel = np.ma.median(measured, axis=0)
    per_row = np.ma.median(per_pixel, axis=1, keepdims=True).filled(np.ma.median(per_pixel))
    return (1 / np.where(per_pixel.mask, per_row, per_pixel.filled(1))).astype(np.float32)
