"""Renders frames of a street: picture, depth, labels and sparse ranges, all from one ray cast."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from tfds_builders.synthetic_drive import noise
from tfds_builders.synthetic_drive.cameras import Camera, Pinhole
from tfds_builders.synthetic_drive.raycast import (
    NOTHING,
    Hits,
    Rays,
    camera_rays,
    trace,
)
from tfds_builders.synthetic_drive.scene import SKY, VOID, Street, surface_table
from tfds_builders.synthetic_drive.shading import shade


class View(NamedTuple):
    """One frame and its truth."""

    rgb: UInt8[ndarray, "h w 3"]
    depth: Float[ndarray, "h w"]
    """float32, metres at pixel centres, 0 for the sky: along the optical axis of a pinhole camera,
    along the ray of any other."""

    semantics: UInt8[ndarray, "h w"]
    """Positions in `scene.SEMANTIC_NAMES`; `scene.VOID` outside the camera's mask."""


class Renderer:
    """Renders one street; holds what does not change from frame to frame."""

    def __init__(self, street: Street, camera: Camera, *, supersampling: int = 2):
        """Makes the tables.

        Args:
            street: what to render.
            camera: resolution and lens; outside its mask pictures are black and have no depth.
            supersampling: each pixel's colour is the mean of this many rays squared; depth and
                labels always belong to the ray through its centre.
        """
        if supersampling < 1:
            raise ValueError(f"supersampling must be at least 1, but is {supersampling}.")
        self._street = street
        self._camera = camera
        self._table = surface_table(street)
        rng = np.random.Generator(np.random.PCG64([street.seed, *b"lattice"]))
        self._lattice = noise.make_lattice(rng)
        self._directions = camera.directions(_ray_offsets(supersampling))
        self._is_dark = ~camera.mask

    def render(self, world_T_camera: Float[ndarray, "4 4"], frame: int) -> View:
        """Renders what a camera sees at the time of a frame, which places the moving cars."""
        rays = camera_rays(self._directions, world_T_camera)
        hits = trace(self._street, self._camera, world_T_camera, rays, frame)
        coloured = slice(1, None) if len(rays.x) > 1 else slice(None)
        colour = shade(
            self._street,
            self._table,
            self._lattice,
            self._camera,
            world_T_camera,
            Rays(rays.centre, rays.x[coloured], rays.y[coloured], rays.z[coloured]),
            Hits(hits.depth[coloured], hits.surface[coloured]),
            frame,
        )
        surface = hits.surface[0]
        labels = np.where(surface == NOTHING, SKY, self._table.label[surface])
        depth = np.where(surface == NOTHING, 0, hits.depth[0])
        rgb = np.round(255 * colour.mean(axis=0, dtype=np.float64))
        rgb[self._is_dark], depth[self._is_dark], labels[self._is_dark] = 0, 0, VOID
        return View(rgb.astype(np.uint8), depth.astype(np.float32), labels.astype(np.uint8))


def _ray_offsets(supersampling: int) -> Float[ndarray, "n 2"]:
    """The pixel's centre, then (if more than one) the centres of the parts it is divided into."""
    if supersampling == 1:
        return np.zeros((1, 2))
    steps = (np.arange(supersampling) + 0.5) / supersampling - 0.5
    v, u = np.meshgrid(steps, steps, indexing="ij")
    return np.concatenate([np.zeros((1, 2)), np.stack([u.ravel(), v.ravel()], axis=-1)])


def lidar_mask(
    camera: Camera,
    *,
    beams: int = 64,
    kept: Sequence[int] | None = None,
    azimuth_step: float = 0.2,
    elevations: tuple[float, float] = (2.0, -24.8),
    camera_R_scanner: Float[ndarray, "3 3"] | None = None,
) -> Bool[ndarray, "h w"]:
    """Pixels that a spinning laser scanner at the camera's centre would measure.

    Args:
        camera: resolution and lens.
        beams: number of beams, evenly spread over `elevations` (an HDL-64's by default).
        kept: which of them measure, counted from the first; None for all.
        azimuth_step: degrees between measurements of one beam.
        elevations: of the first and the last beam, degrees above the scanner's horizon.
        camera_R_scanner: how the scanner is turned against the camera; None if its axes are the
            camera's.
    """
    elevation = np.deg2rad(np.linspace(*elevations, beams))[:, None]
    elevation = elevation if kept is None else elevation[list(kept)]
    if isinstance(camera, Pinhole) and camera_R_scanner is None:
        azimuth = np.deg2rad(np.arange(-89, 89 + azimuth_step / 2, azimuth_step))
        u = camera.fx * np.tan(azimuth) + camera.cx
        v = camera.cy - camera.fy * np.tan(elevation) / np.cos(azimuth)
        u, v = np.broadcast_arrays(u, v)
    else:
        azimuth = np.deg2rad(np.arange(-180, 180, azimuth_step))
        level = np.cos(elevation)
        x, y, z = level * np.sin(azimuth), -np.sin(elevation), level * np.cos(azimuth)
        scanned = np.stack(np.broadcast_arrays(x, y, z), axis=-1)
        turned = scanned if camera_R_scanner is None else scanned @ camera_R_scanner.T
        pixels = camera.project(turned)
        u, v = pixels[~np.isnan(pixels[..., 0])].T
    column, row = np.round(u).astype(int), np.round(v).astype(int)
    is_inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    mask = np.zeros((camera.height, camera.width), bool)
    mask[row[is_inside], column[is_inside]] = True
    return mask & camera.mask


def lidar_depth(
    depth: Float[ndarray, "h w"],
    mask: Bool[ndarray, "h w"],
    *,
    max_range: float = 120.0,
    noise: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Float[ndarray, "h w"]:
    """Sparse depth: the dense depth where the scanner measures, 0 elsewhere and out of range.

    Args:
        depth: dense depth, metres.
        mask: from `lidar_mask`.
        max_range: greatest depth that returns an echo, metres.
        noise: standard deviation added to the depth, metres; needs `rng` unless 0.
        rng: source of the noise.
    """
    measured = np.where(mask & (depth <= max_range), depth, 0)
    if noise:
        if rng is None:
            raise ValueError("Noise was asked for, but no random generator was given.")
        noisy = np.maximum(measured + noise * rng.normal(size=depth.shape), 0.01)
        measured = np.where(measured > 0, noisy, 0)
    return measured.astype(np.float32)
