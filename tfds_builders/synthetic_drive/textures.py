"""Colours of surfaces, as functions of coordinates fixed to them.

Every pattern is band-limited: a detail fades to its mean as its size falls below what a pixel
covers, so that images taken from different distances agree and nothing flickers.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from tfds_builders.synthetic_drive.objects import STOREY
from tfds_builders.synthetic_drive.scene import LaneMarking, Material

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


def _scaled(colour: Colour, *factors: Values) -> Colour:
    out = colour
    for factor in factors:
        out = out * (1 + factor)[:, None]
    return out


_ASPHALT: tuple[Octave, ...] = (
    (0.05, 0.05, 0.25),
    (0.09, 0.4, 0.25),
    (0.22, 0.22, 0.22),
    (0.25, 1.6, 0.22),
    (0.7, 0.7, 0.20),
    (0.6, 5.0, 0.20),
    (1.1, 16.0, 0.16),
    (2.1, 2.1, 0.18),
    (5.0, 6.0, 0.14),
    (2.0, 40.0, 0.10),
)
_PATCHES: tuple[Octave, ...] = ((1.3, 2.6, 0.8), (0.8, 9.0, 0.6))
_GRASS: tuple[Octave, ...] = (
    (0.06, 0.08, 0.35),
    (0.2, 0.25, 0.35),
    (0.3, 1.5, 0.25),
    (0.7, 0.8, 0.30),
    (1.2, 5.0, 0.22),
    (2.5, 3.0, 0.25),
    (7.0, 9.0, 0.25),
    (6.0, 40.0, 0.15),
    (30.0, 45.0, 0.2),
)
_WALL: tuple[Octave, ...] = (
    (0.07, 0.07, 0.14),
    (0.2, 0.2, 0.14),
    (0.5, 0.6, 0.14),
    (1.3, 1.5, 0.14),
    (3.5, 3.0, 0.14),
    (0.4, 4.0, 0.10),
)
_LEAVES: tuple[Octave, ...] = (
    (0.07, 0.07, 0.35),
    (0.18, 0.18, 0.40),
    (0.45, 0.45, 0.40),
    (1.1, 1.1, 0.30),
    (3.0, 3.0, 0.2),
    (9.0, 9.0, 0.25),
    (25.0, 22.0, 0.25),
)
_FINE: tuple[Octave, ...] = ((0.04, 0.04, 0.15), (0.12, 0.12, 0.18), (0.4, 0.35, 0.18), (1.2, 1, 0.15))


def asphalt(lattice: Lattice, s: Surface, markings: tuple[LaneMarking, ...]) -> Colour:
    """Worn asphalt, streaked along the road, with mended patches, seams and lane markings."""
    patch = np.clip(4 * fractal(lattice, s, _PATCHES, 91) - 1.2, 0, 1)
    seam = stripes(s.v + 3 * s.phase, 11.0, 0.0, 0.016, s.footprint_v)
    colour = _scaled(s.colour, fractal(lattice, s, _ASPHALT), -0.3 * patch, -0.4 * seam)
    for line in markings:
        across = box(s.u, line.x - line.half_width, line.x + line.half_width, s.footprint_u)
        along = stripes(s.v, line.period, 0.0, line.dash / line.period, s.footprint_v)
        wear = 0.8 + fractal(lattice, s, _FINE, 40)
        colour = mix(colour, (0.86, 0.86, 0.83), np.clip(across * along * wear, 0, 1))
    return colour


def paving(lattice: Lattice, s: Surface) -> Colour:
    """Slabs of slightly different greys between dark joints."""
    size_u, size_v = 0.75, 1.0
    joint = stripes(s.u, size_u, 0.0, 0.05, s.footprint_u)
    joint = np.maximum(joint, stripes(s.v, size_v, 0.0, 0.04, s.footprint_v))
    shade = random_cells(lattice, np.floor(s.u / size_u), np.floor(s.v / size_v), s.phase)
    shade = shade * fade(size_u / 2, s.footprint_u) * fade(size_v / 2, s.footprint_v)
    return _scaled(s.colour, 0.16 * shade, -0.4 * joint, 0.8 * fractal(lattice, s, _ASPHALT))


def concrete(lattice: Lattice, s: Surface) -> Colour:
    """Kerb stones, flat roofs."""
    joint = stripes(s.u, 1.0, 0.0, 0.05, s.footprint_u)
    return _scaled(s.colour, fractal(lattice, s, _WALL), -0.35 * joint)


def grass(lattice: Lattice, s: Surface) -> Colour:
    """Grass from lush to dry."""
    dryness = np.clip(0.35 + fractal(lattice, s, _PATCHES + _GRASS[5:], 57), 0, 1)
    colour = mix(s.colour, (0.50, 0.45, 0.24), 0.6 * dryness)
    return _scaled(colour, fractal(lattice, s, _GRASS))


def facade(lattice: Lattice, s: Surface, *, has_bricks: bool) -> Colour:
    """A wall with ledges and rows of windows; doors and shop windows on the ground floor."""
    colour = _scaled(s.colour, fractal(lattice, s, _WALL))
    if has_bricks:
        colour = _scaled(colour, _bricks(lattice, s))
    ledge = stripes(s.v, STOREY, 0.0, 0.07, s.footprint_v)
    colour = mix(colour, (0.74, 0.71, 0.66), 0.6 * ledge)

    pitch = 2.0 + 1.6 * np.modf(s.phase * 7.31)[0]
    count = np.maximum(np.floor(2 * s.half_width / pitch), 1)
    pitch = 2 * s.half_width / count
    column, row = np.floor((s.u + s.half_width) / pitch), np.floor(s.v / STOREY)
    at_u = (s.u + s.half_width) - column * pitch
    at_v = s.v - row * STOREY
    chance = random_cells(lattice, column, row, s.phase)
    is_ground, is_below_roof = row == 0, (row + 1) * STOREY <= s.height + 0.1
    is_door = is_ground & (chance > 0.45)

    half = np.where(is_door, 0.55, 0.24 * pitch + 0.08)
    low, high = np.where(is_door, 0.0, 0.85), np.where(is_door, 2.2, 2.45)
    resolved = fade(0.7, s.footprint_u) * fade(0.8, s.footprint_v)

    def opening(margin: float) -> Values:
        inside = box(at_u, pitch / 2 - half - margin, pitch / 2 + half + margin, s.footprint_u)
        inside = inside * box(at_v, low - margin, high + margin, s.footprint_v)
        return inside * is_below_roof * (s.height > 2.9)

    pane = 0.20 + 0.16 * chance + 0.12 * (at_v - low) + 0.5 * fractal(lattice, s, _FINE, 11)
    tint = np.stack([0.85 * pane, 0.95 * pane, 1.1 * pane], axis=-1)
    wood = 0.30 + 0.15 * np.stack([chance, np.modf(s.phase * 3.3)[0], -chance], axis=-1)
    filling = np.where(is_door[:, None], wood, tint).astype(np.float32)
    cross = box(at_u, pitch / 2 - 0.04, pitch / 2 + 0.04, s.footprint_u) * ~is_door
    filling = mix(filling, (0.8, 0.8, 0.78), cross)
    colour = mix(colour, (0.82, 0.81, 0.78), opening(0.14) * resolved)
    return mix(colour, filling, opening(0.0) * (0.4 + 0.6 * resolved))


def _bricks(lattice: Lattice, s: Surface) -> Values:
    course, length = 0.2, 0.5
    row = np.floor(s.v / course)
    u = s.u + 0.5 * length * np.modf(row / 2)[0] * 2
    joint = stripes(s.v, course, 0.0, 0.13, s.footprint_v)
    joint = np.maximum(joint, stripes(u, length, 0.0, 0.05, s.footprint_u))
    shade = random_cells(lattice, np.floor(u / length), row, s.phase)
    return 0.25 * joint + 0.22 * shade * fade(course / 2, s.footprint_v)


def roof(lattice: Lattice, s: Surface) -> Colour:
    """Rows of tiles."""
    rows = stripes(s.v, 0.35, 0.0, 0.3, s.footprint_v)
    return _scaled(s.colour, -0.3 * rows, fractal(lattice, s, _WALL))


def paint(lattice: Lattice, s: Surface) -> Colour:
    """Car bodies: sills, door gaps and handles on the sides; lamps and plates at the ends."""
    shine = 0.35 * (s.v / np.maximum(s.height, 0.1) - 0.5)
    colour = _scaled(s.colour, shine, 0.8 * fractal(lattice, s, _FINE))
    side = 1 - s.is_end
    gaps = box(s.u, -0.02, 0.02, s.footprint_u) + box(s.u, 1.0, 1.04, s.footprint_u)
    gaps = gaps + box(s.u, -0.95, -0.91, s.footprint_u)
    sill = box(s.v, -0.2, 0.12, s.footprint_v)
    colour = mix(colour, (0.05, 0.05, 0.06), np.clip(side * gaps + 0.8 * sill, 0, 1))
    at_lamps = box(np.abs(s.u), s.half_width - 0.36, s.half_width - 0.05, s.footprint_u)
    at_lamps = at_lamps * box(s.v, 0.3, 0.48, s.footprint_v) * s.is_end
    is_front = (s.front > 0)[:, None]
    lamps = np.where(is_front, (0.95, 0.95, 0.88), (0.75, 0.06, 0.05)).astype(np.float32)
    colour = mix(colour, lamps, at_lamps)
    plate = box(s.u, -0.26, 0.26, s.footprint_u) * box(s.v, 0.2, 0.32, s.footprint_v) * s.is_end
    return mix(colour, (0.9, 0.88, 0.75), plate)


def glass(lattice: Lattice, s: Surface) -> Colour:
    """Car windows between painted pillars, with a fixed pattern instead of reflections."""
    pane = 0.14 + 0.18 * s.v + 0.35 * fractal(lattice, s, _FINE, 5)
    colour = np.stack([0.9 * pane, pane, 1.1 * pane], axis=-1)
    edge = s.half_width - 0.12 - 0.5 * s.v * (1 - s.is_end)
    inside = box(s.u, -edge, edge, s.footprint_u) * box(s.v, 0.05, s.height - 0.06, s.footprint_v)
    pillar = box(s.u, -0.18, -0.08, s.footprint_u) * (1 - s.is_end)
    return mix(_scaled(s.colour, 0.5 * fractal(lattice, s, _FINE)), colour, inside * (1 - pillar))


def rubber(lattice: Lattice, s: Surface) -> Colour:
    """A wheel: a bright hub in a dark tyre."""
    radius = np.sqrt(s.u**2 + (s.v - s.height / 2) ** 2)
    hub = box(radius, -0.2, 0.2, s.footprint_u)
    spokes = 0.45 + fractal(lattice, s, _FINE)
    return mix(s.colour, np.repeat(spokes[:, None], 3, 1), hub)


def bark(lattice: Lattice, s: Surface) -> Colour:
    """Upright furrows."""
    furrows: tuple[Octave, ...] = ((0.04, 0.3, 0.35), (0.1, 0.8, 0.3), (0.3, 0.5, 0.25))
    return _scaled(s.colour, fractal(lattice, s, furrows))


def leaves(lattice: Lattice, s: Surface) -> Colour:
    """Foliage: noise that fills space, from two crossed projections."""
    turned = s._replace(u=s.w, v=s.v + 0.31 * s.u, phase=s.phase + 0.5)
    light = fractal(lattice, s, _LEAVES) + fractal(lattice, turned, _LEAVES)
    return _scaled(s.colour, np.maximum(0.75 * light, -0.85))


def metal(lattice: Lattice, s: Surface) -> Colour:
    """Lamp posts and signs."""
    bands: tuple[Octave, ...] = ((0.1, 0.25, 0.2), (0.3, 0.9, 0.2))
    return _scaled(s.colour, fractal(lattice, s, bands))


Texture = Callable[[Lattice, Surface], Colour]

TEXTURES: dict[Material, Texture] = {
    Material.PAVING: paving,
    Material.CONCRETE: concrete,
    Material.GRASS: grass,
    Material.BRICK: lambda lattice, s: facade(lattice, s, has_bricks=True),
    Material.PLASTER: lambda lattice, s: facade(lattice, s, has_bricks=False),
    Material.ROOF: roof,
    Material.PAINT: paint,
    Material.GLASS: glass,
    Material.RUBBER: rubber,
    Material.BARK: bark,
    Material.LEAVES: leaves,
    Material.METAL: metal,
}
"""Every texture that needs nothing but its surface; asphalt also needs the lane markings."""
