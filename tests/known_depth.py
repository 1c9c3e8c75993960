"""Depth networks whose answers are known, and pictures to ask them about."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import tiny
from PIL import Image

from packnet_jax.networks import init_depth_net
from packnet_jax.networks.ray_surface_resnet import RaySurfaceOutput


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


class KnowsOneCamera(nn.Module):
    """Answers with a scene of `KnowsOneScene` and the parameter `residual` [h, w, 3]."""

    def __call__(self, rgb, *, train: bool):
        return self.with_ray_surface(rgb, train=train).inv_depth_pyramid

    @nn.compact
    def with_ray_surface(self, rgb, *, train: bool):
        inv_depth = KnowsOneScene(name="scene")(rgb, train=train)
        residual = self.param("residual", lambda _: jnp.zeros((*rgb.shape[1:3], 3)))
        return RaySurfaceOutput(inv_depth, jnp.broadcast_to(residual, (*rgb.shape[:3], 3)))


def random_picture(seed: int = 0, shape: tuple[int, int] = tiny.SHAPE) -> np.ndarray:
    """Smooth colours without darkness, uint8."""
    coarse = np.random.default_rng(seed).integers(60, 250, (4, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BILINEAR))


def write_picture(path: Path, seed: int = 0, shape: tuple[int, int] = tiny.SHAPE) -> Path:
    """`random_picture` as a file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random_picture(seed, shape)).save(path)
    return path


def with_random_weights(network: nn.Module) -> tuple[nn.Module, dict]:
    """Of the size of `tiny.SHAPE`; the network, and its variables."""
    own = init_depth_net(network, jax.random.key(0), tiny.SHAPE)
    names = ("params", "batch_stats")
    return network, {name: {"depth_net": own.get(name, {})} for name in names}


def as_float(*pictures: np.ndarray) -> np.ndarray:
    """A batch in [0, 1]."""
    return np.stack(pictures).astype(np.float32) / np.float32(255)


def random_depth(batch_size: int) -> np.ndarray:
    """Sparse, [b, h, w, 1]."""
    rng = np.random.default_rng(1)
    depth = rng.uniform(1, 50, (batch_size, *tiny.SHAPE, 1)).astype(np.float32)
    return np.where(rng.random(depth.shape) < 0.2, depth, 0).astype(np.float32)
