"""Golden arrays of the PyTorch reference: channels first in the files, channels last here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

FOLDER = Path(__file__).parent / "funcs"


def load(name: str) -> Mapping[str, Any]:
    """All arrays of one file: float32 ones as JAX arrays, the rest as stored."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    return {key: jnp.asarray(a) if a.dtype == np.float32 else a for key, a in arrays.items()}


def nhwc(array: Array) -> Array:
    """[b, c, h, w] -> [b, h, w, c]."""
    return jnp.moveaxis(array, 1, -1)
