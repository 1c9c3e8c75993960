"""Files that an evaluation leaves of its pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from packnet_jax.config import SaveDepthConfig
from packnet_jax.data.examples import EvalExample
from packnet_jax.depth_maps import inv_depth_to_depth
from packnet_jax.visualize import (
    colorize_inv_depth,
    stack_picture,
    to_uint8,
    write_depth,
    write_image,
)

Observer = Callable[[EvalExample, np.ndarray], None]
"""Is shown each example with its predicted inverse depth, float32 [h, w]."""


class DepthFiles(NamedTuple):
    """Which files to write of every picture, and where."""

    folder: Path
    checkpoint: str
    """Name of the checkpoint, which keeps apart what several predict."""
    wanted: SaveDepthConfig


def shown_indices(num_examples: int, num_pictures: int) -> list[int]:
    """Which examples pictures are written of: so many, spread over all."""
    return sorted(set(np.linspace(0, max(num_examples - 1, 0), num_pictures).astype(int).tolist()))


def picture_writer(folder: Path, num_examples: int, num_pictures: int) -> Observer:
    """Writes `num_pictures` pictures, spread over the examples, each with its inverse depth."""
    shown = set(shown_indices(num_examples, num_pictures))

    def write(example: EvalExample, inv_depth: np.ndarray) -> None:
        if example.index in shown:
            name = f"{example.index:04d}_{example.name.replace('/', '_')}.png"
            write_image(folder / name, stack_picture(example.rgb, inv_depth))

    return write


def depth_writer(files: DepthFiles, dataset: str, split: str) -> Observer:
    """Writes `<split>_<index>_{rgb.png,viz.png,depth.npz,depth.png}` of every example.

    They go to `<folder>/depth/<dataset>/<checkpoint>/`. Depth has the size that the network works
    at, and is as predicted, without scaling; it is fused with the mirror image's.

    Source: packnet-sfm utils/save.py: save_depth.
    Differs: the intrinsics in the `.npz` are those of the picture as the network sees it.
    """
    folder, wanted = files.folder / "depth" / dataset / files.checkpoint, files.wanted

    def write(example: EvalExample, inv_depth: np.ndarray) -> None:
        name = f"{split}_{example.index:010d}"
        depth = np.asarray(inv_depth_to_depth(jnp.asarray(inv_depth)))
        if wanted.npz:
            write_depth(folder / f"{name}_depth.npz", depth, example.intrinsics)
        if wanted.png:
            write_depth(folder / f"{name}_depth.png", depth)
        if wanted.rgb:
            write_image(folder / f"{name}_rgb.png", to_uint8(example.rgb))
        if wanted.viz:
            write_image(folder / f"{name}_viz.png", to_uint8(colorize_inv_depth(inv_depth)))

    return write
