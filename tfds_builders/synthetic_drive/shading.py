"""From what rays meet to colours: textures, matt shading, the shade under cars, the sky."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from tfds_builders.synthetic_drive import noise, textures
from tfds_builders.synthetic_drive.cameras import Camera
from tfds_builders.synthetic_drive.noise import Colour, Lattice, Surface
from tfds_builders.synthetic_drive.raycast import NOTHING, Hits, Rays
from tfds_builders.synthetic_drive.scene import Material, Solid, Street, SurfaceTable

_FURTHEST = 1e5  # metres; beyond it every texture has faded to its mean


class Points(NamedTuple):
    """Where rays meet surfaces, in the world."""

    surface: Int[ndarray, " n"]
    """Rows of the surface table."""

    world: Float[ndarray, "3 n"]
    direction: Float[ndarray, "3 n"]
    """Of the rays, as `Camera.directions` scales them."""

    per_u: Float[ndarray, "3 n"]
    """How far a point moves, at constant depth, for one pixel to the right."""

    per_v: Float[ndarray, "3 n"]
    """The same for one pixel down."""


def _points(
    rays: Rays, hits: Hits, camera: Camera, world_T_camera: Float[ndarray, "4 4"]
) -> Points:
    """The hits, flattened, without the sky."""
    is_hit = hits.surface != NOTHING
    depth = np.minimum(hits.depth[is_hit], _FURTHEST)
    direction = np.stack([axis[is_hit] for axis in (rays.x, rays.y, rays.z)])
    right, down = camera.steps(is_hit, depth)
    return Points(
        surface=hits.surface[is_hit],
        world=rays.centre[:, None] + depth * direction,
        direction=direction,
        per_u=_rotate(world_T_camera, right),
        per_v=_rotate(world_T_camera, down),
    )


def _rotate(
    world_T_camera: Float[ndarray, "4 4"], vectors: Float[ndarray, "3 n"]
) -> Float[ndarray, "3 n"]:
    r, (x, y, z) = world_T_camera[:3, :3], vectors
    return np.stack([r[i, 0] * x + r[i, 1] * y + r[i, 2] * z for i in range(3)])


def shade(
    street: Street,
    table: SurfaceTable,
    lattice: Lattice,
    camera: Camera,
    world_T_camera: Float[ndarray, "4 4"],
    rays: Rays,
    hits: Hits,
    frame: int,
) -> Float[ndarray, "n h w 3"]:
    """The colour each ray sees, in [0, 1]."""
    colours = np.empty((*hits.depth.shape, 3), np.float32)
    is_sky = hits.surface == NOTHING
    directions = np.stack([axis[is_sky] for axis in (rays.x, rays.y, rays.z)])
    colours[is_sky] = _sky(street, lattice, directions, camera.pixel_angle)
    points = _points(rays, hits, camera, world_T_camera)
    colours[~is_sky] = _shade_points(street, table, lattice, points, frame)
    return colours


def _shade_points(
    street: Street, table: SurfaceTable, lattice: Lattice, points: Points, frame: int
) -> Colour:
    s = points.surface
    local = _turn(table, s, points.world - _origins(table, s, frame))
    normal = table.normal[s].T
    is_round = np.flatnonzero(table.is_ellipsoid[s])
    normal[:, is_round] = _round_normals(table, s[is_round], local[:, is_round])
    footprint = _footprints(table, points, normal)
    surface = _surface(table, s, local.astype(np.float32), footprint.astype(np.float32))

    albedo = np.empty((len(s), 3), np.float32)
    material = table.material[s]
    for kind in np.unique(material):
        chosen = np.flatnonzero(material == kind)
        part = Surface(*(column[chosen] for column in surface))
        if kind == Material.ASPHALT:
            albedo[chosen] = textures.asphalt(lattice, part, street.markings)
        else:
            albedo[chosen] = textures.TEXTURES[Material(kind)](lattice, part)

    light = street.light
    towards_sun = sum(light.sun[i] * normal[i] for i in range(3))
    brightness = light.ambient * (0.8 - 0.2 * normal[1])
    brightness = brightness + light.diffuse * np.maximum(towards_sun, 0)
    is_ground = np.flatnonzero(s < len(street.ground))
    brightness[is_ground] *= _shade_under_cars(street.solids, points.world[:, is_ground], frame)
    return np.clip(albedo * brightness[:, None] * np.array(light.gain), 0, 1)


def _origins(table: SurfaceTable, s: Int[ndarray, " n"], frame: int) -> Float[ndarray, "3 n"]:
    origin = table.origin[s].T
    origin[2] += table.velocity_z[s] * frame
    return origin


def _turn(
    table: SurfaceTable, s: Int[ndarray, " n"], vectors: Float[ndarray, "3 n"]
) -> Float[ndarray, "3 n"]:
    """World vectors in the axes of each point's own solid."""
    cos, sin = table.cos_yaw[s], table.sin_yaw[s]
    x, y, z = vectors
    return np.stack([cos * x - sin * z, y, sin * x + cos * z])


def _round_normals(
    table: SurfaceTable, s: Int[ndarray, " n"], local: Float[ndarray, "3 n"]
) -> Float[ndarray, "3 n"]:
    half_x, height, half_z = table.half_sizes[s].T
    x, y, z = local[0] / half_x**2, 4 * (local[1] + height / 2) / height**2, local[2] / half_z**2
    cos, sin = table.cos_yaw[s], table.sin_yaw[s]
    normal = np.stack([cos * x + sin * z, y, cos * z - sin * x])
    return normal / np.sqrt((normal * normal).sum(axis=0))


def _footprints(
    table: SurfaceTable, points: Points, normal: Float[ndarray, "3 n"]
) -> Float[ndarray, "3 n"]:
    """How far one pixel's step moves along each local axis on the surface, metres.

    A point P = c + t d on a plane of normal n moves by t (d' - d (n . d') / (n . d)) as d moves
    by d'.
    """
    facing = (normal * points.direction).sum(axis=0)
    facing = np.where(np.abs(facing) < 1e-9, 1e-9, facing)
    squares = np.zeros_like(normal)
    for step in (points.per_u, points.per_v):
        moved = step - points.direction * ((normal * step).sum(axis=0) / facing)
        squares += _turn(table, points.surface, moved) ** 2
    return np.sqrt(squares) + 1e-6


def _surface(
    table: SurfaceTable,
    s: Int[ndarray, " n"],
    local: Float[ndarray, "3 n"],
    footprint: Float[ndarray, "3 n"],
) -> Surface:
    """Chooses the two coordinates that run along each surface."""
    axis, face = table.axis[s], table.face[s]
    half_x, height, half_z = table.half_sizes[s].astype(np.float32).T
    faces_x, faces_up = axis == 0, axis == 2
    return Surface(
        u=np.where(faces_x, local[2], local[0]),
        v=np.where(faces_up, local[2], -local[1]),
        w=np.where(faces_x, local[0], np.where(faces_up, -local[1], local[2])),
        footprint_u=np.where(faces_x, footprint[2], footprint[0]),
        footprint_v=np.where(faces_up, footprint[2], footprint[1]),
        half_width=np.where(faces_x, half_z, half_x),
        height=height,
        is_end=(axis == 1).astype(np.float32),
        front=np.where(face % 2 == 0, np.float32(1), np.float32(-1)),
        phase=table.phase[s].astype(np.float32),
        colour=table.colour[s].astype(np.float32),
    )


def _shade_under_cars(
    solids: tuple[Solid, ...], world: Float[ndarray, "3 n"], frame: int
) -> Float[ndarray, " n"]:
    """A factor in (0, 1] that dips softly beneath each car."""
    factor = np.ones(world.shape[1])
    soft = 0.5
    for solid in solids:
        if not solid.casts_shade:
            continue
        x = world[0] - solid.base[0]
        reach = solid.half_x + solid.half_z + soft
        near = np.flatnonzero(np.abs(x) < reach)
        z = world[2, near] - (solid.base[2] + solid.velocity_z * frame)
        is_near = np.abs(z) < reach
        near, z = near[is_near], z[is_near]
        cos, sin = np.cos(solid.yaw), np.sin(solid.yaw)
        local_x, local_z = cos * x[near] - sin * z, sin * x[near] + cos * z
        inside_x = np.clip((solid.half_x - np.abs(local_x)) / soft + 0.6, 0, 1)
        inside_z = np.clip((solid.half_z - np.abs(local_z)) / soft + 0.6, 0, 1)
        factor[near] *= 1 - 0.65 * inside_x * inside_z
    return factor


def _sky(
    street: Street, lattice: Lattice, directions: Float[ndarray, "3 n"], pixel: float
) -> Colour:
    """A gradient with clouds; a function of direction alone, as if infinitely far away.

    An all-round street has the clouds behind mirror those ahead, so that there is no seam.
    """
    light = street.light
    x, y, z = directions
    length = np.sqrt(x * x + y * y + z * z)
    up = np.clip(-y / length, 0, 1)
    low, high = np.asarray(light.sky_low), np.asarray(light.sky_high)
    blue = low + (high - low) * np.sqrt(up)[:, None]
    zero = np.zeros_like(up, np.float32)
    turn = (0.5 * x / (length + np.abs(z))).astype(np.float32)  # monotonous in the azimuth
    surface = Surface(
        u=turn if street.all_round else turn + np.float32(2) * (z < 0),
        v=(up * 1.5).astype(np.float32),
        w=zero,
        footprint_u=zero + np.float32(pixel / 2),
        footprint_v=zero + np.float32(1.5 * pixel),
        half_width=zero,
        height=zero,
        is_end=zero,
        front=zero,
        phase=zero,
        colour=blue.astype(np.float32),
    )
    octaves = ((0.16, 0.16, 0.9), (0.06, 0.07, 0.5), (0.025, 0.03, 0.3), (0.01, 0.013, 0.2))
    cloud = noise.fractal(lattice, surface, octaves, 123)
    share = np.clip(light.cloudiness + 0.9 * cloud, 0, 1) * np.clip(0.35 + 3 * up, 0, 1)
    white = (0.97, 0.97, 0.98)
    return np.clip(noise.mix(surface.colour, white, 0.85 * share) * np.array(light.gain), 0, 1)
