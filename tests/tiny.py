"""Networks and data so small that a training step compiles in seconds."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from frame_stores import memory_store
from jax import lax

from packnet_jax import config as config_lib
from packnet_jax.batch import Batch
from packnet_jax.config import Config
from packnet_jax.data.examples import EvalPipeline
from packnet_jax.data.open import DataSets, EvalSet
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.loss_config import Needs
from packnet_jax.networks.norm import BatchNorm
from packnet_jax.networks.packnet_san import CompletionOutput
from packnet_jax.networks.ray_surface_resnet import RaySurfaceOutput
from packnet_jax.sfm import Networks

SHAPE = (32, 64)


class TinyDepthNet(nn.Module):
    """Four scales in a handful of weights, normalised over the batch or per sample."""

    norm: str = "batch"
    dropout: float = 0.0
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, rgb, *, train: bool):
        x = nn.Conv(4, (3, 3), use_bias=False, name="conv")(rgb)
        if self.norm == "batch":
            x = BatchNorm(groups=self.batch_norm_groups, name="norm")(x, train=train)
        else:
            x = nn.GroupNorm(2, use_fast_variance=False, name="norm")(x)
        x = nn.Dropout(self.dropout, broadcast_dims=(1, 2))(nn.elu(x), deterministic=not train)
        maps = []
        for i in range(4):
            logits = nn.Conv(1, (3, 3), name=f"inv_depth_{i}")(x)
            maps.append(0.01 + nn.sigmoid(logits))
            x = nn.avg_pool(x, (2, 2), (2, 2))
        return tuple(maps)


class TinyPoseNet(nn.Module):
    """Small motions from the mean colours of a strided convolution."""

    @nn.compact
    def __call__(self, rgb, rgb_context, *, train: bool):
        n = rgb_context.shape[1]
        frames = jnp.concatenate([rgb, *jnp.unstack(rgb_context, axis=1)], axis=-1)
        x = nn.elu(nn.Conv(4, (5, 5), (4, 4), name="conv")(frames)).mean((1, 2))
        return 0.01 * nn.Dense(6 * n, name="pose")(x).reshape(-1, n, 6)


class TinyCompletionNet(nn.Module):
    """Depth from a picture, and from a picture with sparse depth, as PackNetSAN01 has it."""

    def setup(self):
        self.encoder = nn.Conv(4, (3, 3))
        self.sparse_encoder = nn.Conv(4, (3, 3))
        self.heads = [nn.Conv(1, (3, 3)) for _ in range(4)]

    def __call__(self, rgb, input_depth=None, *, train: bool):
        if input_depth is None and self.is_initializing():
            input_depth = jnp.zeros_like(rgb[..., :1])
        features = self.encoder(rgb)
        if input_depth is not None:
            features = features + self.sparse_encoder(input_depth / 80)
        return self._decode(features)

    def with_and_without_depth(self, rgb, input_depth, *, train: bool):
        alone = self.encoder(rgb)
        both = alone + self.sparse_encoder(input_depth / 80)
        depth_loss = jnp.mean((lax.stop_gradient(both) - alone) ** 2)
        return CompletionOutput(self._decode(alone), self._decode(both), depth_loss)

    def _decode(self, x):
        maps = []
        for head in self.heads:
            maps.append(0.01 + nn.sigmoid(head(nn.elu(x))))
            x = nn.avg_pool(x, (2, 2), (2, 2))
        return tuple(maps)


class TinyRayNet(nn.Module):
    """Depth and a ray surface, as RaySurfaceResNet has them."""

    def __call__(self, rgb, *, train: bool):
        return self.with_ray_surface(rgb, train=train).inv_depth_pyramid

    @nn.compact
    def with_ray_surface(self, rgb, *, train: bool):
        pyramid = TinyDepthNet("group", name="depth")(rgb, train=train)
        return RaySurfaceOutput(pyramid, nn.tanh(nn.Conv(3, (3, 3), name="rays")(rgb)))


NETWORKS = Networks(TinyDepthNet(), TinyPoseNet())


def networks_for(needs: Needs) -> Networks:
    """The smallest that can do what an objective needs; normalised per sample."""
    depth_net = TinyDepthNet("group")
    if needs.input_depth:
        depth_net = TinyCompletionNet()
    elif needs.ray_surface:
        depth_net = TinyRayNet()
    return Networks(depth_net, TinyPoseNet() if needs.motion else None)


def config(**train_fields: Any) -> Config:
    """A configuration for the tiny networks; keywords are fields of `train`."""
    raw = config_lib.default()
    raw.data.name, raw.data.depth_type = "synthetic_drive", "dense"
    raw.data.split, raw.data.eval_split = "train", "test"
    raw.data.image_shape = SHAPE
    raw.eval.crop = ""
    raw.loss.num_scales = 2  # four take twice as long to compile
    raw.train.batch_size = 4
    raw.train.num_steps = 4
    for name, value in train_fields.items():
        raw.train[name] = value
    return config_lib.resolve(raw)


def data_sets(config: Config, rows: Sequence[int] | None = None) -> DataSets:
    """Seven random frames from memory; of training batches these rows."""
    store = memory_store()
    train = TrainPipeline(
        store,
        image_shape=SHAPE,
        batch_size=config.train.batch_size,
        jittering=(0.2, 0.2, 0.2, 0.05),
        num_threads=1,
        prefetch=1,
        rows=rows,
    )
    examples = EvalPipeline(store, image_shape=SHAPE, num_threads=0)
    return DataSets(
        train=train,
        train_examples=(examples,),
        train_name="memory-train",
        evaluations=(EvalSet(examples, "memory-test", "test"),),
        num_context=2,
    )


def random_batch(batch_size: int = 4, dtype=np.float32) -> Batch:
    """Smooth random frames whose contexts are shifted copies."""
    rng = np.random.default_rng(0)
    coarse = rng.random((batch_size, 8, 16, 3))
    wide = np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2) + 0.1 * rng.random(
        (batch_size, *SHAPE, 3)
    )
    rgb = np.clip(wide / 1.1, 0, 1).astype(dtype)
    context = np.stack([np.roll(rgb, 2, axis=2), np.roll(rgb, -2, axis=2)], axis=1)
    K = np.array([[40.0, 0, 31.5], [0, 40.0, 15.5], [0, 0, 1]], dtype)
    return Batch(
        rgb=rgb,
        rgb_original=rgb,
        rgb_context=context,
        rgb_context_original=context,
        intrinsics=np.broadcast_to(K, (batch_size, 3, 3)),
        index=np.arange(batch_size, dtype=np.int32),
        valid=np.ones(batch_size, bool),
    )
