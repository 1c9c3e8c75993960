"""Host-side changes of single frames, in numpy and OpenCV; pictures: `tfds_builders.pictures`."""

import cv2
import numpy as np

from tfds_builders.pictures import crop_box, resize_image

__all__ = [
    "crop_box",
    "resize_depth",
    "resize_depth_nearest",
    "resize_image",
    "resize_intrinsics",
    "resize_mask",
    "sparsify",
    "to_float",
]


def resize_intrinsics(
    intrinsics: np.ndarray, from_shape: tuple[int, int], to_shape: tuple[int, int]
) -> np.ndarray:
    """Scales K [3, 3] with the picture: the first two rows times width and height ratio.

    Source: packnet-sfm `datasets/augmentations.py: resize_sample_image_and_intrinsics`.
    """
    (from_height, from_width), (to_height, to_width) = from_shape, to_shape
    return intrinsics * np.array([[to_width / from_width], [to_height / from_height], [1.0]])


def resize_depth(depth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resizes depth [h, w] to `shape`, moving every valid point instead of interpolating.

    The point at (row, column) goes to (floor(row h'/h), floor(column w'/w)). Where several meet,
    the last in row-major order stays.

    Returns:
        float32 [h', w'], 0 where no point fell.

    Source: packnet-sfm `datasets/augmentations.py: resize_depth_preserve`.
    """
    rows, columns = np.nonzero(depth > 0)
    resized = np.zeros(shape, np.float32)
    new_rows = (rows * (shape[0] / depth.shape[0])).astype(np.int64)
    new_columns = (columns * (shape[1] / depth.shape[1])).astype(np.int64)
    is_inside = (new_rows < shape[0]) & (new_columns < shape[1])  # rounding may step outside
    resized[new_rows[is_inside], new_columns[is_inside]] = depth[rows, columns][is_inside]
    return resized


def resize_depth_nearest(depth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resizes depth [h, w] to `shape` by taking the nearest pixel to the upper left, valid or not.

    Most points of a sparse map are lost. The original prepares the depth that completion networks
    take as input this way for its test split, but as `resize_depth` for its validation split.

    Returns:
        float32 [h', w'].

    Source: packnet-sfm `datasets/augmentations.py: resize_depth`.
    """
    height, width = shape
    return cv2.resize(depth.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)


def sparsify(depth: np.ndarray, keep: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Keeps a random part of a depth map's points, so that a network learns to do with fewer.

    Args:
        depth: [h, w], metres, 0 where there is none.
        keep: range of the share of points that is kept, each with that probability; the share is
            drawn once for the map. (1, 1) keeps all and draws nothing.
        rng: the only source of randomness.

    Returns:
        float32 [h, w].
    """
    low, high = keep
    if not 0 <= low <= high <= 1:
        raise ValueError(f"The kept share is 0 <= lowest <= highest <= 1, but this is {keep}.")
    if low == 1:
        return depth.astype(np.float32)
    share = rng.uniform(low, high)
    return np.where(rng.random(depth.shape) < share, depth, 0).astype(np.float32)


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resizes bool [h, w] to `shape`; each pixel is that of the nearest centre, as in pictures."""
    height, width = shape
    resized = cv2.resize(
        mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
    )
    return resized > 0


def to_float(image: np.ndarray) -> np.ndarray:
    """uint8 to float32 in [0, 1]."""
    return image.astype(np.float32) / np.float32(255)
