"""The depth that KITTI raw has for a picture: laser scans, and the improved ground truth."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from packnet_jax.untrusted import open_picture, read_arrays
from tfds_builders.scan_lines import NUM_LINES, keep_beams, keep_beams_of_map
from tfds_builders.velodyne import project_scan, read_scan

DEPTH_TYPES = ("", "velodyne", "groundtruth")
KEPT_BEAMS = (0, 1, 2, 4, 8, 16, 32)
"""How many of the scanner's beams can be kept; 0 for all."""

_PNG_UNITS_PER_METRE = 256
_SMALLEST_WHOLE_PNG = 255


class NotMeasured(ValueError):
    """The data set has no such measurement of this picture; nothing is broken."""


class MeasuredDepth(NamedTuple):
    """A depth map and where it is from."""

    depth: np.ndarray
    """Float32 [h, w], metres, 0 where there is none."""

    source: str
    """For the protocol of an evaluation."""


def read_depth(
    drive: Path,
    camera: str,
    digits: str,
    depth_type: str,
    *,
    image_T_velodyne: np.ndarray | None,
    shape: tuple[int, int],
    beams: int = 0,
) -> MeasuredDepth:
    """The depth of one picture.

    'velodyne' is read from `proj_depth/velodyne` where a map was projected before, and projected
    here from the raw scan where not; the source says which. 'groundtruth' is the improved,
    accumulated depth of KITTI's depth benchmark (Uhrig et al. 2017), put into
    `proj_depth/groundtruth`.

    With `beams`, 'velodyne' is as if the scanner had only so many: the raw scan is preferred then,
    whose lines are known; of a map they are told by elevation, and the source says that.

    Args:
        drive: folder of the drive.
        camera: 'image_02' or 'image_03'.
        digits: the frame's number as its files are named.
        depth_type: 'velodyne' or 'groundtruth'.
        image_T_velodyne: see `kitti_files.Camera`.
        shape: height and width of the picture.
        beams: a proper divisor of 64, or 0 for all; only of 'velodyne'.

    Raises:
        NotMeasured: the improved ground truth, which covers a part of KITTI, leaves it out.
        ValueError: if there is none, or it can not be read; the message says why.
    """
    folder = drive / "proj_depth" / depth_type / camera
    if depth_type == "groundtruth":
        depth = _read_png(folder / f"{digits}.png")
        measured = MeasuredDepth(depth, "groundtruth, improved (proj_depth/groundtruth)")
    else:
        scan = drive / "velodyne_points" / "data" / f"{digits}.bin"
        measured = _read_velodyne(folder / f"{digits}.npz", scan, image_T_velodyne, shape, beams)
    if measured.depth.shape != shape:
        raise ValueError(
            f"its depth in {folder} has shape {measured.depth.shape}, the picture {shape}"
        )
    return measured


def _read_velodyne(
    projected: Path,
    scan: Path,
    image_T_velodyne: np.ndarray | None,
    shape: tuple[int, int],
    beams: int,
) -> MeasuredDepth:
    """From the map that was projected before or from the scan; see `read_depth`."""
    is_map = projected.is_file() and not (beams and scan.is_file())
    if not is_map and not scan.is_file():
        raise ValueError(f"there is neither {projected} nor {scan}")
    if image_T_velodyne is None and (beams or not is_map):
        calibration = scan.parents[3] / "calib_velo_to_cam.txt"
        raise ValueError(f"{projected if is_map else scan} needs the calibration {calibration}")
    what = f"{beams} of {NUM_LINES} beams" if beams else "one scan"
    if is_map:
        depth = _read_npz(projected, shape)
        if not beams:
            return MeasuredDepth(depth, f"velodyne, {what} (proj_depth/velodyne)")
        assert image_T_velodyne is not None
        depth = keep_beams_of_map(depth, image_T_velodyne, beams)
        return MeasuredDepth(depth, f"velodyne, {what}, by elevation (proj_depth/velodyne)")
    assert image_T_velodyne is not None
    points = read_scan(scan)
    try:
        points = keep_beams(points, beams) if beams else points
    except ValueError as error:
        raise ValueError(f"the scan {scan} can not be thinned out: {error}") from error
    depth = project_scan(points, image_T_velodyne, shape)
    return MeasuredDepth(depth, f"velodyne, {what} (projected from velodyne_points)")


def _read_npz(path: Path, shape: tuple[int, int]) -> np.ndarray:
    try:
        depth = np.squeeze(read_arrays(path, ["velodyne_depth"])["velodyne_depth"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"the depth file {path} can not be read: {error}") from error
    if depth.shape != shape:
        raise ValueError(f"its depth in {path} has shape {depth.shape}, the picture {shape}")
    return depth.astype(np.float32)


def _read_png(path: Path) -> np.ndarray:
    """16-bit values in 1/256 metre, 0 where there is no depth.

    Source: packnet-sfm `datasets/kitti_dataset.py: read_png_depth`.
    Differs: no depth is 0 as everywhere, not -1.
    """
    if not path.is_file():
        raise NotMeasured(f"there is no file {path}")
    try:
        with open_picture(path) as image:
            values = np.asarray(image)
    except ValueError as error:
        raise ValueError(f"the depth file {path} can not be read: {error}") from error
    if values.ndim != 2 or values.max() <= _SMALLEST_WHOLE_PNG:
        raise ValueError(
            f"the depth file {path} holds no 16-bit depth in 1/256 metre (its largest value is "
            f"{values.max()})"
        )
    return values.astype(np.float32) / np.float32(_PNG_UNITS_PER_METRE)
