"""Draws a street from its seed.

Each purpose has its own random stream, so that, say, removing the moving cars leaves the houses
where they were.
"""

from collections.abc import Iterator

import numpy as np

from tfds_builders.synthetic_drive import drive, objects
from tfds_builders.synthetic_drive.layout import Layout, draw_ground, draw_layout, lane_markings
from tfds_builders.synthetic_drive.scene import Light, Solid, Street

VIEW = 30.0, 170.0
"""The street ends this far (drawn between the two) behind the last camera, metres."""

_START = -12.0
"""Things stand from here on along z, metres."""

_BEHIND = 60.0
"""An all-round street starts so much earlier."""


def make_street(
    seed: int, *, num_frames: int, moving_cars: bool = True, all_round: bool = False
) -> Street:
    """Draws one street and the drive along it; the same arguments give the same street.

    Args:
        seed: any non-negative integer; streets of different seeds have nothing in common.
        num_frames: length of the drive.
        moving_cars: whether other cars drive; parked ones stay in either case.
        all_round: whether the street goes on behind the first pose, for cameras that look there;
            poses are then those of a level car. Its other things stand elsewhere, too.
    """
    layout = draw_layout(_rng(seed, "layout"))
    path = drive.draw_drive(
        _rng(seed, "drive"),
        num_frames=num_frames,
        lane_x=layout.lane_x,
        speed=layout.speed,
        is_level=all_round,
    )
    start = _START - (_BEHIND if all_round else 0.0)
    end = path[-1, 2, 3] + _rng(seed, "end").uniform(*VIEW)
    solids = [
        *_houses(_rng(seed, "houses"), layout, start, end),
        *_end_of_street(_rng(seed, "end of street"), end),
        *_greenery(_rng(seed, "greenery"), layout, start, end),
        *_poles(_rng(seed, "poles"), layout, start, end),
        *_parked_cars(_rng(seed, "parked cars"), layout, start, end),
    ]
    if all_round:
        solids += _end_of_street(_rng(seed, "start of street"), start, towards=-1)
    if moving_cars:
        solids += _moving_cars(_rng(seed, "moving cars"), layout, end, num_frames)
    return Street(
        seed=seed,
        ground=draw_ground(_rng(seed, "ground"), layout),
        solids=tuple(solids),
        markings=lane_markings(layout),
        light=_light(_rng(seed, "light")),
        world_T_camera=path,
        all_round=all_round,
    )


def _rng(seed: int, purpose: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, *purpose.encode()]))


def _houses(rng: np.random.Generator, layout: Layout, start: float, end: float) -> Iterator[Solid]:
    for side in layout.sides:
        if side.style == "open":
            continue
        z = start + rng.uniform(-8, 0)
        while z < end:
            is_town = side.style == "town"
            width = rng.uniform(8, 24) if is_town else rng.uniform(8, 15)
            depth = rng.uniform(9, 14)
            front = side.front + side.set_back + rng.uniform(0, 0.6 if is_town else 4.0)
            x = side.sign * (front + depth / 2)
            base = (x, side.ground_y(front), z + width / 2)
            yield from objects.draw_house(
                rng, base=base, sizes=(depth, width), storeys=side.storeys, is_town=is_town
            )
            has_gap = rng.random() < (0.25 if is_town else 1.0)
            z += width + (rng.uniform(2, 9) if has_gap else 0.0)


def _end_of_street(rng: np.random.Generator, end: float, towards: int = 1) -> Iterator[Solid]:
    """Houses across the end of most streets; hills behind all of them; `towards` -1 is back."""
    if rng.random() < 0.65:
        x = -70.0
        while x < 70:
            width = rng.uniform(10, 24)
            base = (x + width / 2, 0.0, end + towards * 8)
            yield from objects.draw_house(
                rng, base=base, sizes=(width, 12.0), storeys=(2, 6), is_town=True
            )
            x += width + (rng.uniform(3, 14) if rng.random() < 0.4 else 0.0)
    for x in np.linspace(-420, 420, 9):
        base = (x + rng.uniform(-40, 40), 0.5, end + towards * rng.uniform(260, 500))
        yield objects.draw_hill(rng, base=base)


def _greenery(
    rng: np.random.Generator, layout: Layout, start: float, end: float
) -> Iterator[Solid]:
    length = end - (start - _START)
    for side in layout.sides:
        has_alley = rng.random() < 0.65
        spacing = rng.uniform(6, 18)
        distance = side.kerb_x + (side.verge / 2 if side.verge else side.pavement - 0.5)
        z = start + rng.uniform(0, spacing)
        while has_alley and z < end:
            where = (side.sign * distance, side.ground_y(distance), z + rng.uniform(-1, 1))
            yield from objects.draw_tree(rng, base=where, scale=0.85)
            z += spacing
        if side.style == "town":
            continue
        if rng.random() < 0.6:
            yield from objects.draw_hedge(
                rng,
                x=side.sign * (side.front + 0.5),
                y=side.ground_y(side.front),
                start=start,
                end=end,
            )
        for _ in range(int(length / rng.uniform(9, 30)) if side.style == "open" else 0):
            distance, z = side.front + rng.uniform(2.5, 30), rng.uniform(start, end)
            where = (side.sign * distance, side.ground_y(distance), z)
            yield from objects.draw_tree(rng, base=where, scale=rng.uniform(0.9, 1.6))


def _poles(rng: np.random.Generator, layout: Layout, start: float, end: float) -> Iterator[Solid]:
    for side in layout.sides:
        if rng.random() < 0.35:
            continue
        spacing, height = rng.uniform(16, 34), rng.uniform(5, 8)
        z = start + rng.uniform(0, spacing)
        while z < end:
            distance = side.kerb_x + 0.35
            where = (side.sign * distance, side.ground_y(distance), z)
            yield from objects.draw_lamp(rng, base=where, height=height, sign=side.sign)
            z += spacing


def _parked_cars(
    rng: np.random.Generator, layout: Layout, start: float, end: float
) -> Iterator[Solid]:
    for side in layout.sides:
        z = start + rng.uniform(0, 5)
        while side.parking and z < end - 6:
            if rng.random() < side.occupancy:
                where = (side.sign * (side.lane + 1.12 + rng.uniform(-0.08, 0.12)), 0.0, z)
                turned = np.pi if rng.random() < 0.3 else 0.0
                yield from objects.draw_car(rng, base=where, yaw=turned + rng.normal(0, 0.02))
            z += rng.uniform(5.2, 7.5)


def _moving_cars(
    rng: np.random.Generator, layout: Layout, end: float, num_frames: int
) -> Iterator[Solid]:
    oncoming_speed, gap = rng.uniform(0.4, 1.2), rng.uniform(12, 70)
    z = rng.uniform(8, 8 + gap)
    while layout.is_two_way and z < end - 8:
        where = (-layout.left.lane / 2 - 0.1 + rng.uniform(-0.15, 0.1), 0.0, z)
        yield from objects.draw_car(rng, base=where, yaw=np.pi, velocity_z=-oncoming_speed)
        z += gap * rng.uniform(0.7, 1.6)
    if rng.random() < 0.35:
        z = rng.uniform(9, 24)
        fastest = (end - 6 - z) / num_frames
        speed = min(layout.speed * rng.uniform(1.1, 1.5), fastest)
        where = (layout.lane_x + rng.uniform(-0.3, 0.3), 0.0, z)
        yield from objects.draw_car(rng, base=where, yaw=0.0, velocity_z=speed)


def _light(rng: np.random.Generator) -> Light:
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(25, 65))
    flat = np.cos(elevation)
    sun = (flat * np.sin(azimuth), -np.sin(elevation), flat * np.cos(azimuth))
    diffuse = rng.uniform(0.45, 0.95)
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3)
    grey = rng.uniform(0, 1)
    clear_low, clear_high = np.array([0.76, 0.85, 0.93]), np.array([0.36, 0.56, 0.86])
    dull_low, dull_high = np.array([0.80, 0.82, 0.83]), np.array([0.62, 0.66, 0.71])
    return Light(
        sun=tuple(sun),
        ambient=1.12 - 0.6 * diffuse,
        diffuse=diffuse,
        gain=tuple(gain),
        sky_low=tuple(clear_low + grey * (dull_low - clear_low)),
        sky_high=tuple(clear_high + grey * (dull_high - clear_high)),
        cloudiness=rng.uniform(0.15, 0.9),
    )
