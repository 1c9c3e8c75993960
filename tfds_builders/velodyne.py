"""Laser scans of KITTI raw, seen from a camera."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_BYTES_PER_POINT = 16  # x, y, z, reflectance
_MAX_BYTES = 2**28  # a hundred times a scan of KITTI


def read_scan(path: Path) -> Float[ndarray, "n 3"]:
    """Points of a scan, float32, metres, x forward, y left, z up from the scanner.

    Raises:
        ValueError: if the file is absent or not a whole scan; the message says why.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    size = path.stat().st_size
    if size == 0 or size % _BYTES_PER_POINT:
        raise ValueError(
            f"the scan {path} is cut short: {size} bytes are no multiple of {_BYTES_PER_POINT}"
        )
    if size > _MAX_BYTES:
        raise ValueError(f"the scan {path} has {size} bytes; at most {_MAX_BYTES} are read")
    return np.fromfile(path, "<f4").reshape(-1, 4)[:, :3]


def project_scan(
    points: Float[ndarray, "n 3"],
    image_T_velodyne: Float[ndarray, "3 4"],
    shape: tuple[int, int],
) -> Float[ndarray, "h w"]:
    """The depth map that a scan gives in a camera.

    Points behind the scanner (x < 0) or not in front of the camera are left out, then those
    outside the image. A point seen at (u, v) falls into column round(u) - 1 and row round(v) - 1
    (halves to even), since the calibration counts pixels from 1. The nearest one stays.

    Args:
        points: as `read_scan` gives them.
        image_T_velodyne: P_rect R_rect T_velo_cam: homogeneous pixels from points.
        shape: height and width of the picture.

    Returns:
        Float32, metres along z, 0 where no point fell.

    Source: Eigen et al. 2014, in the form of monodepth2's `kitti_utils.py: generate_depth_map`,
    which everybody's KITTI figures rest on. packnet-sfm reads maps that were projected before.
    Differs: there a point beside the scanner but behind the camera would clear its pixel. Such
    points project far outside the image.
    """
    points = points[points[:, 0] >= 0]
    homogeneous = np.concatenate([points, np.ones_like(points[:, :1])], axis=1)
    projected = (image_T_velodyne @ homogeneous.T).T
    projected = projected[projected[:, 2] > 0]
    depth = projected[:, 2]
    columns, rows = np.round(projected[:, :2] / depth[:, None]).T - 1
    is_inside = (columns >= 0) & (columns < shape[1]) & (rows >= 0) & (rows < shape[0])
    rows, columns = rows[is_inside].astype(np.int64), columns[is_inside].astype(np.int64)
    depth = depth[is_inside]
    far_to_near = np.argsort(-depth, kind="stable")
    image = np.zeros(shape, np.float32)
    image[rows[far_to_near], columns[far_to_near]] = depth[far_to_near]
    return image
