"""Exact intersections of camera rays with a street: closed forms, no approximation.

Rays are written `centre + depth * direction`. A pinhole camera's directions have unit z in the
camera, those of other cameras unit length (`Camera.directions`), so the ray parameter is the depth
itself.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from tfds_builders.synthetic_drive.cameras import Axes, Camera, Pinhole, RoundCamera
from tfds_builders.synthetic_drive.scene import (
    NUM_FACES,
    GroundStrip,
    Solid,
    Street,
    face_planes,
)

NOTHING = -1
"""Surface id of rays that leave the street: sky."""

_NEAR = 1e-3


class Rays(NamedTuple):
    """World directions of rays from one centre."""

    centre: Float[ndarray, " 3"]
    x: Float[ndarray, "n h w"]
    y: Float[ndarray, "n h w"]
    z: Float[ndarray, "n h w"]

    def window(self, rows: slice, columns: slice) -> "Rays":
        """The rays of a rectangle of pixels."""
        where = (slice(None), rows, columns)
        return Rays(self.centre, self.x[where], self.y[where], self.z[where])


class Hits(NamedTuple):
    """What each ray meets first."""

    depth: Float[ndarray, "n h w"]
    """Along the optical axis or the ray, metres; infinite for the sky."""

    surface: Int[ndarray, "n h w"]
    """Row of the surface table, or NOTHING."""


def camera_rays(directions: Axes, world_T_camera: Float[ndarray, "4 4"]) -> Rays:
    """Rays in directions of the camera (`Camera.directions`)."""
    x, y, z = directions
    r = world_T_camera[:3, :3]
    turned = (r[i, 0] * x + r[i, 1] * y + r[i, 2] * z for i in range(3))
    return Rays(world_T_camera[:3, 3], *turned)


def trace(
    street: Street, camera: Camera, world_T_camera: Float[ndarray, "4 4"], rays: Rays, frame: int
) -> Hits:
    """Finds the nearest surface along each ray, with the moving cars where they are at `frame`.

    Solids are tried from near to far, each only in the pixels it can cover, and skipped where
    all of those already hold something nearer.
    """
    depth = np.full(rays.x.shape, np.inf)
    surface = np.full(rays.x.shape, NOTHING, np.int32)
    with np.errstate(divide="ignore", invalid="ignore"):
        for i, strip in enumerate(street.ground):
            _keep_nearest(depth, surface, *_strip_depth(strip, rays), i)
        bounds = pixel_bounds(street.solids, camera, world_T_camera, frame)
        for i in np.argsort(bounds.nearest, kind="stable"):
            rows = slice(*bounds.rows[i])
            columns = slice(*bounds.columns[i])
            window = (slice(None), rows, columns)
            if not depth[window].size or depth[window].max() <= bounds.nearest[i]:
                continue
            solid = street.solids[i]
            intersect = _ellipsoid_depth if solid.is_ellipsoid else _box_depth
            found, face = intersect(solid, frame, rays.window(rows, columns))
            first = len(street.ground) + NUM_FACES * int(i)
            _keep_nearest(depth[window], surface[window], found, face, first)
    return Hits(depth, surface)


def _keep_nearest(
    depth: Float[ndarray, "n h w"],
    surface: Int[ndarray, "n h w"],
    found: Float[ndarray, "n h w"],
    face: Int[ndarray, "..."] | int,
    first: int,
) -> None:
    """Writes nearer hits into the two arrays."""
    is_nearer = found < depth
    np.copyto(depth, found, where=is_nearer)
    np.copyto(surface, np.asarray(face + first, np.int32), where=is_nearer)


def _strip_depth(strip: GroundStrip, rays: Rays) -> tuple[Float[ndarray, "n h w"], int]:
    (x0, y0), (x1, y1) = strip.start, strip.end
    nx, ny = y1 - y0, x0 - x1
    offset = nx * (x0 - rays.centre[0]) + ny * (y0 - rays.centre[1])
    depth = offset / (nx * rays.x + ny * rays.y)
    if x0 == x1:
        along, low, high = rays.centre[1] + depth * rays.y, min(y0, y1), max(y0, y1)
    else:
        along, low, high = rays.centre[0] + depth * rays.x, x0, x1
    is_hit = (depth > _NEAR) & (along >= low) & (along <= high)
    return np.where(is_hit, depth, np.inf), 0


def _to_local(solid: Solid, frame: int, rays: Rays) -> Rays:
    """Expresses the rays in the solid's own axes."""
    cos, sin = np.cos(solid.yaw), np.sin(solid.yaw)
    base_z = solid.base[2] + solid.velocity_z * frame
    x, y, z = rays.centre - np.array([solid.base[0], solid.base[1], base_z])
    centre = np.array([cos * x - sin * z, y, sin * x + cos * z])
    if sin == 0 and cos == 1:
        return Rays(centre, rays.x, rays.y, rays.z)
    return Rays(centre, cos * rays.x - sin * rays.z, rays.y, sin * rays.x + cos * rays.z)


def _box_depth(
    solid: Solid, frame: int, rays: Rays
) -> tuple[Float[ndarray, "n h w"], Int[ndarray, "n h w"]]:
    """Clips the rays with six half-spaces: the last one entered is what is seen."""
    local = _to_local(solid, frame, rays)
    enter = np.full(rays.x.shape, -np.inf)
    leave = np.full(rays.x.shape, np.inf)
    entered = np.zeros(rays.x.shape, np.int32)
    for face, (nx, ny, nz, offset) in enumerate(face_planes(solid)):
        inside = offset - (nx * local.centre[0] + ny * local.centre[1] + nz * local.centre[2])
        slope = ny * local.y if ny else 0.0
        if nx:
            slope = slope + nx * local.x
        if nz:
            slope = slope + nz * local.z
        crossing = inside / slope
        if inside >= 0:  # the camera is on the inner side: the ray can only leave
            np.minimum(leave, crossing, out=leave, where=slope > 0)
        else:
            crossing = np.where(slope < 0, crossing, np.inf)
            is_later = crossing > enter
            np.copyto(enter, crossing, where=is_later)
            np.copyto(entered, face, where=is_later)
    is_hit = (enter > _NEAR) & (enter <= leave)
    return np.where(is_hit, enter, np.inf), entered


def _ellipsoid_depth(solid: Solid, frame: int, rays: Rays) -> tuple[Float[ndarray, "n h w"], int]:
    """The nearer root of the quadratic of a unit sphere in scaled axes."""
    local = _to_local(solid, frame, rays)
    half = np.array([solid.half_x, solid.height / 2, solid.half_z])
    centre = (local.centre + np.array([0, half[1], 0])) / half
    x, y, z = local.x / half[0], local.y / half[1], local.z / half[2]
    a = x * x + y * y + z * z
    b = centre[0] * x + centre[1] * y + centre[2] * z
    c = centre[0] ** 2 + centre[1] ** 2 + centre[2] ** 2 - 1
    discriminant = b * b - a * c
    depth = (-b - np.sqrt(np.maximum(discriminant, 0))) / a
    return np.where((discriminant > 0) & (depth > _NEAR), depth, np.inf), 0


class PixelBounds(NamedTuple):
    """Half-open pixel ranges that hold every pixel a solid can cover; empty if it has none."""

    rows: Int[ndarray, "s 2"]
    columns: Int[ndarray, "s 2"]
    nearest: Float[ndarray, " s"]
    """A depth no point of the solid comes below."""


_EDGES = np.array([(i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit])


def pixel_bounds(
    solids: tuple[Solid, ...], camera: Camera, world_T_camera: Float[ndarray, "4 4"], frame: int
) -> PixelBounds:
    """The pixels that each solid's box can cover."""
    corners = _corners_cam(solids, world_T_camera, frame)
    if isinstance(camera, Pinhole):
        return _pinhole_bounds(corners, camera)
    assert isinstance(camera, RoundCamera)
    return _round_bounds(corners, camera)


def _pinhole_bounds(corners: Float[ndarray, "s 8 3"], camera: Pinhole) -> PixelBounds:
    """Projects the corners of each box, cut off where it passes behind the camera."""
    near = 0.05
    is_front = corners[..., 2] >= near
    start, end = corners[:, _EDGES[:, 0]], corners[:, _EDGES[:, 1]]
    crosses = is_front[:, _EDGES[:, 0]] != is_front[:, _EDGES[:, 1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (near - start[..., 2]) / (end[..., 2] - start[..., 2])
        cut = start + share[..., None] * (end - start)
        points = np.concatenate([corners, cut], axis=1)
        is_used = np.concatenate([is_front, crosses], axis=1)
        u = camera.fx * points[..., 0] / points[..., 2] + camera.cx
        v = camera.fy * points[..., 1] / points[..., 2] + camera.cy
    columns = _pixel_range(u, is_used, camera.width)
    rows = _pixel_range(v, is_used, camera.height)
    nearest = np.maximum(corners[..., 2].min(axis=1), 0.0)
    return PixelBounds(rows, columns, nearest)


def _round_bounds(corners: Float[ndarray, "s 8 3"], camera: RoundCamera) -> PixelBounds:
    """The pixels in a cone about each box; all where it would be wider than a half-space."""
    rays = camera.rays
    pitch = _widest_step(rays)
    distances = np.maximum(np.linalg.norm(corners, axis=-1), 1e-9)
    directions = corners / distances[..., None]
    axes = directions.mean(axis=1)
    axes /= np.maximum(np.linalg.norm(axes, axis=-1, keepdims=True), 1e-9)
    closest = np.einsum("sc,spc->sp", axes, directions).min(axis=1)  # cosine of the cone's angle
    angle = np.arccos(np.clip(closest, -1, 1)) + pitch
    is_cone = closest > 0.05
    rows, columns = np.empty((2, len(corners), 2), int)
    for i, axis in enumerate(axes):
        if not is_cone[i]:
            rows[i], columns[i] = (0, camera.height), (0, camera.width)
            continue
        is_inside = rays @ axis >= np.cos(angle[i])
        rows[i], columns[i] = _extent(is_inside.any(axis=1)), _extent(is_inside.any(axis=0))
    nearest = np.einsum("sc,spc->sp", axes, corners).min(axis=1)
    return PixelBounds(rows, columns, np.maximum(nearest, 0.0))


def _widest_step(rays: Float[ndarray, "h w 3"]) -> float:
    """The greatest angle between neighbouring pixels, radians."""
    across = [np.linalg.norm(np.diff(rays, axis=axis), axis=-1) for axis in (0, 1)]
    return 2 * float(np.arcsin(max(step.max(initial=0) for step in across) / 2))


def _extent(is_inside: Bool[ndarray, " n"]) -> tuple[int, int]:
    """The half-open range from the first True to the last, and one pixel to either side."""
    (inside,) = np.nonzero(is_inside)
    if not len(inside):
        return 0, 0
    return max(inside[0] - 1, 0), min(inside[-1] + 2, len(is_inside))


def _pixel_range(
    values: Float[ndarray, "s p"], is_used: Bool[ndarray, "s p"], size: int
) -> Int[ndarray, "s 2"]:
    low = np.where(is_used, values, np.inf).min(axis=1)
    high = np.where(is_used, values, -np.inf).max(axis=1)
    low, high = np.clip(np.floor(low) - 1, 0, size), np.clip(np.ceil(high) + 2, 0, size)
    return np.stack([low, np.maximum(low, high)], axis=1).astype(int)


def _corners_cam(
    solids: tuple[Solid, ...], world_T_camera: Float[ndarray, "4 4"], frame: int
) -> Float[ndarray, "s 8 3"]:
    sizes = np.array([(s.half_x, s.height, s.half_z, np.cos(s.yaw), np.sin(s.yaw)) for s in solids])
    base = np.array([(*s.base[:2], s.base[2] + s.velocity_z * frame) for s in solids])
    half_x, height, half_z, cos, sin = sizes.reshape(-1, 5).T[..., None]
    bits = np.arange(8)
    x = np.where(bits & 1, 1, -1) * half_x
    y = np.where(bits & 2, -1, 0) * height
    z = np.where(bits & 4, 1, -1) * half_z
    local = np.stack([cos * x + sin * z, y + 0 * x, cos * z - sin * x], axis=-1)
    points = base.reshape(-1, 1, 3) + local - world_T_camera[:3, 3]
    return np.stack(
        [sum(world_T_camera[j, i] * points[..., j] for j in range(3)) for i in range(3)], axis=-1
    )
