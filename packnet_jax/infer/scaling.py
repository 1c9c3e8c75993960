"""What depth is measured in: `--scale`.

A network trained on video alone knows depth up to one factor, which nothing in the picture tells.
Each way to find the factor makes metres of it; without one, outputs say that they are up to scale.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from packnet_jax.errors import ConfigError, DataError
from packnet_jax.geometry.ground import fit_ground_plane
from packnet_jax.infer.prediction import Prediction
from packnet_jax.visualize import read_depth

METRES, UP_TO_SCALE = "metres", "up to scale"
DEPTH_SUFFIXES = (".npz", ".png")


class Scaling(Protocol):
    """Finds the factor of each picture."""

    unit: str
    """Of the depth that is written: `METRES` or `UP_TO_SCALE`."""

    @property
    def origin(self) -> str:
        """Where the factor is from, in words."""
        ...

    def factor(self, prediction: Prediction) -> float:
        """What the network's depth is multiplied with.

        Raises:
            DataError: this picture does not tell.
        """
        ...


@dataclass(frozen=True)
class AsPredicted:
    """`none`: the network's own depth."""

    unit = UP_TO_SCALE
    origin = "as the network predicts"

    def factor(self, prediction: Prediction) -> float:
        """1."""
        del prediction
        return 1.0


@dataclass(frozen=True)
class GivenFactor:
    """A number that the user has measured; 1 for a network that was trained to predict metres."""

    value: float
    unit = METRES
    origin = "given"

    def factor(self, prediction: Prediction) -> float:
        """The number, whatever the picture."""
        del prediction
        return self.value


@dataclass(frozen=True)
class GroundTruthMedian:
    """`median`: each picture's depth gets the median of its ground truth, as in evaluation.

    The ratio is that of the `*_gt` modes: of the (lower) medians over all pixels that have ground
    truth, at its resolution.
    """

    folder: Path
    unit = METRES
    origin = "ratio to the ground truth's median"

    def candidates(self, name: Path) -> list[Path]:
        """Where the ground truth of a picture may be."""
        return [(self.folder / name).with_suffix(suffix) for suffix in DEPTH_SUFFIXES]

    def factor(self, prediction: Prediction) -> float:
        """The ratio of medians."""
        from packnet_jax.infer.median import median_ratio  # jax: --scale is parsed without it

        path = next(filter(Path.is_file, self.candidates(prediction.name)), None)
        if path is None:
            raise DataError(f"no ground truth of that name in {self.folder}")
        truth = np.asarray(read_depth(path), np.float32)
        ratio, num_valid = median_ratio(prediction.depth, truth)
        if not num_valid:
            raise DataError(f"{path}: no pixel has a depth, so it can not tell the scale")
        return float(ratio)


@dataclass(frozen=True)
class CameraHeight:
    """`camera_height=H`: the ground plane in the depth map lies H metres below the camera."""

    metres: float
    unit = METRES

    @property
    def origin(self) -> str:
        """Names the height."""
        return f"camera {self.metres:g} m above the ground"

    def factor(self, prediction: Prediction) -> float:
        """The true height over the height in the depth map."""
        if prediction.K is None:
            raise ConfigError("--scale=camera_height needs --intrinsics")
        plane = fit_ground_plane(prediction.depth, prediction.K)
        if plane is None:
            raise DataError(
                "no ground plane in the lower middle of its depth, so "
                f"--scale=camera_height={self.metres:g} can not tell its scale"
            )
        return self.metres / plane.height


def parse_scale(text: str, *, gt_folder: Path | None = None) -> Scaling:
    """What `--scale` and `--gt_folder` say.

    Raises:
        ConfigError: it is something else, or one is missing.
    """
    if (text == "median") != (gt_folder is not None):
        raise ConfigError(
            "--scale=median and --gt_folder=DIR go together: the median is that of ground truth, "
            "files of the pictures' names; without ground truth take camera_height or a factor"
        )
    if gt_folder is not None:
        if not gt_folder.is_dir():
            raise DataError(f"--gt_folder: there is no folder {gt_folder}")
        return GroundTruthMedian(gt_folder)
    if text == "none":
        return AsPredicted()
    kind, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if value > 0 and math.isfinite(value) and kind in ("", "camera_height"):
        return CameraHeight(value) if kind else GivenFactor(value)
    raise ConfigError(
        f"--scale: given {text!r}, expected none, median, a positive factor, or "
        "camera_height=METRES, such as camera_height=1.65"
    )


def check_partners(scaling: Scaling, names: Sequence[Path]) -> None:
    """Raises unless some picture has what `scaling` reads besides it.

    Args:
        names: of the pictures; () for videos and cameras.

    Raises:
        ConfigError: frames of videos and cameras can not have it.
        DataError: no picture has it.
    """
    if not isinstance(scaling, GroundTruthMedian):
        return
    if not names:
        raise ConfigError("--scale=median: frames of videos and cameras have no ground truth")
    if not any(candidate.is_file() for name in names for candidate in scaling.candidates(name)):
        raise DataError(
            f"--gt_folder: {scaling.folder} has ground truth for none of {len(names)} pictures; "
            f"that of {names[0]} would be {' or '.join(map(str, scaling.candidates(names[0])))}"
        )
