"""Times depth as it is served; prints tables.

    python -m benchmarks.latency --network=DepthResNet --version=18 --batch_sizes=1,4

- Picture and mirror image: the network's two calls on a batch each beside one call on both.
- A call itself: a program that does nothing with the network's weights and a picture, through
  `jax.jit` and compiled ahead.
- Latency: the network alone (compiled call, pictures and depth on the device), and served (from a
  uint8 picture of KITTI's size on the host to depth on the host).

What is compared takes turns. Weights and pictures are random; weights are folded, and programs
compiled with the options of inference. The exit status is 2 where the command line does not fit.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from flax import linen as nn

from benchmarks.plan import DTYPES, Choice, known
from packnet_jax.command_line import begin, run_program
from packnet_jax.compilation import inference_options
from packnet_jax.data_config import SHAPE_MULTIPLE
from packnet_jax.depth_pair import predict_pair
from packnet_jax.networks import init_depth_net, make_depth_net
from packnet_jax.predictor import DepthPredictor, PredictorOptions
from packnet_jax.sfm import fold_for_evaluation

TABLES = ("pair", "call", "latency")

NETWORK = flags.DEFINE_string("network", "DepthResNet", "See packnet_jax.networks.DEPTH_NETS.")
VERSION = flags.DEFINE_string("version", "18", "Of the network.")
HEIGHT = flags.DEFINE_integer("height", 192, "Rows the network sees; a multiple of 32.")
WIDTH = flags.DEFINE_integer("width", 640, "Columns; a multiple of 32.")
BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1"], "Pictures at once.")
COMPUTE_DTYPES = flags.DEFINE_list(
    "dtypes", ["float32"], f"What the network computes in, for latency: {', '.join(DTYPES)}."
)
ROUNDS = flags.DEFINE_integer("rounds", 10, "How often each is timed, after once untimed.", 1)
ONLY = flags.DEFINE_list("only", list(TABLES), f"Which tables: {', '.join(TABLES)}.")
for side in (HEIGHT, WIDTH):
    flags.register_validator(
        side,
        lambda pixels: pixels > 0 and pixels % SHAPE_MULTIPLE == 0,
        f"expected a positive multiple of {SHAPE_MULTIPLE}",
    )

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

    def program(at_once: bool) -> Callable[[], Any]:
        pair = partial(predict_pair, network, at_once=at_once)
        return partial(jax.jit(pair, compiler_options=inference_options()), variables, rgb)

    programs = {"two": program(at_once=False), "one": program(at_once=True)}
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


def main(argv: Sequence[str]) -> int:
    """Prints the tables; returns the exit status."""
    begin(argv)
    only = known("--only", ONLY.value or [], TABLES)
    choice = Choice.parse(batch_sizes=BATCH_SIZES.value or [], dtypes=COMPUTE_DTYPES.value or [])
    batch_sizes, dtypes = choice.fields["batch_sizes"], choice.fields["dtypes"]
    network = make_depth_net(NETWORK.value, VERSION.value)
    shape = HEIGHT.value, WIDTH.value
    own = jax.jit(lambda: init_depth_net(network, jax.random.key(0), shape))()
    variables = {name: {"depth_net": own.get(name, {})} for name in ("params", "batch_stats")}
    print(
        f"{NETWORK.value} {VERSION.value}, {shape[0]}x{shape[1]}, {jax.devices()[0].device_kind}, "
        f"{os.cpu_count()} cores, jax {jax.__version__}; medians of {ROUNDS.value}"
    )
    pictures = jnp.asarray(
        np.random.default_rng(0).random((max(batch_sizes), *shape, 3), np.float32)
    )
    if "pair" in only:
        folded = fold_for_evaluation(network, variables)
        print("| batch | two calls (of all cores) | one call (of all cores) | ratio |")
        print("|---|---|---|---|")
        for batch_size in batch_sizes:
            print_pair(network, folded, pictures[:batch_size])
    if "call" in only:
        print_call(variables, pictures[:1])
    if "latency" in only:
        print("| dtype | batch | flip | network alone | served | beside the network |")
        print("|---|---|---|---|---|---|")
        for dtype in dtypes:
            for batch_size in batch_sizes:
                for flip in (False, True):
                    options = PredictorOptions(batch_size, flip, dtype)
                    print_latency(network, variables, options)
    return 0


def run() -> None:
    """The command line's entry."""
    run_program(main)


if __name__ == "__main__":
    run()
