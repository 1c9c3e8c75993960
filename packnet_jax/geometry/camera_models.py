"""Camera models with parameters: pinhole, unified sphere, double sphere, Kannala-Brandt, OCam.

Each takes pixels to unit vectors (`unproject`) and points to pixels (`project`), beside a mask of
where that means something. Camera x right, y down, z forward; (u, v), pixel centres at integers.
Computed by numpy in float64: calibrations are read and templates made once, on the host.

Outside of its domain `unproject` answers with the vector of the domain's border, so that rays
change continuously over the whole image.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

SHORTEST = 1e-300
NUM_NEWTON_STEPS = 50
NUM_BISECTIONS = 60
NEGLIGIBLE = 1e-18
"""Beside 1, to what float64 resolves; `np.roots` divides by the first coefficient that is not 0."""
CONVERGED = 1e-9
"""Distortion is undone where it leads back to within this, on the plane one unit away."""


class Rays(NamedTuple):
    """What pixels look at."""

    directions: Float[ndarray, "*b 3"]
    """Unit vectors in the camera frame."""
    valid: Bool[ndarray, "*b"]
    """False outside of the model's domain."""


class Pixels(NamedTuple):
    """Where points are seen."""

    uv: Float[ndarray, "*b 2"]
    """Finite numbers everywhere, with a meaning where valid."""
    valid: Bool[ndarray, "*b"]
    """False where the camera can not see the point, whatever the size of its image."""


class CameraModel(Protocol):
    """What the models have in common."""

    def unproject(self, pixels_uv: Float[ndarray, "*b 2"]) -> Rays:
        """Unit vectors that the pixels look along."""
        ...

    def project(self, points_cam: Float[ndarray, "*b 3"]) -> Pixels:
        """Pixels that see the points."""
        ...


@dataclass(frozen=True)
class Pinhole:
    """u = fx x / z + skew y / z + cx, v = fy y / z + cy."""

    fx: float
    fy: float
    cx: float
    cy: float
    skew: float = 0.0

    def unproject(self, pixels_uv: Float[ndarray, "*b 2"]) -> Rays:
        """Unit vectors that the pixels look along; all are valid."""
        plane = self.to_plane(pixels_uv)
        return Rays(_unit(_append(plane, 1.0)), np.ones(plane.shape[:-1], bool))

    def project(self, points_cam: Float[ndarray, "*b 3"]) -> Pixels:
        """Pixels that see the points; valid in front of the camera."""
        z, valid = points_cam[..., 2:], points_cam[..., 2] > 0
        plane = points_cam[..., :2] / np.where(valid[..., None], z, 1.0)
        return Pixels(self.from_plane(plane), valid)

    def to_plane(self, pixels_uv: Float[ndarray, "*b 2"]) -> Float[ndarray, "*b 2"]:
        """(x, y) of pixels on the plane one unit away from the centre of projection."""
        y = (pixels_uv[..., 1] - self.cy) / self.fy
        x = (pixels_uv[..., 0] - self.cx - self.skew * y) / self.fx
        return np.stack([x, y], axis=-1)

    def from_plane(self, plane_xy: Float[ndarray, "*b 2"]) -> Float[ndarray, "*b 2"]:
        """The inverse of `to_plane`."""
        x, y = plane_xy[..., 0], plane_xy[..., 1]
        return np.stack([self.fx * x + self.skew * y + self.cx, self.fy * y + self.cy], axis=-1)


@dataclass(frozen=True)
class UnifiedSphere:
    """The unit sphere seen by a pinhole that is xi behind its centre, then radial-tangential
    distortion: for catadioptric and fisheye cameras.

    Source: Mei & Rives, ICRA 2007; OpenCV's omnidir module.
    """

    pinhole: Pinhole
    xi: float
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    def unproject(self, pixels_uv: Float[ndarray, "*b 2"]) -> Rays:
        """Unit vectors that the pixels look along; invalid beyond the sphere's outline."""
        plane, undone = self._undistort(self.pinhole.to_plane(pixels_uv))
        squared = np.sum(plane**2, axis=-1)
        radicand = 1 + (1 - self.xi**2) * squared
        length = (self.xi + np.sqrt(np.maximum(radicand, 0))) / (1 + squared)
        z = (length - self.xi)[..., None]
        return Rays(
            _unit(np.concatenate([length[..., None] * plane, z], -1)), undone & (radicand >= 0)
        )

    def project(self, points_cam: Float[ndarray, "*b 3"]) -> Pixels:
        """Pixels that see the points; invalid on the far side of the sphere."""
        directions = _unit(points_cam)
        z = directions[..., 2]
        lowest = -self.xi if self.xi <= 1 else -1 / self.xi
        valid = z > lowest
        plane = directions[..., :2] / np.where(valid, z + self.xi, 1.0)[..., None]
        return Pixels(self.pinhole.from_plane(self._distort(plane)), valid)

    def _distort(self, plane_xy: Float[ndarray, "*b 2"]) -> Float[ndarray, "*b 2"]:
        x, y = plane_xy[..., 0], plane_xy[..., 1]
        squared = x**2 + y**2
        radial = 1 + self.k1 * squared + self.k2 * squared**2
        return np.stack(
            [
                x * radial + 2 * self.p1 * x * y + self.p2 * (squared + 2 * x**2),
                y * radial + self.p1 * (squared + 2 * y**2) + 2 * self.p2 * x * y,
            ],
            axis=-1,
        )

    def _undistort(self, distorted: Float[ndarray, "*b 2"]) -> tuple[ndarray, Bool[ndarray, "*b"]]:
        """The inverse of `_distort` by Newton's method, and where it was found."""
        plane = distorted
        for _ in range(NUM_NEWTON_STEPS):
            x, y = plane[..., 0], plane[..., 1]
            squared = x**2 + y**2
            radial = 1 + self.k1 * squared + self.k2 * squared**2
            slope = 2 * self.k1 + 4 * self.k2 * squared
            across = slope * x * y + 2 * self.p1 * x + 2 * self.p2 * y
            xx = radial + slope * x**2 + 2 * self.p1 * y + 6 * self.p2 * x
            yy = radial + slope * y**2 + 6 * self.p1 * y + 2 * self.p2 * x
            missing = distorted - self._distort(plane)
            determinant = xx * yy - across**2
            determinant = np.where(np.abs(determinant) < 1e-9, 1.0, determinant)
            step_x = (yy * missing[..., 0] - across * missing[..., 1]) / determinant
            step_y = (xx * missing[..., 1] - across * missing[..., 0]) / determinant
            plane = np.clip(plane + np.stack([step_x, step_y], axis=-1), -1e6, 1e6)
        found = np.abs(self._distort(plane) - distorted).max(axis=-1) < CONVERGED
        return np.where(found[..., None], plane, distorted), found


@dataclass(frozen=True)
class DoubleSphere:
    """Two unit spheres, xi apart, then a pinhole alpha / (1 - alpha) behind the second.

    Source: Usenko, Demmel and Cremers, "The Double Sphere Camera Model", 3DV 2018.
    """

    pinhole: Pinhole
    xi: float
    alpha: float

    def unproject(self, pixels_uv: Float[ndarray, "*b 2"]) -> Rays:
        """Unit vectors that the pixels look along; invalid beyond the second sphere's outline.

        Source: equations 46 to 50.
        """
        plane = self.pinhole.to_plane(pixels_uv)
        squared = np.sum(plane**2, axis=-1)
        radicand = 1 - (2 * self.alpha - 1) * squared
        height = (1 - self.alpha**2 * squared) / (
            self.alpha * np.sqrt(np.maximum(radicand, 0)) + 1 - self.alpha
        )
        under_root = height**2 + (1 - self.xi**2) * squared
        length = height * self.xi + np.sqrt(np.maximum(under_root, 0))
        length = length / np.maximum(height**2 + squared, SHORTEST)
        z = (length * height - self.xi)[..., None]
        directions = _unit(np.concatenate([length[..., None] * plane, z], axis=-1))
        return Rays(directions, (radicand >= 0) & (under_root >= 0))

    def project(self, points_cam: Float[ndarray, "*b 3"]) -> Pixels:
        """Pixels that see the points; invalid on the far side of the spheres.

        Source: equations 40 to 45.
        """
        directions = _unit(points_cam)
        z = directions[..., 2]
        shifted = self.xi + z
        second = np.sqrt(np.sum(directions[..., :2] ** 2, axis=-1) + shifted**2)
        w1 = self.alpha / (1 - self.alpha) if self.alpha <= 0.5 else (1 - self.alpha) / self.alpha
        w2 = (w1 + self.xi) / np.sqrt(2 * w1 * self.xi + self.xi**2 + 1)
        depth = self.alpha * second + (1 - self.alpha) * shifted
        valid = (z > -w2) & (depth > 0)
        plane = directions[..., :2] / np.where(valid, depth, 1.0)[..., None]
        return Pixels(self.pinhole.from_plane(plane), valid)


@dataclass(frozen=True)
class KannalaBrandt:
    """The angle t from the axis becomes the radius t + k1 t^3 + k2 t^5 + k3 t^7 + k4 t^9.

    Valid up to the angle at which the radius stops growing, at most 180 degrees.

    Source: Kannala & Brandt, PAMI 2006; OpenCV's fisheye module.
    """

    pinhole: Pinhole
    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0

    @cached_property
    def widest(self) -> float:
        """The largest angle from the axis, in radians."""
        slope = np.array([9 * self.k4, 7 * self.k3, 5 * self.k2, 3 * self.k1, 1.0])  # in t^2
        at_pi = slope * np.pi ** np.arange(8, -1, -2)
        roots = np.roots(np.where(np.abs(at_pi) < NEGLIGIBLE, 0.0, slope))
        turns = [np.sqrt(r.real) for r in roots if abs(r.imag) < 1e-12 and r.real > 0]
        return float(min([np.pi, *turns]))

    def unproject(self, pixels_uv: Float[ndarray, "*b 2"]) -> Rays:
        """Unit vectors that the pixels look along; invalid beyond the widest angle's circle."""
        plane = self.pinhole.to_plane(pixels_uv)
        radius = np.sqrt(np.sum(plane**2, axis=-1))
        low, high = np.zeros_like(radius), np.full_like(radius, self.widest)
        for _ in range(NUM_BISECTIONS):
            middle = (low + high) / 2
            too_far = self._radius(middle) > radius
            low, high = np.where(too_far, low, middle), np.where(too_far, middle, high)
        angle = ((low + high) / 2)[..., None]
        outwards = plane / np.maximum(radius, SHORTEST)[..., None]
        directions = np.concatenate([np.sin(angle) * outwards, np.cos(angle)], axis=-1)
        return Rays(_unit(directions), radius <= self._radius(np.array(self.widest)))

    def project(self, points_cam: Float[ndarray, "*b 3"]) -> Pixels:
        """Pixels that see the points; invalid beyond the widest angle."""
        across = np.sqrt(np.sum(points_cam[..., :2] ** 2, axis=-1))
        angle = np.arctan2(across, points_cam[..., 2])
        outwards = points_cam[..., :2] / np.maximum(across, SHORTEST)[..., None]
        plane = self._radius(angle)[..., None] * outwards
        return Pixels(self.pinhole.from_plane(plane), angle <= self.widest)

    def _radius(self, angle: Float[ndarray, "*b"]) -> Float[ndarray, "*b"]:
        s = angle**2
        return angle * (1 + s * (self.k1 + s * (self.k2 + s * (self.k3 + s * self.k4))))


@dataclass(frozen=True)
class OcamPolynomial:
    """A polynomial of the distance from the centre gives the slope of the ray: OCamCalib's model.

    Its own axes are x down, y right, z backward, and its pixels (row, column).

    Source: Scaramuzza, Martinelli and Siegwart, ICVS 2006; OCamCalib's cam2world and world2cam.
    """

    polynomial: tuple[float, ...]
    """z of the ray over the distance from the centre, by rising powers."""
    inverse_polynomial: tuple[float, ...]
    """Distance from the centre over the ray's elevation (radians), by rising powers; a fit, which
    is off by a fraction of a pixel."""
    row: float
    column: float
    c: float = 1.0
    d: float = 0.0
    e: float = 0.0
    """(row, column) = [[c, d], [e, 1]] (x, y) + centre."""

    def unproject(self, pixels_uv: Float[ndarray, "*b 2"]) -> Rays:
        """Unit vectors that the pixels look along; all are valid."""
        row, column = pixels_uv[..., 1] - self.row, pixels_uv[..., 0] - self.column
        x = (row - self.d * column) / (self.c - self.d * self.e)
        y = (self.c * column - self.e * row) / (self.c - self.d * self.e)
        z = np.polynomial.polynomial.polyval(np.hypot(x, y), self.polynomial)
        return Rays(_unit(np.stack([y, x, -z], axis=-1)), np.ones(x.shape, bool))

    def project(self, points_cam: Float[ndarray, "*b 3"]) -> Pixels:
        """Pixels that see the points, by the inverse polynomial; all are valid."""
        right, down, forward = np.moveaxis(points_cam, -1, 0)
        across = np.hypot(right, down)
        elevation = np.arctan2(-forward, across)
        distance = np.polynomial.polynomial.polyval(elevation, self.inverse_polynomial)
        x, y = (distance * a / np.maximum(across, SHORTEST) for a in (down, right))
        u, v = self.e * x + y + self.column, self.c * x + self.d * y + self.row
        return Pixels(np.stack([u, v], axis=-1), np.ones(u.shape, bool))


def _unit(vectors: Float[ndarray, "*b 3"]) -> Float[ndarray, "*b 3"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), SHORTEST)


def _append(vectors: Float[ndarray, "*b n"], value: float) -> Float[ndarray, "*b n+1"]:
    return np.concatenate([vectors, np.full((*vectors.shape[:-1], 1), value)], axis=-1)
