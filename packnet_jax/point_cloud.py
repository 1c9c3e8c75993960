"""Coloured point clouds from depth maps, and their `.ply` files."""

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from packnet_jax.geometry.pinhole import back_project
from packnet_jax.geometry.ray_surface import unproject
from packnet_jax.visualize import Notes, to_uint8, write_atomically

VERTEX = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])


class PointCloud(NamedTuple):
    """Points that the camera sees, in row-major order of their pixels."""

    points_cam: Float[ndarray, "n 3"]
    colours: UInt8[ndarray, "n 3"]


def point_cloud(
    depth: Float[ndarray, "h w"],
    rgb: Float[ndarray, "h w 3"],
    K: Float[ndarray, "3 3"],
    *,
    near: float = 0.0,
    far: float = np.inf,
    max_slope: float = np.inf,
) -> PointCloud:
    """Back-projects the pixels whose depth can be trusted.

    Args:
        depth: in any unit, which becomes the cloud's; 0 where there is none.
        rgb: in [0, 1].
        K: in pixels of the depth map.
        near: points up to this depth are left out.
        far: points from this depth on are left out.
        max_slope: see `is_depth_edge`.
    """
    keep = (depth > max(near, 0)) & (depth < far) & ~is_depth_edge(depth, K, max_slope)
    maps = (jnp.asarray(array, jnp.float32) for array in (depth[..., None], K))
    points_cam = back_project(*maps)
    return PointCloud(np.asarray(points_cam)[keep], to_uint8(rgb)[keep])


def ray_cloud(
    distance: Float[ndarray, "h w"],
    rgb: Float[ndarray, "h w 3"],
    rays: Float[ndarray, "h w 3"],
    *,
    near: float = 0.0,
    far: float = np.inf,
    max_slope: float = np.inf,
) -> PointCloud:
    """As `point_cloud`, of a camera that is given by the unit ray of each pixel.

    Args:
        distance: along the rays, as are `near` and `far`; 0 where there is none.
        rgb: in [0, 1].
        rays: unit vectors in the camera frame.
        near: points up to this distance are left out.
        far: points from this distance on are left out.
        max_slope: see `is_distance_edge`.
    """
    keep = (distance > max(near, 0)) & (distance < far)
    keep &= ~is_distance_edge(distance, rays, max_slope)
    maps = (jnp.asarray(array, jnp.float32) for array in (distance[..., None], rays))
    return PointCloud(np.asarray(unproject(*maps))[keep], to_uint8(rgb)[keep])


def is_depth_edge(
    depth: Float[ndarray, "h w"], K: Float[ndarray, "3 3"], max_slope: float
) -> Bool[ndarray, "h w"]:
    """Where depth changes too fast from pixel to pixel for one surface to be seen there.

    Networks blur the step between a near thing and what is behind it, and points on that slope
    hang in the air. The slope is the change of depth over the way across between two neighbours'
    rays, z / f; it depends on neither the unit nor the resolution. Flat ground seen from height
    h has the slope z / h: with 40 and a car's camera it stays up to 66 metres.

    Args:
        depth: 0 where there is none; such pixels are no edge, and make none.
        max_slope: both neighbours are an edge where the slope between them is larger.
    """
    return _edges(depth, (1 / K[1, 1], 1 / K[0, 0]), max_slope)


def is_distance_edge(
    distance: Float[ndarray, "h w"], rays: Float[ndarray, "h w 3"], max_slope: float
) -> Bool[ndarray, "h w"]:
    """As `is_depth_edge`; the way across is the distance times the angle between the two rays.

    Args:
        distance: along the rays, 0 where there is none.
        rays: unit vectors.
        max_slope: both neighbours are an edge where the slope between them is larger.
    """
    down, across = (np.linalg.norm(np.diff(rays, axis=axis), axis=-1) for axis in (0, 1))
    return _edges(distance, (down, across), max_slope)


def _edges(
    depth: Float[ndarray, "h w"],
    spacings: tuple[float | ndarray, float | ndarray],
    max_slope: float,
) -> Bool[ndarray, "h w"]:
    """Where neighbours differ by more than `max_slope` times the way across.

    Args:
        spacings: the way across at depth 1, between pixels below and beside each other.
    """
    edge = np.zeros(depth.shape, bool)
    above, below = np.s_[:-1, :], np.s_[1:, :]
    left, right = np.s_[:, :-1], np.s_[:, 1:]
    pairs = (above, below), (left, right)
    for (one, other), spacing in zip(pairs, spacings, strict=True):
        step, nearest = np.abs(depth[other] - depth[one]), np.minimum(depth[one], depth[other])
        too_steep = (nearest > 0) & (step / max_slope > nearest * spacing)
        edge[one] |= too_steep
        edge[other] |= too_steep
    return edge


def write_ply(path: Path, cloud: PointCloud, notes: Notes | None = None) -> None:
    """Writes binary little-endian PLY: x, y, z as float, red, green, blue as uchar.

    Args:
        notes: become comments of the header.
    """
    vertices = np.empty(len(cloud.points_cam), VERTEX)
    vertices["xyz"], vertices["rgb"] = cloud
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment camera frame: x right, y down, z forward",
        *(f"comment {key}: {value}" for key, value in (notes or {}).items()),
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
        "end_header",
    ]
    write_atomically(path, "\n".join(header).encode() + b"\n" + vertices.tobytes())
