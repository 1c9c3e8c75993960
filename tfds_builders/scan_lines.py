"""Scan lines of a spinning laser scanner, and which of them stand for a cheaper one.

Lines are numbered from the topmost.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

NUM_LINES = 64
"""Of the Velodyne HDL-64E, KITTI's."""

# Where the lasers of KITTI's HDL-64E sit and look, upper and lower block of 32: metres above the
# scanner's origin, and degrees of the first and the last. Measured on scans whose lines were told
# apart by `find_lines`: each is z = height + distance * tan(elevation), and so found without error.
_HEIGHTS = np.repeat([0.204, 0.121], 32)
_ELEVATIONS = np.concatenate([np.linspace(1.94, -8.71, 32), np.linspace(-9.03, -25.0, 32)])


def kept_lines(num_lines: int, beams: int, *, all_lines: int = NUM_LINES) -> tuple[int, ...]:
    """Every f-th scan line, where f = all_lines / beams, from f / 2 above the lowest up.

    Args:
        num_lines: how many there are; a scan may lack some.
        beams: how many a whole scan would be left with: a proper divisor of `all_lines`.
        all_lines: how many a whole scan has.

    Source: Bartoccioni et al. 2022 (LiDARTouch), `lidar_sparsification.py`.
    """
    if beams < 1 or beams >= all_lines or all_lines % beams:
        raise ValueError(f"{beams} beams are not a proper divisor of {all_lines} scan lines.")
    step = all_lines // beams
    return tuple(range(num_lines - step // 2, -1, -step))


def find_lines(points: Float[ndarray, "n 3"]) -> Int[ndarray, " n"]:
    """The line of each point of a scan, from the order in which the points are stored.

    A line is a turn from ahead (+x) over the left (+y): a new one begins where the azimuth falls
    back by more than half a turn.

    Source: as `kept_lines`.
    """
    azimuth = np.arctan2(points[:, 1].astype(np.float64), points[:, 0]) % (2 * np.pi)
    return np.cumsum(np.diff(azimuth, prepend=azimuth[:1]) < -np.pi)


def lines_by_elevation(points: Float[ndarray, "n 3"]) -> Int[ndarray, " n"]:
    """The line of each point of KITTI's scanner from its place alone: of the nearest elevation."""
    distance = np.hypot(points[:, 0], points[:, 1])[:, None]
    elevation = np.degrees(np.arctan2(points[:, 2:] - _HEIGHTS, distance))
    return np.abs(elevation - _ELEVATIONS).argmin(axis=1)


def keep_beams(points: Float[ndarray, "n 3"], beams: int) -> Float[ndarray, "m 3"]:
    """The points of a scan that a scanner of so many beams would have measured.

    Raises:
        ValueError: if the points are not in the order of scan lines.
    """
    lines = find_lines(points)
    num_lines = int(lines.max(initial=-1)) + 1
    if num_lines > NUM_LINES:
        raise ValueError(
            f"its points form {num_lines} scan lines instead of at most {NUM_LINES}; they are not "
            "in the order in which the scanner measured them"
        )
    return points[np.isin(lines, kept_lines(num_lines, beams))]


def keep_beams_of_map(
    depth: Float[ndarray, "h w"], image_T_velodyne: Float[ndarray, "3 4"], beams: int
) -> Float[ndarray, "h w"]:
    """`keep_beams` for a scan of which only the depth map is left (`velodyne.project_scan`).

    Each pixel's point is taken back to the scanner, which tells its line. On KITTI that gives the
    map of the scan's own lines but for one point in four hundred.
    """
    rows, columns = np.nonzero(depth)
    z = depth[rows, columns].astype(np.float64)
    pixels = np.stack([(columns + 1) * z, (rows + 1) * z, z])  # counted from 1, as projected
    points = np.linalg.solve(image_T_velodyne[:, :3], pixels - image_T_velodyne[:, 3:]).T
    is_kept = np.isin(lines_by_elevation(points), kept_lines(NUM_LINES, beams))
    kept = np.zeros_like(depth)
    kept[rows[is_kept], columns[is_kept]] = depth[rows[is_kept], columns[is_kept]]
    return kept
