"""Memory of a training step with neural ray surfaces; prints rows of a table.

    python benchmarks/ray_surface_memory.py --batch_sizes=4 --height=96 --width=96
    python benchmarks/ray_surface_memory.py --height=384 --width=384 --compile_only

RaySurfaceResNet 18 and PoseResNet 18, two context images, four scales at full size, half-resolution
projection, Adam. All weights are the same number: memory does not depend on values.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

from packnet_jax.batch import Batch
from packnet_jax.config import LossConfig, ModelConfig, NetworkConfig
from packnet_jax.geometry.ray_surface import dummy_template
from packnet_jax.objectives.ray_surface import ray_surface
from packnet_jax.ray_template import RayTemplate
from packnet_jax.sfm import Networks, predict
from packnet_jax.train.dashboard import memory_gib

BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["4"], "Samples of a step; one row each.")
HEIGHT = flags.DEFINE_integer("height", 96, "Rows; a multiple of 32.")
WIDTH = flags.DEFINE_integer("width", 96, "Columns; a multiple of 32.")
COMPILE_ONLY = flags.DEFINE_bool("compile_only", False, "Plan the memory, run nothing.")


def make_batch(size: int, shape: tuple[int, int]) -> Batch:
    """Noise."""
    rng = np.random.default_rng(0)
    rgb = rng.random((size, *shape, 3), np.float32)
    contexts = rng.random((size, 2, *shape, 3), np.float32)
    return Batch(
        rgb=rgb,
        rgb_original=rgb,
        rgb_context=contexts,
        rgb_context_original=contexts,
        intrinsics=np.tile(np.eye(3, dtype=np.float32), (size, 1, 1)),
        index=np.arange(size, dtype=np.int32),
        valid=np.ones(size, bool),
    )


def main(_: Sequence[str]) -> None:
    """Prints a row per batch size."""
    shape = (HEIGHT.value, WIDTH.value)
    template = RayTemplate(np.asarray(dummy_template(*shape)), np.ones(shape, bool))
    objective = ray_surface(LossConfig(), template)
    networks = Networks.from_config(
        ModelConfig(NetworkConfig("RaySurfaceResNet", "18"), NetworkConfig("PoseResNet", "18")),
        objective.needs,
    )
    optimizer = optax.adam(2e-4)

    def train_step(variables, opt_state, batch):
        def loss(params):
            own = {**variables, "params": params}
            predictions = predict(networks, own, batch, flip=False, needs=objective.needs)
            return objective.measure(predictions, batch, 0.5).total, predictions.batch_stats

        gradients, batch_stats = jax.grad(loss, has_aux=True)(variables["params"])
        updates, opt_state = optimizer.update(gradients, opt_state)
        params = optax.apply_updates(variables["params"], updates)
        return {"params": params, "batch_stats": batch_stats}, opt_state

    shapes = jax.eval_shape(lambda: networks.init(jax.random.key(0), shape, 2))
    print(
        f"RaySurfaceResNet 18 + PoseResNet 18, {shape[0]}x{shape[1]}, "
        f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, jax {jax.__version__}"
    )
    print("| batch | state and batch | temporary, planned | peak of the process | step |")
    print("|---|---|---|---|---|")
    for size in map(int, BATCH_SIZES.value):
        batch = jax.eval_shape(lambda size=size: jax.tree.map(jnp.asarray, make_batch(size, shape)))
        opt_shapes = jax.eval_shape(optimizer.init, shapes["params"])
        jitted = jax.jit(train_step, donate_argnums=(0, 1))
        compiled = jitted.lower(shapes, opt_shapes, batch).compile()
        plan: Any = compiled.memory_analysis()
        held, temporary = plan.argument_size_in_bytes / 2**30, plan.temp_size_in_bytes / 2**30
        peak, seconds = "", ""
        if not COMPILE_ONLY.value:
            variables = jax.tree.map(lambda s: jnp.full(s.shape, 0.01, s.dtype), shapes)
            state = (variables, optimizer.init(variables["params"]))
            batch = jax.tree.map(jnp.asarray, make_batch(size, shape))
            state = jax.block_until_ready(compiled(*state, batch))
            before = time.perf_counter()
            jax.block_until_ready(compiled(*state, batch))
            seconds = f"{time.perf_counter() - before:.2f} s"
            found = memory_gib()
            peak = f"{found.get('device_memory_gib', found['host_memory_gib']):.2f} GiB"
        print(f"| {size} | {held:.2f} GiB | {temporary:.2f} GiB | {peak} | {seconds} |", flush=True)


if __name__ == "__main__":
    app.run(main)
