"""Golden arrays of the PyTorch reference: channels first in the files, channels last here."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "funcs"


def load(name: str) -> Mapping[str, np.ndarray]:
    """All arrays of one file, as stored."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def nhwc(array: np.ndarray) -> np.ndarray:
    """[b, c, h, w] -> [b, h, w, c]."""
    return np.moveaxis(array, 1, -1)
