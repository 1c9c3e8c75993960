"""The ground below a camera, found in a depth map (on the host, in numpy)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

STEEPEST = 25.0
"""Largest angle, in degrees, between the ground's normal and the camera's y axis."""

TOLERANCE = 0.05
"""A point lies on the plane if its inverse depth is within this share of the plane's there."""

SMALLEST_SHARE = 0.4
"""The plane counts as found where at least this share of the points looked at lies on it."""

NUM_TRIALS = 512
NUM_REFINEMENTS = 20
NUM_POINTS = 4000


class GroundPlane(NamedTuple):
    """Points p of the camera frame with `normal_cam` . p = `height`."""

    normal_cam: Float[ndarray, "3"]
    """Unit length, downwards."""
    height: float
    """Of the camera's centre above the plane, in the unit of the depth."""
    share: float
    """Of the points looked at that lie on the plane, in [0, 1]."""


def fit_ground_plane(depth: Float[ndarray, "h w"], K: Float[ndarray, "3 3"]) -> GroundPlane | None:
    """Fits a plane to the lower middle of a depth map; None where no ground is to be seen there.

    Along a plane, inverse depth is linear in the viewing ray r = (x, y, 1) = K⁻¹ (u, v, 1):
    1 / z = n . r / height. Random triples of points (the same ones each time) propose planes; the
    one that most points agree with is refined on these. Another scale of the depth scales the
    height alike and changes nothing else.

    Args:
        depth: 0 where there is none; the lower 40 % of the rows and the middle half of the columns
            are looked at. Where a pavement fills more of them than the road, it is the ground.
        K: in pixels of the depth map.

    Source: Fischler and Bolles 1981 (random sample consensus).
    """
    rays, inv_depth = _lower_middle(depth, K)
    if len(rays) < 3:
        return None
    triples = np.random.default_rng(0).integers(len(rays), size=(NUM_TRIALS, 3))
    corners, values = rays[triples], inv_depth[triples]
    solvable = np.abs(np.linalg.det(corners)) > 1e-9
    proposals = np.linalg.solve(corners[solvable], values[solvable, :, None])[..., 0]
    proposals = proposals[[_is_ground(proposal) for proposal in proposals]]
    if not len(proposals):
        return None
    plane = min(proposals, key=lambda p: np.minimum(_misfit(p, rays, inv_depth), TOLERANCE).sum())
    near = _misfit(plane, rays, inv_depth) < TOLERANCE
    plane = _refine(plane, rays[near], inv_depth[near])
    share = float((_misfit(plane, rays, inv_depth) < TOLERANCE).mean())
    if share < SMALLEST_SHARE or not _is_ground(plane):
        return None
    length = np.linalg.norm(plane)
    return GroundPlane(plane / length, float(1 / length), share)


def _lower_middle(
    depth: Float[ndarray, "h w"], K: Float[ndarray, "3 3"]
) -> tuple[Float[ndarray, "n 3"], Float[ndarray, " n"]]:
    """Viewing rays and inverse depth of at most about `NUM_POINTS` pixels there."""
    height, width = depth.shape
    v, u = np.mgrid[int(0.6 * height) : height, width // 4 : width - width // 4]
    u, v = u.ravel(), v.ravel()
    valid = (depth[v, u] > 0) & np.isfinite(depth[v, u])
    every = max(1, int(valid.sum()) // NUM_POINTS)
    u, v = u[valid][::every], v[valid][::every]
    pixels = np.stack([u, v, np.ones_like(u)]).astype(np.float64)
    rays = np.linalg.solve(np.asarray(K, np.float64), pixels).T
    return rays, 1.0 / depth[v, u].astype(np.float64)


def _is_ground(plane: Float[ndarray, "3"]) -> bool:
    """Whether n / height is that of a plane roughly square to the camera's y axis, below it."""
    return bool(plane[1] > np.cos(np.radians(STEEPEST)) * np.linalg.norm(plane))


def _misfit(
    plane: Float[ndarray, "3"], rays: Float[ndarray, "n 3"], inv_depth: Float[ndarray, " n"]
) -> Float[ndarray, " n"]:
    """How far each point's inverse depth is from the plane's, as a share of its own."""
    return np.abs(rays @ plane / inv_depth - 1)


def _refine(
    plane: Float[ndarray, "3"], rays: Float[ndarray, "n 3"], inv_depth: Float[ndarray, " n"]
) -> Float[ndarray, "3"]:
    """The plane with the least sum of misfits, by reweighted least squares.

    Unlike the sum of squares it stays on the road where part of the points lie on a pavement.
    """
    for _ in range(NUM_REFINEMENTS):
        weights = 1 / np.sqrt(np.maximum(_misfit(plane, rays, inv_depth), 1e-6))
        rows = rays * (weights / inv_depth)[:, None]
        plane = np.linalg.lstsq(rows, weights, rcond=None)[0]
    return plane
