"""Templates: making them from a camera model, writing and reading them."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from packnet_jax.errors import DataError
from packnet_jax.geometry.camera_models import CameraModel
from packnet_jax.untrusted import read_arrays
from packnet_jax.visualize import write_atomically

ENTRIES = ("rays", "ray_template")
"""Names under which an .npz holds the rays."""
UNIT_TOLERANCE = 1e-3
RUN_TEMPLATE = "ray_template.npz"
"""What training leaves in its workdir: the rays that it started from."""
HOW_TO_MAKE = "make one with `python -m packnet_jax.ray_template`"


class RayTemplate(NamedTuple):
    """The direction of every pixel, and which pixels have one."""

    rays: Float[ndarray, "h w 3"]
    """Unit vectors in the camera frame, float32."""
    valid: Bool[ndarray, "h w"]
    """False for pixels that see nothing, such as those around a mirror's disc."""


class Box(NamedTuple):
    """A part of a picture, in pixels; right and bottom lie just outside."""

    left: int
    top: int
    right: int
    bottom: int


def make_template(
    model: CameraModel,
    image_shape: tuple[int, int],
    *,
    crop: Box,
    max_angle: float = np.pi,
) -> RayTemplate:
    """The template of calibrated pictures that are cropped, then resized about their outer edges.

    Args:
        image_shape: height and width after resizing.
        crop: the part of the calibrated picture that is resized.
        max_angle: pixels that look farther from the optical axis, in radians, are not valid.
    """
    height, width = image_shape
    u = (np.arange(width) + 0.5) * (crop.right - crop.left) / width - 0.5 + crop.left
    v = (np.arange(height) + 0.5) * (crop.bottom - crop.top) / height - 0.5 + crop.top
    directions, valid = model.unproject(np.stack(np.meshgrid(u, v), axis=-1))
    valid = valid & (directions[..., 2] >= np.cos(max_angle))
    return RayTemplate(directions.astype(np.float32), valid)


def save_template(path: Path, template: RayTemplate) -> None:
    """Writes `.npz` with `rays` [1, 3, H, W], as the original has them, and `valid` [H, W].

    Raises:
        DataError: the path does not end in .npz.
    """
    if path.suffix != ".npz":
        raise DataError(f"{path}: templates are written as .npz, not {path.suffix!r}")
    buffer = io.BytesIO()
    rays = np.moveaxis(template.rays, -1, 0)[None]
    np.savez_compressed(buffer, rays=rays, valid=template.valid)
    write_atomically(path, buffer.getvalue())


def load_template(path: Path, image_shape: tuple[int, int] | None = None) -> RayTemplate:
    """Reads `.npy` or `.npz` with unit vectors [1, 3, H, W], rows first.

    Args:
        image_shape: what height and width have to be.

    Raises:
        DataError: the file can not be read, or holds something else.

    Source: packnet-sfm losses/generic_multiview_photometric_loss.py, which reads
        omnicam_ray_template.npy from the working folder.
    """
    rays, valid = _read(path)
    if rays.dtype.kind != "f":
        raise _refusal(path, f"its rays are {rays.dtype}, expected float32")
    if rays.ndim != 4 or rays.shape[:2] != (1, 3):
        raise _refusal(path, f"its rays have shape {list(rays.shape)}, expected [1, 3, H, W]")
    shape = rays.shape[2:]
    if image_shape is not None and shape != tuple(image_shape):
        raise _refusal(path, f"it is {_size(shape)}, the images are {_size(image_shape)}")
    if not np.isfinite(rays).all():
        raise _refusal(path, f"{int((~np.isfinite(rays)).sum())} of its numbers are not finite")
    lengths = np.linalg.norm(rays.astype(np.float64), axis=1)
    if np.abs(lengths - 1).max() > UNIT_TOLERANCE:
        raise _refusal(
            path, f"its rays have lengths {lengths.min():.4g} to {lengths.max():.4g}, expected 1"
        )
    if valid is None:
        valid = np.ones(shape, bool)
    if valid.shape != shape or valid.dtype != bool:
        raise _refusal(
            path, f"'valid' is {valid.dtype} {list(valid.shape)}, expected bool {list(shape)}"
        )
    return RayTemplate(np.moveaxis(rays[0], 0, -1).astype(np.float32), valid)


def _read(path: Path) -> tuple[ndarray, ndarray | None]:
    """The rays of whatever shape, and `valid` where the file has it."""
    try:
        found = read_arrays(path, [*ENTRIES, "valid"])
    except ValueError as error:
        raise _refusal(path, f"it can not be read ({error})") from error
    names = [name for name in ("", *ENTRIES) if name in found]
    if len(names) != 1:
        held = " and ".join(map(repr, names)) or "no array of that name"
        raise _refusal(path, f"it holds {held}, expected 'rays'")
    return found[names[0]], found.get("valid")


def _refusal(path: Path, problem: str) -> DataError:
    return DataError(f"{path} is no ray template: {problem}; {HOW_TO_MAKE}")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} high and {shape[1]} wide"
