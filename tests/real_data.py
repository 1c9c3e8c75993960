"""Where tests find real frames, which are not ours to ship."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "PACKNET_JAX_TEST_DATA"
REFERENCE_VARIABLE = "PACKNET_JAX_TEST_REFERENCE"


def kitti_tiny() -> Path:
    """The folder of KITTI_tiny; skips the test where it is missing."""
    return _existing("kitti_tiny/KITTI_tiny", "KITTI_tiny")


def kitti_mini() -> Path:
    """The folder of kitti_mini (a drive with raw scans); skips the test where it is missing."""
    return _existing("kitti_mini", "kitti_mini")


def kitti_odometry() -> Path:
    """51 grey frames of the odometry sequence 06; skips the test where they are missing."""
    return _existing("kitti_odom_gray", "odometry sequence")


def omni_catadioptric() -> Path:
    """The folder of stills through a mirror, calibrated; skips the test where it is missing."""
    return _existing("omni_catadioptric", "catadioptric stills")


def ocam_calibration() -> Path:
    """OCamCalib's calibration of a fisheye; skips the test where it is missing."""
    return _existing("omni_fisheye/ocam_scaramuzza/calib_results_fisheye.txt", "OCamCalib file")


def ddad_tiny() -> Path:
    """The folder of DDAD_tiny (five samples, projected depth); skips the test where missing."""
    return _existing("dgp_mini/DDAD_tiny", "DDAD_tiny")


def dgp_scenes() -> Path:
    """The folder of DGP's own test scenes (with scans); skips the test where it is missing."""
    return _existing("dgp_mini/test_scene", "test scenes of DGP")


def splits() -> Path:
    """The folder of published lists of KITTI frames; skips the test where it is missing."""
    return _existing("splits", "published splits")


def end_to_end(name: str) -> Any:
    """A JSON result of the original on real frames; skips the test where it is missing."""
    return json.loads(end_to_end_file(name).read_text())


def end_to_end_file(name: str) -> Path:
    """A result of the original on real frames; skips the test where it is missing.

    They are in the folder that `PACKNET_JAX_TEST_REFERENCE` names, else in `reference` beside the
    real frames.
    """
    if REFERENCE_VARIABLE in os.environ:
        return _existing(f"end_to_end/{name}", "results of the original", REFERENCE_VARIABLE)
    return _existing(f"../reference/end_to_end/{name}", "results of the original")


def _existing(path: str, what: str, variable: str = VARIABLE) -> Path:
    root = os.environ.get(variable)
    if not root:
        pytest.skip(f"{variable} is not set: {what} can not be had without real frames")
    found = Path(root) / path
    if not found.exists():
        pytest.skip(f"{found} is missing: no {what}")
    return found
