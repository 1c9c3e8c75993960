"""A page of samples: each target between its neighbours, and its depth."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from packnet_jax.data.index import make_index
from packnet_jax.data.resized import ResizedFrames
from packnet_jax.data.store import FrameStore, Framing
from packnet_jax.data_config import DataConfig
from packnet_jax.visualize import colorize_inv_depth, to_uint8, write_image
from tfds_builders.pictures import CropBorders

NUM_ROWS = 4
CELL_WIDTH = 360
_BORDER, _LINE = 6, 20
_IGNORED = np.array([200, 30, 30], np.float64)
_DOT = np.ones((3, 3), np.uint8)


def write_page(
    path: Path, store: FrameStore, *, data: DataConfig, crop: CropBorders, with_context: bool
) -> None:
    """Writes samples from all over a set, cropped and resized as the networks see them.

    Depth is drawn over the darkened picture, near in bright; what the mask ignores is red.

    Args:
        path: a PNG file.
        store: the frames.
        data: how samples are made.
        crop: what is cut off.
        with_context: whether neighbours are shown, as training needs them.

    Raises:
        DataError: no sample has all its frames.
    """
    index = make_index(
        store,
        back_context=data.back_context if with_context else 0,
        forward_context=data.forward_context if with_context else 0,
        strides=data.strides,
    )
    frames = ResizedFrames(store, Framing(data.image_shape, tuple(crop)), is_kept=False)
    count = len(index.target)
    chosen = sorted(set(np.linspace(0, count - 1, NUM_ROWS + 2).round().astype(int)[1:-1].tolist()))
    rows = []
    for sample in chosen:
        target = int(index.target[sample])
        before = data.back_context if with_context else 0
        records = index.context[sample].tolist()
        records = [*records[:before], target, *records[before:]]
        cells = [
            _cell(
                _with_mask(frames[r].image, frames.mask),
                store[r].name,
                before="target " if r == target else "",
            )
            for r in records
        ]
        if store[target].depth() is not None:
            cells.append(_depth_cell(frames, target))
        rows.append(np.concatenate(cells, axis=1))
    write_image(path, np.concatenate(rows, axis=0))


def _depth_cell(frames: ResizedFrames, record: int) -> np.ndarray:
    image, depth = frames[record].image, frames.depth(record)
    inv_depth = np.where(depth > 0, 1 / np.maximum(depth, 1e-6), 0)
    if (depth > 0).mean() < 0.5:  # single points would not be seen
        inv_depth = cv2.dilate(inv_depth, _DOT)
    colours = to_uint8(colorize_inv_depth(inv_depth, ignore_zeros=True))
    shown = np.where(inv_depth[..., None] > 0, colours, image // 3)
    known = depth[depth > 0]
    extent = f"{known.min():.1f} to {known.max():.1f} m" if known.size else "empty"
    return _cell(_with_mask(shown, frames.mask), f"depth, {extent}")


def _with_mask(image: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    if mask is None:
        return image
    return np.where(mask[..., None], image, (image * 0.4 + _IGNORED * 0.6)).astype(np.uint8)


def _cell(image: np.ndarray, name: str, *, before: str = "") -> np.ndarray:
    """The picture at the page's width, below a line of text: of a long name its end."""
    height = round(image.shape[0] * CELL_WIDTH / image.shape[1])
    resample = Image.Resampling.NEAREST if image.shape[1] < CELL_WIDTH else Image.Resampling.BOX
    cell = Image.new("RGB", (CELL_WIDTH + _BORDER, height + _LINE + _BORDER), "white")
    cell.paste(Image.fromarray(image).resize((CELL_WIDTH, height), resample), (0, _LINE))
    font = ImageFont.load_default(size=13)
    drawing = ImageDraw.Draw(cell)
    short = name
    while drawing.textlength(f"{before}{short}", font=font) > CELL_WIDTH:
        short = f"…{short.lstrip('…')[1:]}"
    drawing.text((2, 1), f"{before}{short}", fill="black", font=font)
    return np.asarray(cell)
