"""Depth networks whose answers are known, and pictures to ask them about."""

from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import tiny
from PIL import Image


class RedChannelIsInverseDepth(nn.Module):
    """Reads the answer off the picture: every picture has its own, and mirrors mirror it."""

    def __call__(self, rgb, *, train: bool):
        del train
        return (rgb[..., :1],) * 4


class KnowsOneScene(nn.Module):
    """Answers with the parameter `inv_depth` [h, w, 1], whatever the picture."""

    @nn.compact
    def __call__(self, rgb, *, train: bool):
        del train
        inv_depth = self.param("inv_depth", lambda _: jnp.zeros((*rgb.shape[1:3], 1)))
        return (jnp.broadcast_to(inv_depth, (*rgb.shape[:3], 1)),) * 4


def random_picture(seed: int = 0, shape: tuple[int, int] = tiny.SHAPE) -> np.ndarray:
    """Smooth colours without darkness, uint8."""
    coarse = np.random.default_rng(seed).integers(60, 250, (4, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BILINEAR))


def write_picture(path: Path, seed: int = 0, shape: tuple[int, int] = tiny.SHAPE) -> Path:
    """`random_picture` as a file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random_picture(seed, shape)).save(path)
    return path
