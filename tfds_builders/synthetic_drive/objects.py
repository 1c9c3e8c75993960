"""Draws the things that stand along a street, each assembled from a few solids."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from tfds_builders.synthetic_drive import scene as sc
from tfds_builders.synthetic_drive.scene import Material, Solid

Point = tuple[float, float, float]

STOREY = 3.0
"""Height of one storey, metres."""

_FACADES = (
    (0.62, 0.34, 0.25),
    (0.70, 0.46, 0.33),
    (0.52, 0.30, 0.24),
    (0.78, 0.70, 0.55),
    (0.80, 0.78, 0.74),
    (0.66, 0.58, 0.46),
    (0.74, 0.62, 0.42),
    (0.55, 0.58, 0.62),
    (0.60, 0.66, 0.58),
)
_ROOFS = ((0.45, 0.22, 0.16), (0.34, 0.28, 0.26), (0.30, 0.33, 0.37), (0.50, 0.32, 0.22))
_PAINTS = (
    (0.82, 0.82, 0.83),
    (0.60, 0.62, 0.65),
    (0.16, 0.17, 0.19),
    (0.66, 0.12, 0.10),
    (0.13, 0.24, 0.50),
    (0.30, 0.36, 0.30),
    (0.75, 0.62, 0.28),
    (0.34, 0.36, 0.40),
)


def _all(material: Material) -> tuple[Material, Material, Material]:
    return material, material, material


def _pick(rng: np.random.Generator, colours: tuple[Point, ...], spread: float) -> Point:
    colour = np.array(colours[rng.integers(len(colours))])
    return tuple(np.clip(colour * rng.uniform(1 - spread, 1 + spread, 3), 0.03, 0.95))


def draw_house(
    rng: np.random.Generator,
    *,
    base: Point,
    sizes: tuple[float, float],
    storeys: tuple[int, int],
    is_town: bool,
) -> Iterator[Solid]:
    """A body with a roof; town houses are mostly flat-topped, others gabled with a chimney.

    Args:
        rng: source of all randomness.
        base: centre of the base.
        sizes: extent along x and along z, metres.
        storeys: smallest and largest number of storeys.
        is_town: chooses between the two kinds.
    """
    half_x, half_z = sizes[0] / 2, sizes[1] / 2
    height = STOREY * int(rng.integers(storeys[0], storeys[1] + 1)) + 0.6
    facade = Material.BRICK if rng.random() < 0.55 else Material.PLASTER
    wall = Solid(
        base=base,
        half_x=half_x,
        height=height,
        half_z=half_z,
        materials=(facade, facade, Material.CONCRETE),
        label=sc.BUILDING,
        colour=_pick(rng, _FACADES, 0.12),
        phase=rng.random(),
    )
    yield wall
    top = dataclasses.replace(
        wall,
        base=(base[0], base[1] - height, base[2]),
        materials=_all(Material.ROOF),
        colour=_pick(rng, _ROOFS, 0.1),
        phase=rng.random(),
    )
    if is_town and rng.random() < 0.7:
        yield dataclasses.replace(
            top, half_x=half_x + 0.25, half_z=half_z + 0.02, height=rng.uniform(0.3, 0.7)
        )
    else:
        yield from _gabled_roof(rng, top, is_town=is_town)


def _gabled_roof(rng: np.random.Generator, top: Solid, *, is_town: bool) -> Iterator[Solid]:
    rise, overhang = rng.uniform(2.0, 4.0), 0.0 if is_town else 0.35
    half_x, half_z = top.half_x + overhang, top.half_z + overhang
    roof = dataclasses.replace(top, half_x=half_x, half_z=half_z, height=rise)
    tiles, gable = Material.ROOF, Material.CONCRETE
    if is_town or rng.random() < 0.6:
        yield dataclasses.replace(roof, lean_x=half_x / rise, materials=(tiles, gable, tiles))
    else:
        yield dataclasses.replace(roof, lean_z=half_z / rise, materials=(gable, tiles, tiles))
    x, y, z = top.base
    yield dataclasses.replace(
        top,
        base=(x + rng.uniform(-1, 1), y, z + rng.uniform(-2, 2)),
        half_x=0.4,
        half_z=0.45,
        height=rise + 0.9,
        materials=(Material.BRICK, Material.BRICK, Material.CONCRETE),
    )


def draw_hill(rng: np.random.Generator, *, base: Point) -> Solid:
    """A distant wooded hill, broad and rounded."""
    return Solid(
        base=(base[0], 40.0, base[2]),
        half_x=rng.uniform(60, 160),
        height=40 + rng.uniform(40, 62),
        half_z=60.0,
        is_ellipsoid=True,
        materials=_all(Material.LEAVES),
        label=sc.TERRAIN,
        colour=tuple(np.array([0.30, 0.39, 0.28]) * rng.uniform(0.85, 1.15, 3)),
        phase=rng.random(),
    )


def draw_tree(rng: np.random.Generator, *, base: Point, scale: float) -> Iterator[Solid]:
    """A trunk under two or three overlapping crowns."""
    x, y, z = base
    trunk = scale * rng.uniform(2.3, 3.0)
    radius = scale * rng.uniform(0.12, 0.22)
    yield Solid(
        base=base,
        half_x=radius,
        height=trunk + 1.0,
        half_z=radius,
        yaw=rng.uniform(0, 1.5),
        materials=_all(Material.BARK),
        label=sc.VEGETATION,
        colour=(0.33, 0.25, 0.18),
        phase=rng.random(),
    )
    colour = tuple(np.array([0.22, 0.36, 0.12]) * rng.uniform(0.75, 1.3, 3))
    for i in range(int(rng.integers(2, 4))):
        half = scale * rng.uniform(1.2, 2.0) * (1 - 0.15 * i)
        aside = rng.uniform(-0.6, 0.6, 2) * scale
        yield Solid(
            base=(x + aside[0], y - trunk - i * scale * rng.uniform(0.5, 1.0), z + aside[1]),
            half_x=half,
            height=scale * rng.uniform(2.0, 3.0),
            half_z=half * rng.uniform(0.85, 1.15),
            yaw=rng.uniform(0, 1.5),
            is_ellipsoid=True,
            materials=_all(Material.LEAVES),
            label=sc.VEGETATION,
            colour=colour,
            phase=rng.random(),
        )


def draw_hedge(
    rng: np.random.Generator, *, x: float, y: float, start: float, end: float
) -> Iterator[Solid]:
    """Hedges or low walls along the pavement, with gaps."""
    is_wall, height = rng.random() < 0.35, rng.uniform(0.7, 1.7)
    grown = (_all(Material.LEAVES), sc.VEGETATION, (0.20, 0.33, 0.12))
    built = ((Material.BRICK, Material.BRICK, Material.CONCRETE), sc.BUILDING, (0.6, 0.5, 0.42))
    materials, label, colour = built if is_wall else grown
    z = rng.uniform(start, start + 6)
    while z < end:
        length = rng.uniform(5, 18)
        yield Solid(
            base=(x, y, z + length / 2),
            half_x=0.15 if is_wall else 0.45,
            height=height,
            half_z=length / 2,
            materials=materials,
            label=label,
            colour=colour,
            phase=rng.random(),
        )
        z += length + rng.uniform(1.5, 8)


def draw_lamp(
    rng: np.random.Generator, *, base: Point, height: float, sign: int
) -> Iterator[Solid]:
    """A street lamp whose arm reaches over the road; some carry a traffic sign."""
    x, y, z = base
    post = Solid(
        base=base,
        half_x=0.075,
        height=height,
        half_z=0.075,
        materials=_all(Material.METAL),
        label=sc.POLE,
        colour=(0.42, 0.45, 0.44),
        phase=rng.random(),
    )
    yield post
    yield dataclasses.replace(
        post, base=(x - 0.6 * sign, y - height, z), half_x=0.8, height=0.14, half_z=0.12
    )
    if rng.random() < 0.4:
        yield dataclasses.replace(
            post,
            base=(x, y - 2.1, z - 0.1),
            half_x=0.32,
            height=0.64,
            half_z=0.015,
            colour=((0.75, 0.15, 0.12), (0.15, 0.3, 0.65))[int(rng.integers(2))],
        )


def draw_car(
    rng: np.random.Generator, *, base: Point, yaw: float, velocity_z: float = 0.0
) -> Iterator[Solid]:
    """A body, a glazed cabin and four wheels; one in four is a van. Its front is local +z."""
    is_van = rng.random() < 0.25
    half_z = rng.uniform(2.3, 2.6) if is_van else rng.uniform(1.85, 2.25)
    half_x, clearance = rng.uniform(0.84, 0.92), 0.28
    belt = rng.uniform(1.0, 1.2) if is_van else rng.uniform(0.55, 0.65)
    cabin = rng.uniform(0.7, 0.9) if is_van else rng.uniform(0.5, 0.62)
    body = Solid(
        base=_beside(base, yaw, above=clearance),
        half_x=half_x,
        height=belt,
        half_z=half_z,
        lean_x=0.06,
        lean_z=0.1,
        yaw=yaw,
        materials=_all(Material.PAINT),
        label=sc.CAR,
        colour=_pick(rng, _PAINTS, 0.1),
        phase=rng.random(),
        velocity_z=velocity_z,
        casts_shade=True,
    )
    yield body
    yield dataclasses.replace(
        body,
        base=_beside(base, yaw, above=clearance + belt, ahead=0.0 if is_van else -0.25),
        half_x=half_x - 0.07,
        height=cabin,
        half_z=half_z - 0.15 if is_van else half_z * 0.62,
        lean_x=0.22,
        lean_z=0.35 if is_van else 0.75,
        materials=(Material.GLASS, Material.GLASS, Material.PAINT),
        casts_shade=False,
    )
    yield from _wheels(body, base)


def _wheels(body: Solid, base: Point) -> Iterator[Solid]:
    for aside in (-body.half_x + 0.06, body.half_x - 0.06):
        for ahead in (-body.half_z * 0.62, body.half_z * 0.62):
            yield dataclasses.replace(
                body,
                base=_beside(base, body.yaw, aside=aside, ahead=ahead),
                half_x=0.12,
                height=0.64,
                half_z=0.32,
                lean_x=0.0,
                lean_z=0.0,
                is_ellipsoid=True,
                materials=_all(Material.RUBBER),
                colour=(0.07, 0.07, 0.075),
                casts_shade=False,
            )


def _beside(
    base: Point, yaw: float, *, aside: float = 0.0, above: float = 0.0, ahead: float = 0.0
) -> Point:
    """A point given in a car's own axes."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y, z = base
    return (x + cos * aside + sin * ahead, y - above, z - sin * aside + cos * ahead)
