"""What makes a frame useless, so that it is listed instead of stored."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from packnet_jax.camera_limits import is_camera
from packnet_jax.untrusted import open_picture


def header_shape(data: bytes) -> tuple[int, int]:
    """Height and width of a picture's file, as it begins.

    Raises:
        ValueError: it is no picture.
    """
    return _shape(data, is_decoded=False)


def picture_shape(image: bytes | ndarray) -> tuple[int, int]:
    """Height and width, once all of a file's picture was decoded.

    Raises:
        ValueError: it can not be.
    """
    return _shape(image, is_decoded=True) if isinstance(image, bytes) else image.shape[:2]


def defect(
    *,
    shape: tuple[int, int],
    intrinsics: Float[ndarray, "3 3"],
    world_T_camera: Float[ndarray, "4 4"] | None,
    depth: Float[ndarray, "h w"] | None,
) -> str | None:
    """Why nothing can be learnt from a frame with a whole picture; None if something can.

    Args:
        shape: height and width of the picture that K is for.
        intrinsics: K; its centre may lie outside the picture (of a crop), but not far.
        world_T_camera: pose; None if unknown.
        depth: None if not measured.
    """
    height, width = shape
    K = np.asarray(intrinsics, np.float64)
    (fx, skew, cx), (_, fy, cy), _ = K.tolist()
    if world_T_camera is not None and not np.isfinite(world_T_camera).all():
        return "its pose holds values that are not finite"
    if depth is not None and not depth.size:
        return f"its depth map has no pixel: its shape is {depth.shape}"
    if not is_camera(K):
        return (
            f"its calibration is of no camera: fx={fx:g}, fy={fy:g}, cx={cx:g}, cy={cy:g}, "
            f"skew={skew:g}"
        )
    if abs(cx - width / 2) > width or abs(cy - height / 2) > height:
        return (
            f"its calibration is not of this picture: cx={cx:g}, cy={cy:g}, but the picture is "
            f"{in_pixels(shape)}"
        )
    return None


def in_pixels(shape: tuple[int, int]) -> str:
    """Height and width in words."""
    return f"{shape[1]} pixels wide and {shape[0]} high"


def _shape(data: bytes, *, is_decoded: bool) -> tuple[int, int]:
    try:
        with open_picture(data) as picture:
            if is_decoded:
                picture.load()
            return picture.height, picture.width
    except ValueError as error:
        raise ValueError(f"the picture can not be decoded: {error}") from error
