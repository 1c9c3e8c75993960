"""The depth that DGP has for a picture: scans of the roof's scanners, seen from the camera."""

from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from packnet_jax.untrusted import read_arrays
from tfds_builders.dgp_files import Sample

DEPTH_TYPES = ("", "lidar")

CACHED = "lidar, one sweep (depth/lidar)"
PROJECTED = "lidar, one sweep (projected from point_cloud)"

_MAX_POINTS = 2**24  # a hundred times a scan of DDAD


def read_depth(
    folder: Path,
    sample: Sample,
    camera: str,
    *,
    intrinsics: Float[ndarray, "3 3"],
    shape: tuple[int, int],
) -> tuple[Float[ndarray, "h w"], str]:
    """LiDAR depth of a picture, and where it is from.

    A map that was projected before is read from `depth/lidar`, where packnet-sfm keeps them; else
    the sample's scan is projected.

    Args:
        folder: of the scene.
        sample: the moment.
        camera: its name in lower case.
        intrinsics: K in pixels of the picture.
        shape: height and width of the picture.

    Returns:
        Float32, metres along z, 0 where there is none; and the source, for a report.

    Raises:
        ValueError: if there is none, or it can not be read; the message says why.
    """
    picture = sample.datum(camera)
    cached = cached_map(folder, picture.filename)
    if cached.is_file():
        values, source = _read_array(cached, "depth"), CACHED
        place = cached
        if values.shape != shape:
            raise ValueError(f"the depth in {cached} has shape {values.shape}, the picture {shape}")
        depth = values.astype(np.float32)
    else:
        scan = sample.datum("lidar")
        place = folder / scan.filename
        if not place.is_file():
            raise ValueError(f"there is neither {cached} nor {place}")
        points = _read_points(place, scan.point_columns)
        camera_T_scanner = np.linalg.inv(picture.world_T_sensor) @ scan.world_T_sensor
        depth = project(points, camera_T_scanner, intrinsics, shape)
        source = PROJECTED
    if not (np.isfinite(depth) & (depth > 0)).any():
        raise ValueError(f"{place} gives the picture no depth at all")
    return depth, source


def cached_map(folder: Path, picture: PurePosixPath) -> Path:
    """Where packnet-sfm keeps the depth of 'rgb/CAMERA/NUMBER.png'."""
    return folder.joinpath("depth", "lidar", *picture.with_suffix(".npz").parts[1:])


def project(
    points: Float[ndarray, "n 3"],
    camera_T_points: Float[ndarray, "4 4"],
    intrinsics: Float[ndarray, "3 3"],
    shape: tuple[int, int],
) -> Float[ndarray, "h w"]:
    """The depth map that points give in a camera.

    A point in front of the camera that is seen at (u, v) falls into column floor(u) and row
    floor(v); of several, the nearest stays.

    Returns:
        Float32, metres along z, 0 where no point fell.

    Source: dgp `utils/camera.py: generate_depth_map`, which the published figures rest on.
    Differs: there the point that comes last in the scan stays, and what falls less than a pixel
    above or left of the picture is drawn into its first row or column.
    """
    seen = points @ camera_T_points[:3, :3].T + camera_T_points[:3, 3]
    seen = seen[seen[:, 2] > 0]
    depth = seen[:, 2]
    columns, rows = np.floor((seen @ intrinsics.T)[:, :2] / depth[:, None]).T
    is_inside = (columns >= 0) & (columns < shape[1]) & (rows >= 0) & (rows < shape[0])
    pixels = rows[is_inside].astype(np.int64), columns[is_inside].astype(np.int64)
    image = np.full(shape, np.inf, np.float32)
    np.minimum.at(image, pixels, depth[is_inside].astype(np.float32))
    return np.where(np.isinf(image), np.float32(0), image)


def _read_points(path: Path, columns: list[int]) -> Float[ndarray, "n 3"]:
    rows = _read_array(path, "data")
    if rows.ndim != 2 or rows.shape[1] <= max(columns):
        raise ValueError(f"the scan {path} has shape {rows.shape}, not a row for each point")
    if len(rows) > _MAX_POINTS:
        raise ValueError(f"the scan {path} has {len(rows)} points; at most {_MAX_POINTS} are read")
    points = rows[:, columns].astype(np.float64)
    return points[np.isfinite(points).all(axis=1)]


def _read_array(path: Path, key: str) -> ndarray:
    try:
        return read_arrays(path, [key])[key]
    except (KeyError, ValueError) as error:
        raise ValueError(f"the file {path} can not be read: {error}") from error
