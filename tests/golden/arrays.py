"""Golden arrays of the PyTorch reference: channels first in the files, channels last here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

FOLDER = Path(__file__).parent / "funcs"


def load(name: str) -> Mapping[str, Any]:
    """All arrays of one file: float32 ones as JAX arrays, the rest as stored."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    return {key: jnp.asarray(a) if a.dtype == np.float32 else a for key, a in arrays.items()}


def nhwc(array: Array) -> Array:
    """[b, c, h, w] -> [b, h, w, c]."""
    return jnp.moveaxis(array, 1, -1)


def nchw(array: Array) -> Array:
    """[b, h, w, c] -> [b, c, h, w]."""
    return jnp.moveaxis(array, -1, 1)


def one_plus(expected: ArrayLike) -> np.ndarray:
    """1 + |expected|, 1 where that is not finite: errors absolute near 0, relative far from it."""
    sizes = np.abs(np.asarray(expected, np.float64))
    return 1.0 + np.where(np.isfinite(sizes), sizes, 0.0)
