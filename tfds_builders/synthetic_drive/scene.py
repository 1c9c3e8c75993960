"""What a street is made of.

World axes follow the camera's: x right, y down, z along the street; the road surface is y = 0 and
the street starts at z = 0. Metres throughout; speeds are metres per frame.
"""

import dataclasses
import enum

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

SEMANTIC_NAMES = (
    "road",
    "sidewalk",
    "terrain",
    "building",
    "pole",
    "vegetation",
    "car",
    "sky",
)
"""Name of each label; a label is a position in this tuple."""

ROAD, SIDEWALK, TERRAIN, BUILDING, POLE, VEGETATION, CAR, SKY = range(len(SEMANTIC_NAMES))

VOID = 255
"""Label of pixels that do not see the scene: what is outside the mask of a round camera."""

NUM_FACES = 6
"""Faces of a solid, in order: +x, -x, +z, -z, top, bottom."""


class Material(enum.IntEnum):
    """Which texture covers a surface."""

    ASPHALT = 0
    PAVING = 1
    CONCRETE = 2
    GRASS = 3
    BRICK = 4
    PLASTER = 5
    ROOF = 6
    PAINT = 7
    GLASS = 8
    RUBBER = 9
    BARK = 10
    LEAVES = 11
    METAL = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solid:
    """A box standing on its base, whose sides may lean inwards; or the ellipsoid inscribed in it.

    A point `height_above` the base belongs to the box if |x| <= half_x - lean_x * height_above
    and likewise for z, in axes turned by `yaw` about the vertical.
    """

    base: tuple[float, float, float]
    """Centre of the base in the world at frame 0."""

    half_x: float
    height: float
    half_z: float
    lean_x: float = 0.0
    lean_z: float = 0.0
    yaw: float = 0.0
    is_ellipsoid: bool = False
    materials: tuple[Material, Material, Material]
    """Texture of the x faces, the z faces and the top; an ellipsoid takes the first."""

    label: int
    colour: tuple[float, float, float]
    phase: float = 0.0
    """In [0, 1): shifts the texture, so that equal objects look different."""

    velocity_z: float = 0.0
    casts_shade: bool = False
    """True for a car's body: the ground beneath it is darkened."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroundStrip:
    """A plane strip between two points of the street's cross-section, endless along z."""

    start: tuple[float, float]
    """(x, y) of the left edge; for a kerb the two edges have the same x."""

    end: tuple[float, float]
    material: Material
    label: int
    colour: tuple[float, float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaneMarking:
    """A white line painted along the road."""

    x: float
    half_width: float
    dash: float
    """Painted part of each period; equal to the period for a solid line."""

    period: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Light:
    """How the street is lit and how the camera develops it."""

    sun: tuple[float, float, float]
    """Unit vector towards the sun, world axes."""

    ambient: float
    diffuse: float
    gain: tuple[float, float, float]
    """Exposure and white balance: one factor per colour channel."""

    sky_low: tuple[float, float, float]
    sky_high: tuple[float, float, float]
    cloudiness: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Street:
    """One street: everything that can be seen, and where the camera goes."""

    seed: int
    ground: tuple[GroundStrip, ...]
    solids: tuple[Solid, ...]
    markings: tuple[LaneMarking, ...]
    light: Light
    world_T_camera: Float[ndarray, "frames 4 4"]
    """Poses of the left camera, or of the car."""

    all_round: bool = False
    """Whether it goes on behind the first pose, for cameras that look there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurfaceTable:
    """Every surface of a street as rows of arrays: first the ground strips, then 6 per solid."""

    normal: Float[ndarray, "s 3"]
    origin: Float[ndarray, "s 3"]
    velocity_z: Float[ndarray, " s"]
    cos_yaw: Float[ndarray, " s"]
    sin_yaw: Float[ndarray, " s"]
    axis: Int[ndarray, " s"]
    """Local axis the surface faces: 0 = x, 1 = z, 2 = up."""

    half_sizes: Float[ndarray, "s 3"]
    """Half x, height, half z of the solid; 0 for the ground."""

    is_ellipsoid: Int[ndarray, " s"]
    material: Int[ndarray, " s"]
    label: Int[ndarray, " s"]
    colour: Float[ndarray, "s 3"]
    phase: Float[ndarray, " s"]
    face: Int[ndarray, " s"]


def surface_table(street: Street) -> SurfaceTable:
    """The rows of a street's surfaces, in the order of the ids that tracing returns."""
    rows = [_strip_row(strip) for strip in street.ground]
    rows += [_face_row(solid, face) for solid in street.solids for face in range(NUM_FACES)]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return SurfaceTable(**columns)


def _strip_row(strip: GroundStrip) -> dict[str, object]:
    across, down = strip.end[0] - strip.start[0], strip.end[1] - strip.start[1]
    length = np.hypot(across, down)
    return {
        "normal": (down / length, -across / length, 0.0),
        "origin": (0.0, 0.0, 0.0),
        "velocity_z": 0.0,
        "cos_yaw": 1.0,
        "sin_yaw": 0.0,
        "axis": 0 if across == 0 else 2,
        "half_sizes": (0.0, 0.0, 0.0),
        "is_ellipsoid": 0,
        "material": int(strip.material),
        "label": strip.label,
        "colour": strip.colour,
        "phase": 0.0,
        "face": 4,
    }


def _face_row(solid: Solid, face: int) -> dict[str, object]:
    local = face_planes(solid)[face, :3]
    local = local / np.sqrt((local**2).sum())
    cos, sin = np.cos(solid.yaw), np.sin(solid.yaw)
    axis = min(face // 2, 2)
    return {
        "normal": (cos * local[0] + sin * local[2], local[1], -sin * local[0] + cos * local[2]),
        "origin": solid.base,
        "velocity_z": solid.velocity_z,
        "cos_yaw": cos,
        "sin_yaw": sin,
        "axis": axis,
        "half_sizes": (solid.half_x, solid.height, solid.half_z),
        "is_ellipsoid": int(solid.is_ellipsoid),
        "material": int(solid.materials[axis]),
        "label": solid.label,
        "colour": solid.colour,
        "phase": solid.phase,
        "face": face,
    }


def face_planes(solid: Solid) -> Float[ndarray, "6 4"]:
    """Half-spaces (n, c) with n . p <= c, in the solid's own axes, one per face."""
    return np.array(
        [
            (1.0, -solid.lean_x, 0.0, solid.half_x),
            (-1.0, -solid.lean_x, 0.0, solid.half_x),
            (0.0, -solid.lean_z, 1.0, solid.half_z),
            (0.0, -solid.lean_z, -1.0, solid.half_z),
            (0.0, -1.0, 0.0, solid.height),
            (0.0, 1.0, 0.0, 0.0),
        ]
    )
