"""The depth that KITTI raw has for a picture: laser scans, and the improved ground truth."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfds_builders.velodyne import project_scan, read_scan

DEPTH_TYPES = ("", "velodyne", "groundtruth")

_PNG_UNITS_PER_METRE = 256
_SMALLEST_WHOLE_PNG = 255


class NotMeasured(ValueError):
    """The data set has no such measurement of this picture; nothing is broken."""


class MeasuredDepth(NamedTuple):
    """A depth map and where it is from."""

    depth: np.ndarray | None
    """Float32 [h, w], metres, 0 where there is none; None if not measured."""

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
) -> MeasuredDepth:
    """The depth of one picture.

    'velodyne' is read from `proj_depth/velodyne` where a map was projected before, and projected
    here from the raw scan where not; the source says which. 'groundtruth' is the improved,
    accumulated depth of KITTI's depth benchmark (Uhrig et al. 2017), put into
    `proj_depth/groundtruth`.

    Args:
        drive: folder of the drive.
        camera: 'image_02' or 'image_03'.
        digits: the frame's number as its files are named.
        depth_type: 'velodyne' or 'groundtruth'.
        image_T_velodyne: see `kitti_files.Camera`.
        shape: height and width of the picture.

    Raises:
        NotMeasured: the improved ground truth, which covers a part of KITTI, leaves it out.
        ValueError: if there is none, or it can not be read; the message says why.
    """
    folder = drive / "proj_depth" / depth_type / camera
    scan = drive / "velodyne_points" / "data" / f"{digits}.bin"
    if depth_type == "groundtruth":
        depth = _read_png(folder / f"{digits}.png")
        source = "groundtruth, improved (proj_depth/groundtruth)"
    elif (folder / f"{digits}.npz").is_file():
        depth = _read_npz(folder / f"{digits}.npz")
        source = "velodyne, one scan (proj_depth/velodyne)"
    elif not scan.is_file():
        raise ValueError(f"there is neither {folder / f'{digits}.npz'} nor {scan}")
    elif image_T_velodyne is None:
        raise ValueError(f"{scan} needs the calibration {drive.parent}/calib_velo_to_cam.txt")
    else:
        depth = project_scan(read_scan(scan), image_T_velodyne, shape)
        source = "velodyne, one scan (projected from velodyne_points)"
    if depth.shape != shape:
        raise ValueError(f"its depth in {folder} has shape {depth.shape}, the picture {shape}")
    return MeasuredDepth(depth, source)


def _read_npz(path: Path) -> np.ndarray:
    try:
        with np.load(path) as arrays:
            return np.squeeze(arrays["velodyne_depth"]).astype(np.float32)
    except Exception as error:  # zip, zlib and numpy each raise their own
        raise ValueError(f"the depth file {path} can not be read: {error}") from error


def _read_png(path: Path) -> np.ndarray:
    """16-bit values in 1/256 metre, 0 where there is no depth.

    Source: packnet-sfm `datasets/kitti_dataset.py: read_png_depth`.
    Differs: no depth is 0 as everywhere, not -1.
    """
    if not path.is_file():
        raise NotMeasured(f"there is no file {path}")
    try:
        with Image.open(path) as image:
            values = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"the depth file {path} can not be read: {error}") from error
    if values.ndim != 2 or values.max() <= _SMALLEST_WHOLE_PNG:
        raise ValueError(
            f"the depth file {path} holds no 16-bit depth in 1/256 metre (its largest value is "
            f"{values.max()})"
        )
    return values.astype(np.float32) / np.float32(_PNG_UNITS_PER_METRE)
