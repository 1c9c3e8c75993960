"""A prediction that has learnt nothing of the picture: what any network must beat."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from packnet_jax.data.examples import EvalExample
from packnet_jax.data.transforms import resize_depth
from packnet_jax.errors import DataError

MAX_EXAMPLES = 500


def median_inv_depth(
    sets: Sequence[Iterable[EvalExample]], image_shape: tuple[int, int]
) -> Float[np.ndarray, "h w"]:
    """Inverse of the per-pixel median depth of (up to 500) training frames, of each set in turn,
    cropped as they are.

    Raises:
        DataError: no frame has depth.
    """
    depths = []
    for example in tqdm(_in_turn(sets), desc="median depth map", unit="frame", leave=False):
        if example.depth is not None and example.depth.any():
            depth = example.depth if example.box is None else example.box.cut(example.depth)
            depths.append(resize_depth(depth, image_shape))
        if len(depths) == MAX_EXAMPLES:
            break
    if not depths:
        raise DataError(
            "config.eval.median_baseline: the training data have no depth to take a median of; set "
            "it to False"
        )
    return 1 / median_depth_map(np.stack(depths))


def _in_turn(sets: Sequence[Iterable[EvalExample]]) -> Iterator[EvalExample]:
    """The first of every set, the second of every set, ...; a set that has ended is left out."""
    for group in zip_longest(*sets):
        yield from (example for example in group if example is not None)


def baseline_name(dataset: str) -> str:
    """Of the report about a set of evaluation."""
    return f"{dataset}.median_depth_map"


def median_depth_map(depths: Float[np.ndarray, "n h w"]) -> Float[np.ndarray, "h w"]:
    """The per-pixel median of depth maps: what can be predicted without looking.

    Pixels without depth (0) do not count; where no map has any, the greatest median stands.
    """
    median = np.ma.median(np.ma.masked_less_equal(depths, 0), axis=0)
    return np.ma.filled(median, np.ma.max(median)).astype(np.float32)
