"""Times PackNetSAN01 from the image alone beside image and sparse depth; prints rows of a table.

    python -m benchmarks.completion_time --height=352 --width=1216

Evaluation is one pass of either kind. Training is what its objective needs: gradients of the pass
from the image alone, and of both passes with their feature matching. The programs take turns, so
that a busy machine slows them alike. Weights, images and depth are random; neither time nor memory
depends on how many pixels have a depth.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks.programs import random_variables
from packnet_jax.networks import make_depth_net
from packnet_jax.train.dashboard import memory_gib

HEIGHT = flags.DEFINE_integer("height", 352, "Rows; a multiple of 32.")
WIDTH = flags.DEFINE_integer("width", 1216, "Columns; a multiple of 32.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 1, "Images at once.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "How often each program is timed, after once untimed.")


class Program(NamedTuple):
    """A compiled program that has run once."""

    name: str
    run: Callable[[], Any]
    planned_gib: float
    """Memory beside weights and images, as XLA plans it: temporary arrays and the output."""
    peak_gib: float
    """Of the process, or of the device where it tells, after this program's first run."""


def compile_and_run(name: str, function: Callable[..., Any], *inputs: Any) -> Program:
    """Compiles and runs once."""
    compiled = jax.jit(function).lower(*inputs).compile()
    memory: Any = compiled.memory_analysis()
    planned = (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 2**30
    jax.block_until_ready(compiled(*inputs))
    peak = memory_gib()
    return Program(
        name,
        lambda: jax.block_until_ready(compiled(*inputs)),
        planned,
        peak.get("device_memory_gib", peak["host_memory_gib"]),
    )


def make_programs() -> tuple[Program, ...]:
    """Evaluation without and with depth, then gradients without and with it."""
    network: Any = make_depth_net("PackNetSAN01", "1A")
    rng = np.random.default_rng(0)
    shape = (BATCH_SIZE.value, HEIGHT.value, WIDTH.value)
    rgb = jnp.asarray(rng.random((*shape, 3), np.float32))
    measured = rng.uniform(1, 80, (*shape, 1))
    depth = jnp.asarray(np.where(rng.random(measured.shape) < 0.05, measured, 0), jnp.float32)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), rgb, train=False))
    variables = random_variables(shapes, rng)

    def evaluate(variables, *inputs):
        return network.apply(variables, *inputs, train=False)[0]

    def gradients(variables, *inputs, method="__call__"):
        def loss(params):
            own = {**variables, "params": params}
            output, _ = network.apply(
                own, *inputs, train=True, method=method, mutable=["batch_stats"]
            )
            return sum(jnp.mean(leaf) for leaf in jax.tree.leaves(output))

        return jax.grad(loss)(variables["params"])

    def gradients_of_both(variables, *inputs):
        return gradients(variables, *inputs, method="with_and_without_depth")

    return (
        compile_and_run("evaluation, image alone", evaluate, variables, rgb),
        compile_and_run("evaluation, image and depth", evaluate, variables, rgb, depth),
        compile_and_run("gradients, image alone", gradients, variables, rgb),
        compile_and_run("gradients, both passes", gradients_of_both, variables, rgb, depth),
    )


def main(_: Sequence[str]) -> None:
    """Prints a row per program."""
    programs = make_programs()
    seconds = np.zeros((ROUNDS.value, len(programs), 2))
    for times in seconds:
        for program, found in zip(programs, times, strict=True):
            before = time.perf_counter(), time.process_time()
            program.run()
            found[:] = time.perf_counter() - before[0], time.process_time() - before[1]
    print(
        f"PackNetSAN01 1A, {HEIGHT.value}x{WIDTH.value}, batch {BATCH_SIZE.value}, "
        f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, jax {jax.__version__}; "
        f"per image, medians of {ROUNDS.value}"
    )
    print("| | time | processor time | ratio of times | planned memory | peak so far |")
    print("|---|---|---|---|---|---|")
    for i, program in enumerate(programs):
        wall, processor = np.median(seconds[:, i], axis=0) / BATCH_SIZE.value
        ratio = np.median(seconds[:, i, 0] / seconds[:, i - i % 2, 0])
        print(
            f"| {program.name} | {wall:.2f} s | {processor:.2f} s | {ratio:.2f} "
            f"| {program.planned_gib / BATCH_SIZE.value:.2f} GiB | {program.peak_gib:.2f} GiB |"
        )


if __name__ == "__main__":
    app.run(main)
