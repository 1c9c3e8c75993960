"""Folders of frames and videos, as a user has them."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SHAPE = (48, 80)


def picture(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """A window on a wide, smooth pattern, 3 pixels further to the right for each seed."""
    wide = np.random.default_rng(0).integers(0, 256, (6, 64, 3), dtype=np.uint8)
    height, width = shape
    texture = cv2.resize(wide, (64 * 16, height), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(texture[:, 3 * seed : 3 * seed + width])


def write_pictures(folder: Path, names: list[str], shape: tuple[int, int] = SHAPE) -> Path:
    """Pictures with seeds 0, 1, ... in the order of the names."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(seed, shape)).save(folder / name)
    return folder


def numbered(count: int, suffix: str = ".png") -> list[str]:
    return [f"frame{i}{suffix}" for i in range(count)]


def write_video(path: Path, count: int, shape: tuple[int, int] = SHAPE) -> Path:
    """A video of the pictures with seeds 0, 1, ..."""
    codec = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), codec, 10, shape[::-1])
    assert writer.isOpened()
    for seed in range(count):
        writer.write(cv2.cvtColor(picture(seed, shape), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def cut_off(path: Path, share: float) -> Path:
    """Leaves the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def write_mask(path: Path, shape: tuple[int, int] = SHAPE, *, ignored_rows: int = 12) -> Path:
    """White but for the lowest rows."""
    mask = np.full(shape, 255, np.uint8)
    mask[shape[0] - ignored_rows :] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)
    return path
