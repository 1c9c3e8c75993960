"""Inverse depth of pictures and of their mirror images, as evaluation runs it."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from packnet_jax.config import ComputeDtype
from packnet_jax.depth_maps import fuse_flipped
from packnet_jax.image import flip_lr
from packnet_jax.sfm import Variables, infer_inv_depth, infer_with_ray_residual


class DepthPair(NamedTuple):
    """Inverse depth at the network's resolution."""

    raw: Float[Array, "b h w 1"]
    fused: Float[Array, "b h w 1"]
    """The mean of the picture's and its mirror image's, taking each side from the better one."""
    ray_residual: Float[Array, "b h w 3"] | None = None
    """Of the picture, from networks that are asked for it."""


@partial(jax.jit, static_argnames=("depth_net", "compute_dtype", "rays", "at_once"))
def predict_pair(
    depth_net: nn.Module,
    variables: Variables,
    rgb: Float[Array, "b h w 3"],
    input_depth: Float[Array, "b h w 1"] | None = None,
    *,
    compute_dtype: ComputeDtype = "float32",
    rays: bool = False,
    at_once: bool | None = None,
) -> DepthPair:
    """Runs the depth network on pictures and on their mirror images.

    Args:
        input_depth: sparse depth beside the pictures, mirrored with them.
        rays: also answer with the ray surface's residual.
        at_once: whether the network sees both as one batch of twice the size, which gives the same
            numbers. None: not on CPU, where it was measured to be slower (docs/benchmarks.md).

    Source: packnet-sfm models/model_wrapper.py: ModelWrapper.evaluate_depth.
    """
    if at_once is None:
        at_once = jax.default_backend() != "cpu"
    alone = partial(infer, depth_net, variables, compute_dtype=compute_dtype, rays=rays)
    images = rgb, input_depth
    mirror_images = jax.tree.map(flip_lr, images)
    if at_once:
        raw, mirrored = _taken_apart(alone(*jax.tree.map(_in_turn, images, mirror_images)))
    else:
        raw, mirrored = alone(*images), alone(*mirror_images)
    fused = fuse_flipped(raw.inv_depth, flip_lr(mirrored.inv_depth), method="mean")
    return DepthPair(raw.inv_depth, fused, raw.ray_residual)


class Inferred(NamedTuple):
    """What the network says of one picture, or of its mirror image."""

    inv_depth: Float[Array, "b h w 1"]
    ray_residual: Float[Array, "b h w 3"] | None


def infer(
    depth_net: nn.Module,
    variables: Variables,
    rgb: Float[Array, "b h w 3"],
    input_depth: Float[Array, "b h w 1"] | None,
    *,
    compute_dtype: ComputeDtype,
    rays: bool,
) -> Inferred:
    """Runs the depth network on pictures alone; see `predict_pair`."""
    if rays:
        found = infer_with_ray_residual(depth_net, variables, rgb, compute_dtype=compute_dtype)
        return Inferred(*found)
    inv_depth = infer_inv_depth(depth_net, variables, rgb, input_depth, compute_dtype=compute_dtype)
    return Inferred(inv_depth, None)


def _in_turn(image: Float[Array, "b h w c"], other: Float[Array, "b h w c"]) -> Array:
    """One of these, then one of those: devices that share a batch keep their own."""
    return jnp.stack([image, other], axis=1).reshape(-1, *image.shape[1:])


def _taken_apart(both: Inferred) -> tuple[Inferred, Inferred]:
    """Undoes `_in_turn`."""
    pairs = jax.tree.map(lambda x: x.reshape(-1, 2, *x.shape[1:]), both)
    return jax.tree.map(lambda x: x[:, 0], pairs), jax.tree.map(lambda x: x[:, 1], pairs)
