"""The cross-section of a street: lanes, kerbs, pavements and the land beside them."""

import dataclasses
from itertools import pairwise

import numpy as np

from tfds_builders.synthetic_drive import scene as sc
from tfds_builders.synthetic_drive.scene import GroundStrip, LaneMarking

_SET_BACKS = {"town": 12.0, "suburb": 16.0, "open": 0.0}
"""Largest distance between pavement and houses, metres."""

_FAR = 3000.0
"""Where the land ends to either side, metres."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
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
class Layout:
    """Both sides of a street and the speed it is driven at."""

    left: Side
    right: Side
    is_two_way: bool
    speed: float
    """Way of the camera per frame, metres."""

    @property
    def lane_x(self) -> float:
        """Middle of the camera's lane."""
        return self.right.lane / 2 if self.is_two_way else 0.0

    @property
    def sides(self) -> tuple[Side, Side]:
        """Left and right."""
        return self.left, self.right


def draw_layout(rng: np.random.Generator) -> Layout:
    """Draws a town street, a suburb or an open road; its two sides may differ."""
    is_two_way = bool(rng.random() < 0.65)
    lane = rng.uniform(2.7, 4.5) if is_two_way else rng.uniform(1.6, 2.6)
    style = str(rng.choice(["town", "suburb", "open"], p=[0.45, 0.3, 0.25]))
    return Layout(
        left=_draw_side(rng, -1, lane, style),
        right=_draw_side(rng, 1, lane, style),
        is_two_way=is_two_way,
        speed=rng.uniform(0.5, 1.2),
    )


def _draw_side(rng: np.random.Generator, sign: int, lane: float, style: str) -> Side:
    if rng.random() < 0.25:
        style = str(rng.choice(["town", "suburb", "open"]))
    lowest = int(rng.integers(2, 5)) if style == "town" else 1
    return Side(
        sign=sign,
        lane=lane,
        parking=2.2 if rng.random() < 0.6 else 0.0,
        occupancy=rng.uniform(0.15, 0.95),
        verge=rng.uniform(1.0, 3.5) if rng.random() < 0.3 else 0.0,
        pavement=rng.uniform(0.8, 3.2),
        set_back=_SET_BACKS[style] * rng.random() ** 2,
        bank_rise=rng.uniform(0.3, 5.0) if style == "open" else rng.uniform(0, 0.6),
        bank_width=rng.uniform(5, 20),
        kerb=rng.uniform(0.08, 0.18),
        style=style,
        storeys=(lowest, lowest + int(rng.integers(1, 4))),
    )


def draw_ground(rng: np.random.Generator, layout: Layout) -> tuple[GroundStrip, ...]:
    """The ground from left to right, in colours of its own."""
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

    strips = [strip("road", (-layout.left.kerb_x, 0.0), (layout.right.kerb_x, 0.0))]
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


def lane_markings(layout: Layout) -> tuple[LaneMarking, ...]:
    """Edge lines, and a dashed middle line where traffic goes both ways."""
    centre = LaneMarking(x=0.0, half_width=0.08, dash=3.0, period=7.5)
    edges = tuple(
        LaneMarking(x=side.sign * (side.lane - 0.05), half_width=0.06, dash=1.0, period=1.0)
        for side in layout.sides
    )
    return (centre, *edges) if layout.is_two_way else edges
