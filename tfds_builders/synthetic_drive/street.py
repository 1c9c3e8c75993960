"""Draws a street from its seed.

Each purpose has its own random stream, so that, say, removing the moving cars leaves the houses
where they were.
"""

import dataclasses
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from tfds_builders.synthetic_drive import drive, objects
from tfds_builders.synthetic_drive import scene as sc
from tfds_builders.synthetic_drive.scene import GroundStrip, LaneMarking, Light, Solid, Street

VIEW = 30.0, 170.0
"""The street ends this far (drawn between the two) behind the last camera, metres."""

_START = -12.0
_FAR = 3000.0


def make_street(seed: int, *, num_frames: int, moving_cars: bool = True) -> Street:
    """Draws one street and the drive along it; the same arguments give the same street.

    Args:
        seed: any non-negative integer; streets of different seeds have nothing in common.
        num_frames: length of the drive.
        moving_cars: whether other cars drive; parked ones stay in either case.
    """
    layout = _draw_layout(_rng(seed, "layout"))
    path = drive.draw_drive(
        _rng(seed, "drive"), num_frames=num_frames, lane_x=layout.lane_x, speed=layout.speed
    )
    end = path[-1, 2, 3] + _rng(seed, "end").uniform(*VIEW)
    solids = [
        *_houses(_rng(seed, "houses"), layout, end),
        *_end_of_street(_rng(seed, "end of street"), end),
        *_greenery(_rng(seed, "greenery"), layout, end),
        *_poles(_rng(seed, "poles"), layout, end),
        *_parked_cars(_rng(seed, "parked cars"), layout, end),
    ]
    if moving_cars:
        solids += _moving_cars(_rng(seed, "moving cars"), layout, end, num_frames)
    return Street(
        seed=seed,
        ground=_ground(_rng(seed, "ground"), layout),
        solids=tuple(solids),
        markings=_markings(layout),
        light=_light(_rng(seed, "light")),
        world_T_camera=path,
    )




def _rng(seed: int, purpose: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, *purpose.encode()]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Side:
    """What lies between the middle of the road and the houses on one side; widths in metres."""

    sign: int
    """+1 for the right side, -1 for the left."""

    lane: float
    parking: float
    occupancy: float
    """Share of the parking places that are taken."""

    verge: float
    pavement: float
    set_back: float
    bank_rise: float
    """How far the ground rises behind the pavement."""

    bank_width: float
    kerb: float
    style: str
    """'town', 'suburb' or 'open'."""

    storeys: tuple[int, int]

    @property
    def kerb_x(self) -> float:
        """Distance of the kerb from the middle of the road."""
        return self.lane + self.parking

    @property
    def front(self) -> float:
        """Distance of the outer edge of the pavement from the middle of the road."""
        return self.kerb_x + self.verge + self.pavement

    def ground_y(self, distance: float) -> float:
        """Height (y, down) of the ground at a distance from the middle of the road."""
        if distance < self.kerb_x:
            return 0.0
        rise = np.clip((distance - self.front) / self.bank_width, 0, 1) * self.bank_rise
        return -self.kerb - float(rise)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Layout:
    left: _Side
    right: _Side
    is_two_way: bool
    speed: float

    @property
    def lane_x(self) -> float:
        return self.right.lane / 2 if self.is_two_way else 0.0

    @property
    def sides(self) -> tuple[_Side, _Side]:
        return self.left, self.right


def _draw_layout(rng: np.random.Generator) -> _Layout:
    is_two_way = bool(rng.random() < 0.65)
    lane = rng.uniform(2.8, 4.0) if is_two_way else rng.uniform(1.7, 2.4)
    style = str(rng.choice(["town", "suburb", "open"], p=[0.45, 0.3, 0.25]))
    return _Layout(
        left=_draw_side(rng, -1, lane, style),
        right=_draw_side(rng, 1, lane, style),
        is_two_way=is_two_way,
        speed=rng.uniform(0.5, 1.2),
    )


def _draw_side(rng: np.random.Generator, sign: int, lane: float, style: str) -> _Side:
    if rng.random() < 0.25:
        style = str(rng.choice(["town", "suburb", "open"]))
    lowest = int(rng.integers(2, 5)) if style == "town" else 1
    return _Side(
        sign=sign,
        lane=lane,
        parking=2.2 if rng.random() < 0.6 else 0.0,
        occupancy=rng.uniform(0.15, 0.95),
        verge=rng.uniform(1.0, 3.5) if rng.random() < 0.3 else 0.0,
        pavement=rng.uniform(0.8, 3.2),
        set_back={"town": rng.uniform(0, 1.5), "suburb": rng.uniform(2, 10), "open": 14.0}[style],
        bank_rise=rng.uniform(0.3, 5.0) if style == "open" else rng.uniform(0, 0.6),
        bank_width=rng.uniform(5, 20),
        kerb=rng.uniform(0.08, 0.18),
        style=style,
        storeys=(lowest, lowest + int(rng.integers(1, 4))),
    )


def _ground(rng: np.random.Generator, layout: _Layout) -> tuple[GroundStrip, ...]:
    asphalt = np.full(3, rng.uniform(0.26, 0.42)) * rng.uniform(0.95, 1.05, 3)
    paving = np.full(3, rng.uniform(0.45, 0.62)) * rng.uniform(0.93, 1.04, 3)
    grass = np.array([0.26, 0.40, 0.14]) * rng.uniform(0.8, 1.25, 3)
    surfaces = {
        "road": (sc.Material.ASPHALT, sc.ROAD, asphalt),
        "kerb": (sc.Material.CONCRETE, sc.SIDEWALK, paving * 1.15),
        "verge": (sc.Material.GRASS, sc.TERRAIN, grass),
        "pavement": (sc.Material.PAVING, sc.SIDEWALK, paving),
        "land": (sc.Material.GRASS, sc.TERRAIN, grass * rng.uniform(0.8, 1.2)),
    }

    def strip(name: str, start: tuple[float, float], end: tuple[float, float]) -> GroundStrip:
        material, label, colour = surfaces[name]
        return GroundStrip(
            start=start, end=end, material=material, label=label, colour=tuple(colour)
        )

    left, right = layout.sides
    strips = [strip("road", (-left.kerb_x, 0.0), (right.kerb_x, 0.0))]
    for side in layout.sides:
        bank_end = side.front + side.bank_width
        edges = [(side.kerb_x, 0.0), (side.kerb_x, -side.kerb)]
        distances = (side.kerb_x + side.verge, side.front, bank_end, _FAR)
        edges += [(x, side.ground_y(x)) for x in distances]
        names = ("kerb", "verge", "pavement", "land", "land")
        for name, (a, b) in zip(names, pairwise(edges), strict=True):
            if a == b:
                continue
            start, end = (side.sign * a[0], a[1]), (side.sign * b[0], b[1])
            strips.append(strip(name, *((start, end) if side.sign > 0 else (end, start))))
    return tuple(strips)


def _markings(layout: _Layout) -> tuple[LaneMarking, ...]:
    centre = LaneMarking(x=0.0, half_width=0.08, dash=3.0, period=7.5)
    edges = tuple(
        LaneMarking(x=side.sign * (side.lane - 0.05), half_width=0.06, dash=1.0, period=1.0)
        for side in layout.sides
    )
    return (centre, *edges) if layout.is_two_way else edges


def _houses(rng: np.random.Generator, layout: _Layout, end: float) -> Iterator[Solid]:
    for side in layout.sides:
        if side.style == "open":
            continue
        z = _START + rng.uniform(-8, 0)
        while z < end:
            is_town = side.style == "town"
            width = rng.uniform(8, 24) if is_town else rng.uniform(8, 15)
            depth = rng.uniform(9, 14)
            front = side.front + side.set_back + rng.uniform(0, 0.6 if is_town else 3.0)
            x = side.sign * (front + depth / 2)
            base = (x, side.ground_y(front), z + width / 2)
            yield from objects.draw_house(
                rng, base=base, sizes=(depth, width), storeys=side.storeys, is_town=is_town
            )
            has_gap = rng.random() < (0.25 if is_town else 1.0)
            z += width + (rng.uniform(2, 9) if has_gap else 0.0)


def _end_of_street(rng: np.random.Generator, end: float) -> Iterator[Solid]:
    """Houses across the end of most streets; hills behind all of them."""
    if rng.random() < 0.65:
        x = -70.0
        while x < 70:
            width = rng.uniform(10, 24)
            base = (x + width / 2, 0.0, end + 8)
            yield from objects.draw_house(
                rng, base=base, sizes=(width, 12.0), storeys=(2, 6), is_town=True
            )
            x += width + (rng.uniform(3, 14) if rng.random() < 0.4 else 0.0)
    for x in np.linspace(-420, 420, 9):
        base = (x + rng.uniform(-40, 40), 0.5, end + rng.uniform(260, 500))
        yield objects.draw_hill(rng, base=base)


def _greenery(rng: np.random.Generator, layout: _Layout, end: float) -> Iterator[Solid]:
    for side in layout.sides:
        has_alley = rng.random() < 0.5
        spacing = rng.uniform(7, 22)
        distance = side.kerb_x + (side.verge / 2 if side.verge else side.pavement - 0.5)
        z = _START + rng.uniform(0, spacing)
        while has_alley and z < end:
            where = (side.sign * distance, side.ground_y(distance), z + rng.uniform(-1, 1))
            yield from objects.draw_tree(rng, base=where, scale=0.85)
            z += spacing
        if side.style == "town":
            continue
        if rng.random() < 0.6:
            yield from objects.draw_hedge(
                rng, x=side.sign * (side.front + 0.5), y=side.ground_y(side.front), end=end
            )
        for _ in range(int(end / rng.uniform(9, 30)) if side.style == "open" else 0):
            distance, z = side.front + rng.uniform(2.5, 30), rng.uniform(_START, end)
            where = (side.sign * distance, side.ground_y(distance), z)
            yield from objects.draw_tree(rng, base=where, scale=rng.uniform(0.9, 1.6))


def _poles(rng: np.random.Generator, layout: _Layout, end: float) -> Iterator[Solid]:
    for side in layout.sides:
        if rng.random() < 0.35:
            continue
        spacing, height = rng.uniform(16, 34), rng.uniform(5, 8)
        z = _START + rng.uniform(0, spacing)
        while z < end:
            distance = side.kerb_x + 0.35
            where = (side.sign * distance, side.ground_y(distance), z)
            yield from objects.draw_lamp(rng, base=where, height=height, sign=side.sign)
            z += spacing


def _parked_cars(rng: np.random.Generator, layout: _Layout, end: float) -> Iterator[Solid]:
    for side in layout.sides:
        z = _START + rng.uniform(0, 5)
        while side.parking and z < end - 6:
            if rng.random() < side.occupancy:
                where = (side.sign * (side.lane + 1.12 + rng.uniform(-0.08, 0.12)), 0.0, z)
                turned = np.pi if rng.random() < 0.3 else 0.0
                yield from objects.draw_car(rng, base=where, yaw=turned + rng.normal(0, 0.02))
            z += rng.uniform(5.2, 7.5)


def _moving_cars(
    rng: np.random.Generator, layout: _Layout, end: float, num_frames: int
) -> Iterator[Solid]:
    oncoming_speed, gap = rng.uniform(0.4, 1.2), rng.uniform(12, 70)
    z = rng.uniform(8, 8 + gap)
    while layout.is_two_way and z < end - 8:
        where = (-layout.left.lane / 2 - 0.1 + rng.uniform(-0.15, 0.1), 0.0, z)
        yield from objects.draw_car(rng, base=where, yaw=np.pi, velocity_z=-oncoming_speed)
        z += gap * rng.uniform(0.7, 1.6)
    if rng.random() < 0.5:
        z = rng.uniform(9, 24)
        fastest = (end - 6 - z) / num_frames
        speed = min(layout.speed * rng.uniform(1.0, 1.4), fastest)
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
