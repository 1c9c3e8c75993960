"""Pictures as a network gets them: decoded, cropped, resized. Builders and readers share this."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from packnet_jax.errors import DataError
from packnet_jax.untrusted import check_png_chunks, open_picture

CropBorders = tuple[int | float, ...]
"""See `crop_box`; () keeps the whole picture."""

_THUMBNAIL_WIDTH = 64


class Box(NamedTuple):
    """A part of a picture, in whole pixels; the last row and column are outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def cut(self, array: np.ndarray) -> np.ndarray:
        """That part of [h, w, ...]."""
        return array[self.top : self.bottom, self.left : self.right]

    def shift_intrinsics(self, intrinsics: np.ndarray) -> np.ndarray:
        """K [3, 3] of that part.

        Source: packnet-sfm `datasets/augmentations.py: crop_intrinsics`.
        """
        shifted = intrinsics.copy()
        shifted[:2, 2] -= self.left, self.top
        return shifted


def crop_box(borders: Sequence[int | float], shape: tuple[int, int]) -> Box:
    """What crop borders keep of a picture.

    Args:
        borders: one of

            - (): everything;
            - (y, height, x, width): integers for y and x are the first row and column, counted
              from the far side if negative; a height or width of 0 or less is measured from the
              far side, too. A float y or x is the crop's centre as a fraction of the picture.
              (-352, 0, 0.5, 1216) keeps the lowest 352 rows and the middle 1216 columns;
            - (y, x), integers: cut off so much on the top and left, or, if negative, on the bottom
              and right.
        shape: height and width of the picture.

    Raises:
        DataError: the borders are malformed or leave the picture.

    Source: packnet-sfm `utils/misc.py: parse_crop_borders`.
    Differs: two values must be integers. There, a float x makes both centres of itself, and the
        side of a square of y, which nobody can mean. Heights and widths must be integers.
    """
    height, width = shape
    if not borders:
        return Box(0, 0, width, height)
    sizes = borders[1::2] if len(borders) == 4 else borders
    if len(borders) not in (2, 4) or any(type(value) is not int for value in sizes):
        raise DataError(
            f"Crop borders {tuple(borders)} are neither (), nor (y, height, x, width) with integer "
            "height and width, nor (y, x) with integers."
        )
    centres = [value for value in borders if isinstance(value, float)]
    if not all(-1 < value < 2 for value in centres) or not all(abs(v) < 2**31 for v in borders):
        raise DataError(
            f"Crop borders {tuple(borders)} lead out of every picture: a float is the crop's "
            "centre as a fraction of the picture, an integer a number of pixels."
        )
    if len(borders) == 2:
        y, x = borders
        box = Box(int(max(0, x)), int(max(0, y)), int(width + min(0, x)), int(height + min(0, y)))
    else:
        (top, bottom), (left, right) = (
            _interval(start, int(length), size)
            for start, length, size in zip(borders[::2], borders[1::2], shape, strict=True)
        )
        box = Box(left, top, right, bottom)
    if not (0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height):
        raise DataError(
            f"Crop borders {tuple(borders)} ask for columns {box.left} to {box.right} and rows "
            f"{box.top} to {box.bottom} of a picture of {height} rows and {width} columns; give "
            "borders within it: (y, height, x, width)."
        )
    return box


def _interval(start: int | float, length: int, size: int) -> tuple[int, int]:
    """First and end along one axis."""
    if isinstance(start, float):  # truncated towards 0, as the original does
        return int(start * size - length / 2), int(start * size + length / 2)
    first = start + size if start < 0 else start
    return first, length + (first if length > 0 else size)


def decode_image(data: bytes) -> np.ndarray:
    """A PNG, JPEG or BMP file as uint8 [h, w, 3]; grey ones are repeated over the channels.

    Raises:
        ValueError: if it is not a whole picture, or too large.
    """
    try:
        check_png_chunks(data)  # what it declares, before anything is decoded
        with open_picture(data):
            pass
    except ValueError as error:
        raise ValueError(f"it is not a whole picture: {error}") from error
    # The same pixels as Pillow's, in two thirds of the time.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"it can not be decoded: {error.err}") from error
    if image is None:
        raise ValueError("it is not a whole picture")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encode_bmp(image: np.ndarray) -> bytes:
    """uint8 [h, w, 3] as a BMP file: pixels as they are, which costs next to nothing to decode."""
    encoded, data = cv2.imencode(".bmp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise ValueError(f"OpenCV makes no BMP file of an array of shape {image.shape}")
    return data.tobytes()


def grey_thumbnail(image: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3] in grey levels at a width of 64, where the noise of single pixels is gone."""
    height = round(_THUMBNAIL_WIDTH * image.shape[0] / image.shape[1])
    height = min(max(height, 1), image.shape[0] + _THUMBNAIL_WIDTH)  # of a picture one pixel wide
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Of two thumbnails, in levels of 0 to 255; how much a camera has moved between them."""
    return float(np.abs(a - b).mean())


def resize_image(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resizes uint8 [h, w, 3] to `shape` (height, width) with a Lanczos filter.

    Across first, then down, each rounded to uint8. Pillow's own order of the two has changed
    between its versions, so each is asked for alone.

    Source: packnet-sfm `datasets/augmentations.py: resize_image`.
    """
    height, width = shape
    resized = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.LANCZOS)
    return np.asarray(resized.resize((width, height), Image.Resampling.LANCZOS))
