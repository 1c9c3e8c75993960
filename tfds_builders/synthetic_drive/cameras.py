"""Cameras by their rays: pinhole, fisheye, and a mirror that sees all round.

Camera axes: x right, y down, z forward; pixel centres are integers, the top-left one is (0, 0).
"""

import abc
import dataclasses
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

CameraModel = Literal["pinhole", "fisheye", "catadioptric"]
CAMERA_MODELS: tuple[CameraModel, ...] = ("pinhole", "fisheye", "catadioptric")

Axes = tuple[Float[ndarray, "..."], Float[ndarray, "..."], Float[ndarray, "..."] | float]
"""x, y and z of directions in the camera, each of a shape that broadcasts to [n, h, w]."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Camera(abc.ABC):
    """What the renderer asks of a camera."""

    height: int
    width: int

    @property
    @abc.abstractmethod
    def intrinsics(self) -> Float[ndarray, "3 3"]:
        """K, in pixels; of the pinhole camera that comes closest, where this is none."""

    @property
    @abc.abstractmethod
    def mask(self) -> Bool[ndarray, "h w"]:
        """Pixels that see the scene; the others are black."""

    @property
    @abc.abstractmethod
    def pixel_angle(self) -> float:
        """About how many radians a pixel covers."""

    @abc.abstractmethod
    def directions(self, offsets: Float[ndarray, "n 2"]) -> Axes:
        """Directions through each pixel's centre plus each of the (u, v) offsets, in pixels.

        What they are multiplied with to reach a point is that point's depth: their z is 1 where
        depth is along the optical axis, their length is 1 where it is along the ray.
        """

    @abc.abstractmethod
    def steps(
        self, is_hit: Bool[ndarray, "n h w"], depth: Float[ndarray, " k"]
    ) -> tuple[Float[ndarray, "3 k"], Float[ndarray, "3 k"]]:
        """How far the k points that are hit move, at constant depth, for a pixel right and down."""

    @abc.abstractmethod
    def project(self, points: Float[ndarray, "*b 3"]) -> Float[ndarray, "*b 2"]:
        """(u, v) of points in the camera; NaN where it can not see them. Edges do not count."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pinhole(Camera):
    """A pinhole camera; its depth is along the optical axis."""

    fx: float
    fy: float
    cx: float
    cy: float

    @property
    def intrinsics(self) -> Float[ndarray, "3 3"]:
        """K, in pixels."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    @property
    def mask(self) -> Bool[ndarray, "h w"]:
        """All pixels."""
        return np.ones((self.height, self.width), bool)

    @property
    def pixel_angle(self) -> float:
        """At the principal point."""
        return 1 / self.fx

    def directions(self, offsets: Float[ndarray, "n 2"]) -> Axes:
        """Of unit z."""
        u = (np.arange(self.width) + offsets[:, None, :1] - self.cx) / self.fx
        v = (np.arange(self.height)[:, None] + offsets[:, 1:, None] - self.cy) / self.fy
        return u, v, 1.0

    def steps(
        self, is_hit: Bool[ndarray, "n h w"], depth: Float[ndarray, " k"]
    ) -> tuple[Float[ndarray, "3 k"], Float[ndarray, "3 k"]]:
        """The same in every pixel."""
        del is_hit
        zero = np.zeros_like(depth)
        return np.stack([depth / self.fx, zero, zero]), np.stack([zero, depth / self.fy, zero])

    def project(self, points: Float[ndarray, "*b 3"]) -> Float[ndarray, "*b 2"]:
        """Points in front of the camera."""
        x, y, z = np.moveaxis(points, -1, 0)
        z = np.where(z > 0, z, np.nan)
        return np.stack([self.fx * x / z + self.cx, self.fy * y / z + self.cy], axis=-1)


def default_camera(height: int, width: int, *, focal_ratio: float = 0.58) -> Pinhole:
    """A centred camera with fx = fy = focal_ratio * width (0.58 is close to KITTI's)."""
    focal = focal_ratio * width
    return Pinhole(
        height=height, width=width, fx=focal, fy=focal, cx=(width - 1) / 2, cy=(height - 1) / 2
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundCamera(Camera):
    """A camera whose pixels depend on the angle to its axis; its depth is along the ray.

    Pixels beyond `max_angle` have rays as well, the model carried on, but the mask leaves them out.
    """

    focal: float
    """Pixels per unit of `_radius`."""

    min_angle: float
    """Rays see nothing closer to the axis than this, radians: a mirror shows the camera there."""

    max_angle: float
    """Nor further from it than this."""

    @abc.abstractmethod
    def _radius(self, angle: Float[ndarray, "*b"]) -> Float[ndarray, "*b"]:
        """Distance from the principal point, over `focal`, of rays at an angle to the axis."""

    @abc.abstractmethod
    def _angle(self, radius: Float[ndarray, "*b"]) -> Float[ndarray, "*b"]:
        """The inverse of `_radius`."""

    @property
    def centre(self) -> tuple[float, float]:
        """The principal point (cx, cy): the middle."""
        return (self.width - 1) / 2, (self.height - 1) / 2

    @cached_property
    def rays(self) -> Float[ndarray, "h w 3"]:
        """Unit rays through the pixels' centres, in all pixels."""
        return self._rays(np.zeros((1, 2)))[0]

    @cached_property
    def mask(self) -> Bool[ndarray, "h w"]:
        """Pixels whose ray is within the two angles."""
        angle = np.arctan2(np.hypot(self.rays[..., 0], self.rays[..., 1]), self.rays[..., 2])
        return (angle >= self.min_angle) & (angle <= self.max_angle)

    @property
    def pixel_angle(self) -> float:
        """At the principal point."""
        return float(self._angle(np.array(1 / self.focal)))

    @cached_property
    def intrinsics(self) -> Float[ndarray, "3 3"]:
        """K of the pinhole camera that comes closest.

        Least squares of the pixels' distances, over rays of the mask within 60 degrees of the axis.
        """
        is_used = self.mask & (self.rays[..., 2] > 0.5)
        v, u = np.nonzero(is_used)
        slopes = self.rays[is_used][:, :2] / self.rays[is_used][:, 2:]
        intrinsics = np.eye(3)
        for row, pixels in enumerate((u, v)):
            equations = np.stack([slopes[:, row], np.ones(len(u))], axis=-1)
            (intrinsics[row, row], intrinsics[row, 2]), *_ = np.linalg.lstsq(equations, pixels)
        return intrinsics

    def directions(self, offsets: Float[ndarray, "n 2"]) -> Axes:
        """Of unit length."""
        x, y, z = np.moveaxis(self._rays(offsets), -1, 0)
        return x, y, z

    def steps(
        self, is_hit: Bool[ndarray, "n h w"], depth: Float[ndarray, " k"]
    ) -> tuple[Float[ndarray, "3 k"], Float[ndarray, "3 k"]]:
        """By the rays half a pixel to either side."""
        n = len(is_hit)
        right, down = (
            np.broadcast_to(step, (n, *step.shape))[is_hit].T * depth for step in self._ray_steps
        )
        return right, down

    @cached_property
    def _ray_steps(self) -> tuple[Float[ndarray, "h w 3"], Float[ndarray, "h w 3"]]:
        left, right, up, down = self._rays(np.array([[-0.5, 0], [0.5, 0], [0, -0.5], [0, 0.5]]))
        return right - left, down - up

    def _rays(self, offsets: Float[ndarray, "n 2"]) -> Float[ndarray, "n h w 3"]:
        cx, cy = self.centre
        x = (np.arange(self.width) + offsets[:, None, :1] - cx) / self.focal
        y = (np.arange(self.height)[:, None] + offsets[:, 1:, None] - cy) / self.focal
        x, y = np.broadcast_arrays(x, y)
        radius = np.hypot(x, y)
        angle = self._angle(radius)
        outwards = np.sin(angle) / np.maximum(radius, 1e-12)
        return np.stack([x * outwards, y * outwards, np.cos(angle)], axis=-1)

    def project(self, points: Float[ndarray, "*b 3"]) -> Float[ndarray, "*b 2"]:
        """Points within the two angles."""
        x, y, z = np.moveaxis(points, -1, 0)
        across = np.hypot(x, y)
        angle = np.arctan2(across, z)
        is_seen = (angle >= self.min_angle) & (angle <= self.max_angle)
        scale = np.where(is_seen, self.focal * self._radius(angle), np.nan)
        scale = scale / np.maximum(across, 1e-12)
        cx, cy = self.centre
        return np.stack([scale * x + cx, scale * y + cy], axis=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fisheye(RoundCamera):
    """Kannala and Brandt's model: r = focal (t + k1 t^3 + k2 t^5 + k3 t^7 + k4 t^9).

    Source: Kannala and Brandt 2006, in OpenCV's form (`cv2.fisheye`).
    """

    coefficients: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def _radius(self, angle: Float[ndarray, "*b"]) -> Float[ndarray, "*b"]:
        return angle * np.polyval((*reversed(self.coefficients), 1.0), angle**2)

    def _angle(self, radius: Float[ndarray, "*b"]) -> Float[ndarray, "*b"]:
        slope = [k * (2 * i + 3) for i, k in reversed(list(enumerate(self.coefficients)))]
        angle = np.minimum(radius, np.pi)
        for _ in range(20):  # Newton's method; three or four steps reach the last digit
            error = self._radius(angle) - radius
            angle = angle - error / np.polyval((*slope, 1.0), angle**2)
        return np.minimum(angle, np.pi)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Catadioptric(RoundCamera):
    """A camera looking into a mirror: the unified model, without distortion.

    A point goes to the unit sphere first and is projected from `offset` behind its centre:
    r = focal sin t / (cos t + offset). An offset of 1 is a parabolic mirror.

    Source: Mei and Rives 2007.
    """

    offset: float = 1.0

    def _radius(self, angle: Float[ndarray, "*b"]) -> Float[ndarray, "*b"]:
        return np.sin(angle) / (np.cos(angle) + self.offset)

    def _angle(self, radius: Float[ndarray, "*b"]) -> Float[ndarray, "*b"]:
        square = radius**2
        root = np.sqrt(1 + (1 - self.offset**2) * square)
        z = (self.offset + root) / (1 + square) - self.offset
        return np.arccos(np.clip(z, -1, 1))


def fisheye_camera(height: int, width: int) -> Fisheye:
    """A fisheye lens that looks forward and sees 180 degrees across the picture's width."""
    lens = Fisheye(
        height=height,
        width=width,
        focal=1.0,
        min_angle=0.0,
        max_angle=np.pi / 2,
        coefficients=(-0.03, 0.003, 0.0, 0.0),
    )
    return dataclasses.replace(lens, focal=width / 2 / float(lens._radius(np.array(np.pi / 2))))


def catadioptric_camera(height: int, width: int) -> Catadioptric:
    """A mirror seen from below, as large as fits: a ring from 35 degrees off the axis to 110.

    Its axis points down when it is mounted (`rig.LOOKING_DOWN`): the ring then shows everything
    around the car, from the ground nearby, inside, to 20 degrees above the horizon, outside.
    """
    lens = Catadioptric(
        height=height,
        width=width,
        focal=1.0,
        min_angle=np.deg2rad(35),
        max_angle=np.deg2rad(110),
        offset=0.95,
    )
    radius = float(lens._radius(np.array(lens.max_angle)))
    return dataclasses.replace(lens, focal=min(height, width) / 2 / radius)


def make_camera(
    model: CameraModel, height: int, width: int, *, focal_ratio: float = 0.58
) -> Camera:
    """The camera of a model; `focal_ratio` is for the pinhole alone."""
    if model == "fisheye":
        return fisheye_camera(height, width)
    if model == "catadioptric":
        return catadioptric_camera(height, width)
    return default_camera(height, width, focal_ratio=focal_ratio)
