"""Times depth as it is served; prints tables.

    python -m benchmarks.latency --network=DepthResNet --version=18 --batch_sizes=1,4

- Picture and mirror image: the network's two calls on a batch each beside one call on both.
- A call itself: a program that does nothing with the network's weights and a picture, through
  `jax.jit` and compiled ahead.
- Latency: the network alone (compiled call, pictures and depth on the device), and served (from a
  uint8 picture of KITTI's size on the host to depth on the host).

What is compared takes turns. Weights and pictures are random.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from flax import linen as nn

from packnet_jax.config import ComputeDtype
from packnet_jax.networks import init_depth_net, make_depth_net
from packnet_jax.predictor import DepthPredictor, PredictorOptions, predict_pair

NETWORK = flags.DEFINE_string("network", "DepthResNet", "See packnet_jax.networks.DEPTH_NETS.")
VERSION = flags.DEFINE_string("version", "18", "Of the network.")
HEIGHT = flags.DEFINE_integer("height", 192, "Rows the network sees; a multiple of 32.")
WIDTH = flags.DEFINE_integer("width", 640, "Columns; a multiple of 32.")
BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1"], "Pictures at once.")
DTYPES = flags.DEFINE_list("dtypes", ["float32"], "Of float32 and bfloat16.")
ROUNDS = flags.DEFINE_integer("rounds", 10, "How often each is timed, after once untimed.")
ONLY = flags.DEFINE_list("only", ["pair", "call", "latency"], "Which tables.")

PICTURE = (375, 1242)


def in_turn(programs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds [rounds, 2] of each: on the clock, and of all cores."""
    seconds = {name: np.zeros((rounds, 2)) for name in programs}
    for run in programs.values():
        jax.block_until_ready(run())
    for i in range(rounds):
        for name, run in programs.items():
            before = time.perf_counter(), time.process_time()
            jax.block_until_ready(run())
            seconds[name][i] = np.subtract((time.perf_counter(), time.process_time()), before)
    return seconds


def print_pair(network: nn.Module, variables: Any, rgb: jax.Array) -> None:
    """A row of two calls beside one."""
    run = partial(predict_pair, network, variables, rgb)
    programs = {"two": partial(run, at_once=False), "one": partial(run, at_once=True)}
    seconds = in_turn(programs, ROUNDS.value)
    (two, two_cores), (one, one_cores) = (np.median(seconds[k], axis=0) for k in programs)
    ratio = np.median(seconds["one"][:, 0] / seconds["two"][:, 0])
    print(
        f"| {len(rgb)} | {two:.3f} s ({two_cores:.3f} s) | {one:.3f} s ({one_cores:.3f} s) "
        f"| {ratio:.2f} |"
    )


def print_call(variables: Any, rgb: jax.Array) -> None:
    """What calling costs, when there is nothing to compute."""
    jitted = jax.jit(lambda variables, rgb: rgb[0, 0, 0, 0] + jax.tree.leaves(variables)[0].sum())
    compiled = jitted.lower(variables, rgb).compile()
    programs = {
        "through jax.jit": partial(jitted, variables, rgb),
        "compiled ahead": partial(compiled, variables, rgb),
    }
    for name, seconds in in_turn(programs, 1000).items():
        print(f"call, {name}: {1e6 * np.median(seconds[:, 0]):.0f} us")


def print_latency(network: nn.Module, variables: Any, options: PredictorOptions) -> None:
    """A row of the network alone, and served."""
    predictor = DepthPredictor(network, variables, (HEIGHT.value, WIDTH.value), options)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*PICTURE, 3), np.uint8) for _ in range(options.batch_size)]
    predictor.timed(pictures)
    found = np.array([predictor.timed(pictures)[1] for _ in range(ROUNDS.value)])
    network_alone, served = 1e3 * np.median(found, axis=0)
    beside = 1e3 * np.median(found[:, 1] - found[:, 0])
    print(
        f"| {options.compute_dtype} | {options.batch_size} | {'yes' if options.flip else 'no'} "
        f"| {network_alone:.1f} ms | {served:.1f} ms | {beside:.1f} ms |",
        flush=True,
    )


def main(_: Sequence[str]) -> None:
    """Prints the tables."""
    network = make_depth_net(NETWORK.value, VERSION.value)
    shape = HEIGHT.value, WIDTH.value
    own = jax.jit(lambda: init_depth_net(network, jax.random.key(0), shape))()
    variables = {name: {"depth_net": own.get(name, {})} for name in ("params", "batch_stats")}
    batch_sizes = [int(word) for word in BATCH_SIZES.value]
    print(
        f"{NETWORK.value} {VERSION.value}, {shape[0]}x{shape[1]}, {jax.devices()[0].device_kind}, "
        f"{os.cpu_count()} cores, jax {jax.__version__}; medians of {ROUNDS.value}"
    )
    pictures = jnp.asarray(
        np.random.default_rng(0).random((max(batch_sizes), *shape, 3), np.float32)
    )
    if "pair" in ONLY.value:
        print("| batch | two calls (of all cores) | one call (of all cores) | ratio |")
        print("|---|---|---|---|")
        for batch_size in batch_sizes:
            print_pair(network, variables, pictures[:batch_size])
    if "call" in ONLY.value:
        print_call(variables, pictures[:1])
    if "latency" in ONLY.value:
        print("| dtype | batch | flip | network alone | served | beside the network |")
        print("|---|---|---|---|---|---|")
        for dtype in cast(list[ComputeDtype], DTYPES.value):
            for batch_size in batch_sizes:
                for flip in (False, True):
                    options = PredictorOptions(batch_size, flip, dtype)
                    print_latency(network, variables, options)


if __name__ == "__main__":
    app.run(main)
