"""Which numbers a camera can have: those that float32 computes with."""

from jaxtyping import Float
from numpy import ndarray

SMALLEST_FOCAL = 1e-3
"""Pixels; no camera comes near it."""
LARGEST_PARAMETER = 1e9
"""Nor near this one, of focal lengths and all others."""


def is_in_range(*parameters: float) -> bool:
    """Whether all are numbers below `LARGEST_PARAMETER` in size."""
    return all(abs(value) < LARGEST_PARAMETER for value in parameters)  # of NaN: not


def is_camera(K: Float[ndarray, "3 3"]) -> bool:
    """Whether all numbers are in range, and focal lengths at least `SMALLEST_FOCAL`."""
    return is_in_range(*K.ravel()) and min(K[0, 0], K[1, 1]) >= SMALLEST_FOCAL
