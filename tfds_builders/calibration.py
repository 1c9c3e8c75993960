"""The camera of pictures that come without one: intrinsics from a file, numbers, or a guess."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from packnet_jax.camera_limits import LARGEST_PARAMETER, SMALLEST_FOCAL, is_camera
from packnet_jax.errors import ConfigError, DataError
from packnet_jax.untrusted import existing_file, read_arrays, read_json, read_text

GUESSED_FOCAL_RATIO = 0.7
"""`auto`: focal length over the picture's longer side. KITTI has 0.58, phones and webcams 0.6 to
0.9; 0.7 is a view of 71 degrees."""

EXPECTED = (
    "expected fx,fy,cx,cy in pixels of the pictures, 'auto', or a file: KITTI's "
    "calib_cam_to_cam.txt, a .npz with 'intrinsics', or a text or .json file of the 3x3 matrix"
)


@dataclass(frozen=True)
class Calibration:
    """Intrinsics of the pictures as they are read, before any resizing."""

    origin: str
    """Where they are from, in words."""
    K: Float[ndarray, "3 3"] | None
    """None where they are guessed from the size of each picture."""
    setting: str = "--intrinsics"
    """What the user gave them with, for messages."""

    @classmethod
    def parse(cls, text: str, *, setting: str = "--intrinsics") -> Self:
        """What the user says.

        Args:
            text: `fx,fy,cx,cy`, 'auto', or the path of a file; see `EXPECTED`.
            setting: the flag or field that says it.

        Raises:
            ConfigError: it is none of `EXPECTED`.
            DataError: the file holds no intrinsics.
        """
        if text == "auto":
            ratio = GUESSED_FOCAL_RATIO
            return cls(
                f"guessed: fx = fy = {ratio} of the longer side, principal point centred",
                None,
                setting,
            )
        if path := existing_file(text):
            return cls(str(path), _checked(_read(path, setting), path, setting), setting)
        try:
            fx, fy, cx, cy = (float(word) for word in text.split(","))
        except ValueError as error:
            raise ConfigError(
                f"{setting}: given {text[:200]!r}, which is no file; {EXPECTED}"
            ) from error
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        return cls(setting, _checked(K, text, setting), setting)

    def at(self, shape: tuple[int, int]) -> Float[ndarray, "3 3"]:
        """K of a picture of that height and width.

        Raises:
            DataError: the principal point is not in it: they are of another size, or fractions.
        """
        height, width = shape
        if self.K is None:
            focal = GUESSED_FOCAL_RATIO * max(shape)
            return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        cx, cy = self.K[:2, 2]
        if not (1 <= cx <= width - 2 and 1 <= cy <= height - 2):
            raise DataError(
                f"{self.setting}: the principal point ({cx:g}, {cy:g}) of {self.origin} is not "
                f"inside a picture of {width}x{height}; give pixels, at the picture's own size"
            )
        return self.K


def _read(path: Path, setting: str) -> ndarray:
    """The array in the file, of whatever shape."""
    try:
        if path.suffix == ".npz":
            return read_arrays(path, ["intrinsics"])["intrinsics"]
        if path.suffix == ".json":
            document = read_json(path)
            return np.array(
                document["intrinsics"] if isinstance(document, dict) else document, float
            )
        text = read_text(path)
        kitti = re.search(r"^P_rect_02:(.*)$", text, re.MULTILINE)
        if kitti:
            return np.array(kitti[1].split(), float).reshape(3, 4)[:, :3]
        return np.array(text.replace(",", " ").split(), float).reshape(3, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{setting}: {path} holds no intrinsics ({error}); {EXPECTED}") from error


def _checked(K: ndarray, given: Path | str, setting: str) -> Float[ndarray, "3 3"]:
    """K itself, in float64.

    Raises:
        DataError: it is no matrix of intrinsics.
    """
    form = (
        "intrinsics are [[fx, skew, cx], [0, fy, cy], [0, 0, 1]] with positive fx and fy, at least "
        f"{SMALLEST_FOCAL:g} pixels, and numbers below {LARGEST_PARAMETER:g} in size"
    )
    if K.shape != (3, 3):
        raise DataError(f"{setting}: given {given}: an array of shape {K.shape}, but {form}")
    K = K.astype(np.float64)
    if not is_camera(K) or (K[[1, 2, 2, 2], [0, 0, 1, 2]] != [0, 0, 0, 1]).any():
        raise DataError(f"{setting}: given {given}: {K.tolist()}, but {form}")
    return K
