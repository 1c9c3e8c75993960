"""Times PackNetSAN01 from the image alone beside image and sparse depth; prints rows of a table.

    python benchmarks/completion_time.py --height=352 --width=1216

Evaluation is one pass of either kind. Training is what its objective needs: gradients of the pass
from the image alone, and of both passes with their feature matching. Weights are random, as is the
depth: neither time nor memory depends on the values, nor on how many sites are occupied.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from packnet_jax.networks import make_depth_net
from packnet_jax.train.dashboard import memory_gib

HEIGHT = flags.DEFINE_integer("height", 352, "Rows; a multiple of 32.")
WIDTH = flags.DEFINE_integer("width", 1216, "Columns; a multiple of 32.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 1, "Images at once.")
REPEATS = flags.DEFINE_integer("repeats", 5, "How often each program is timed, after once untimed.")
SHARE = flags.DEFINE_float("share", 0.05, "Part of the pixels that has a depth.")
TRAIN = flags.DEFINE_boolean("train", True, "Time gradients, too.")


def measure(
    name: str, program: Callable[..., Any], *inputs: jax.Array, baseline: float | None
) -> float:
    """Prints a row; returns the median of the seconds that the compiled program takes."""
    compiled = jax.jit(program).lower(*inputs).compile()
    memory = compiled.memory_analysis()
    jax.block_until_ready(compiled(*inputs))
    seconds = []
    for _ in range(REPEATS.value):
        before = time.perf_counter()
        jax.block_until_ready(compiled(*inputs))
        seconds.append((time.perf_counter() - before) / BATCH_SIZE.value)
    median = float(np.median(seconds))
    ratio = median / (baseline or median)
    planned = (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 2**30 / BATCH_SIZE.value
    peak = memory_gib()
    print(
        f"| {name} | {median:.2f} s | {min(seconds):.2f} s | {ratio:.2f} | {planned:.2f} GiB "
        f"| {peak.get('device_memory_gib', peak['host_memory_gib']):.2f} GiB |",
        flush=True,
    )
    return median


def main(_: Sequence[str]) -> None:
    """Prints a row per program."""
    network = make_depth_net("PackNetSAN01", "1A")
    shape = (BATCH_SIZE.value, HEIGHT.value, WIDTH.value)
    keys = jax.random.split(jax.random.key(0), 4)
    rgb = jax.random.uniform(keys[0], (*shape, 3))
    depth = jax.random.uniform(keys[1], (*shape, 1), minval=2, maxval=60)
    depth = jnp.where(jax.random.bernoulli(keys[2], SHARE.value, depth.shape), depth, 0)
    small = jnp.zeros((1, 32, 32, 3))
    variables = jax.jit(lambda key: network.init(key, small, train=False))(keys[3])

    def from_rgb(variables, rgb):
        return network.apply(variables, rgb, train=False)[0]  # pyright: ignore

    def from_rgbd(variables, rgb, depth):
        return network.apply(variables, rgb, depth, train=False)[0]  # pyright: ignore

    def gradients(variables, *inputs, **options):
        def loss(params):
            output, _ = network.apply(
                {**variables, "params": params},
                *inputs,
                train=True,
                mutable=["batch_stats"],
                **options,
            )
            return sum(jnp.mean(leaf) for leaf in jax.tree.leaves(output))

        return jax.grad(loss)(variables["params"])

    def gradients_with_depth(variables, rgb, depth):
        return gradients(variables, rgb, depth, method="with_and_without_depth")

    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(variables)) / 2**30
    print(
        f"PackNetSAN01 1A, {HEIGHT.value}x{WIDTH.value}, batch {BATCH_SIZE.value}, "
        f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, jax {jax.__version__}; "
        f"weights {weights:.2f} GiB"
    )
    print(
        "| per image | median | fastest | ratio of medians | planned by XLA beside the weights "
        "| peak of the process so far |"
    )
    print("|---|---|---|---|---|---|")
    alone = measure("evaluation, image alone", from_rgb, variables, rgb, baseline=None)
    measure("evaluation, image and depth", from_rgbd, variables, rgb, depth, baseline=alone)
    if TRAIN.value:
        alone = measure("gradients, image alone", gradients, variables, rgb, baseline=None)
        measure(
            "gradients, both passes", gradients_with_depth, variables, rgb, depth, baseline=alone
        )


if __name__ == "__main__":
    app.run(main)
