"""Noise and regular patterns that fade before they get too fine for a pixel.

A detail fades to its mean as its size falls below what a pixel covers, so that images taken from
different distances agree and nothing flickers.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

Lattice = Float[ndarray, "l l"]
Values = Float[ndarray, " n"]
Colour = Float[ndarray, "n 3"]

_LATTICE_SIZE = 256


class Surface(NamedTuple):
    """Points on surfaces of one material, in axes fixed to their object; metres.

    u runs along the surface horizontally. v runs up a wall (0 at its foot) or along z on level
    ground. w is the remaining coordinate, for textures that fill space.
    """

    u: Values
    v: Values
    w: Values
    footprint_u: Values
    """Extent of one pixel on the surface along u."""

    footprint_v: Values
    half_width: Values
    """Half the extent of the face along u; 0 for the ground."""

    height: Values
    is_end: Values
    """1 on z faces (a car's front and back), else 0."""

    front: Values
    """+1 on +x and +z faces, -1 on the opposite ones."""

    phase: Values
    colour: Colour


def make_lattice(rng: np.random.Generator) -> Lattice:
    """Random values in [-1, 1] that all noise of a street is read from."""
    return rng.uniform(-1, 1, (_LATTICE_SIZE, _LATTICE_SIZE)).astype(np.float32)


def value_noise(lattice: Lattice, x: Values, y: Values) -> Values:
    """Smoothly interpolated lattice values, in [-1, 1]; one cell is one unit."""
    floor_x, floor_y = np.floor(x), np.floor(y)
    sx, sy = x - floor_x, y - floor_y
    sx, sy = sx * sx * (3 - 2 * sx), sy * sy * (3 - 2 * sy)
    left, top = floor_x.astype(np.int32), floor_y.astype(np.int32)
    mask = _LATTICE_SIZE - 1
    x0, x1 = left & mask, (left + 1) & mask
    y0, y1 = (top & mask) * _LATTICE_SIZE, ((top + 1) & mask) * _LATTICE_SIZE
    flat = lattice.ravel()
    upper, lower = flat[y0 + x0], flat[y1 + x0]
    upper = upper + sx * (flat[y0 + x1] - upper)
    lower = lower + sx * (flat[y1 + x1] - lower)
    return upper + sy * (lower - upper)


def fade(size: Values | float, footprint: Values) -> Values:
    """1 for details (half a wavelength) well above a pixel, 0 from two thirds of a pixel on."""
    return np.clip(1.5 * size / footprint - 1, 0, 1)


Octave = tuple[float, float, float]
"""Cell along u and along v, metres, and amplitude."""


def fractal(lattice: Lattice, s: Surface, octaves: tuple[Octave, ...], shift: float = 0) -> Values:
    """A sum of noise octaves, each faded where its cells are too small to be seen."""
    total = np.zeros_like(s.u)
    for i, (cell_u, cell_v, amplitude) in enumerate(octaves):
        weight = fade(cell_u, s.footprint_u) * fade(cell_v, s.footprint_v)
        seen = np.flatnonzero(weight)
        offset = s.phase[seen] * 251 + 17.3 * i + shift
        x, y = s.u[seen] / cell_u + offset, s.v[seen] / cell_v + 0.37 * offset
        total[seen] += amplitude * weight[seen] * value_noise(lattice, x, y)
    return total


def random_cells(lattice: Lattice, i: Values, j: Values, phase: Values) -> Values:
    """One random number in [-1, 1] for each integer cell (i, j) of each object."""
    mask = _LATTICE_SIZE - 1
    offset = (phase * 65536).astype(np.int32)
    column = (i.astype(np.int32) + offset) & mask
    row = (j.astype(np.int32) + (offset >> 8)) & mask
    return lattice.ravel()[row * _LATTICE_SIZE + column]


def box(x: Values, low: Values | float, high: Values | float, footprint: Values) -> Values:
    """Share of a pixel of the given footprint, centred at x, that lies in [low, high]."""
    left = np.clip((x - low) / footprint + 0.5, 0, 1)
    return left - np.clip((x - high) / footprint + 0.5, 0, 1)


def stripes(
    x: Values, period: Values | float, low: float, high: float, footprint: Values
) -> Values:
    """Coverage by [low, high] (shares of a period) repeated; its mean where unresolved."""
    period = np.asarray(period, np.float32)
    cell = x - np.floor(x / period) * period
    sharp = box(cell, low * period, high * period, footprint)
    weight = fade(period / 2, footprint)
    return (high - low) + weight * (sharp - (high - low))


def mix(a: Colour, b: Colour | tuple[float, float, float], share: Values) -> Colour:
    """a where share is 0, b where it is 1."""
    return a + share[:, None] * (np.asarray(b, np.float32) - a)
