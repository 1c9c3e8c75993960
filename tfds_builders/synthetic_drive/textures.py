"""Colours of surfaces, as functions of coordinates fixed to them."""

from collections.abc import Callable

import numpy as np

from tfds_builders.synthetic_drive.noise import (
    Colour,
    Lattice,
    Octave,
    Surface,
    Values,
    box,
    fade,
    fractal,
    mix,
    random_cells,
    stripes,
)
from tfds_builders.synthetic_drive.objects import STOREY
from tfds_builders.synthetic_drive.scene import LaneMarking, Material


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
_FINE: tuple[Octave, ...] = (
    (0.04, 0.04, 0.15),
    (0.12, 0.12, 0.18),
    (0.4, 0.35, 0.18),
    (1.2, 1, 0.15),
)


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
    """A wall with ledges, rows of windows and, on the ground floor, doors."""
    colour = _scaled(s.colour, fractal(lattice, s, _WALL))
    if has_bricks:
        colour = _scaled(colour, _bricks(lattice, s))
    ledge = stripes(s.v, STOREY, 0.0, 0.07, s.footprint_v)
    colour = mix(colour, (0.74, 0.71, 0.66), 0.6 * ledge)
    resolved = fade(0.7, s.footprint_u) * fade(0.8, s.footprint_v)
    opening, frame, filling = _windows(lattice, s, resolved)
    colour = mix(colour, (0.82, 0.81, 0.78), frame * resolved)
    return mix(colour, filling, opening * (0.4 + 0.6 * resolved))


def _windows(lattice: Lattice, s: Surface, resolved: Values) -> tuple[Values, Values, Colour]:
    """Coverage of a wall by windows and doors, by these with their frames, and their colour."""
    wanted = 2.0 + 1.6 * np.modf(s.phase * 7.31)[0]
    pitch = 2 * s.half_width / np.maximum(np.floor(2 * s.half_width / wanted), 1)
    column, row = np.floor((s.u + s.half_width) / pitch), np.floor(s.v / STOREY)
    at_u, at_v = s.u + s.half_width - (column + 0.5) * pitch, s.v - row * STOREY
    chance = random_cells(lattice, column, row, s.phase)
    is_door = (row == 0) & (chance > 0.45)
    half = np.where(is_door, 0.55, 0.24 * pitch + 0.08)
    low, high = np.where(is_door, 0.0, 0.85), np.where(is_door, 2.2, 2.45)
    is_storey = ((row + 1) * STOREY <= s.height + 0.1) & (s.height > STOREY)

    def coverage(margin: float) -> Values:
        across = box(at_u, -half - margin, half + margin, s.footprint_u)
        return across * box(at_v, low - margin, high + margin, s.footprint_v) * is_storey

    chance = chance * resolved
    pane = 0.20 + 0.16 * chance + 0.12 * (at_v - low) + 0.5 * fractal(lattice, s, _FINE, 11)
    glazing = np.stack([0.85 * pane, 0.95 * pane, 1.1 * pane], axis=-1)
    cross = box(at_u, -0.04, 0.04, s.footprint_u)
    glazing = mix(glazing, (0.8, 0.8, 0.78), cross)
    wood = 0.30 + 0.15 * np.stack([chance, np.modf(s.phase * 3.3)[0], -chance], axis=-1)
    return coverage(0.0), coverage(0.14), np.where(is_door[:, None], wood, glazing)


def _bricks(lattice: Lattice, s: Surface) -> Values:
    course, length = 0.2, 0.5
    row = np.floor(s.v / course)
    u = s.u + 0.5 * length * np.modf(row / 2)[0] * 2
    joint = stripes(s.v, course, 0.0, 0.13, s.footprint_v)
    joint = np.maximum(joint, stripes(u, length, 0.0, 0.05, s.footprint_u))
    shade = random_cells(lattice, np.floor(u / length), row, s.phase)
    resolved = fade(course / 2, s.footprint_v) * fade(length / 2, s.footprint_u)
    return 0.25 * joint + 0.22 * shade * resolved


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
