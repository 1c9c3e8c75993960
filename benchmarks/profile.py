"""Where the time of a network's program goes; prints a table.

    python -m benchmarks.profile --only=train_step --networks=PackNet01

Every operation that the compiler has left is timed by jax's profiler over two calls, and counted
under the network that jax's name for it has. Operations that run side by side are added, so that
all together can take longer than a call. Without flags: inference of PackNet01 at 192x640, batch 1,
in float32, with fused packing.
"""

import dataclasses
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from benchmarks import choice_flags, table
from benchmarks.choice_flags import MARKDOWN, parse_choice
from benchmarks.output_files import writable
from benchmarks.plan import PROGRAMS, Grid, known
from benchmarks.programs import Program, make_program
from packnet_jax.command_line import begin, run_program
from packnet_jax.visualize import write_atomically

ONLY = flags.DEFINE_list("only", ["forward"], f"Some of {', '.join(PROGRAMS)}.")

flags.adopt_module_key_flags(choice_flags)  # which --help then lists

DEFAULT = Grid(networks=("PackNet01",), packings=("fused",))
NUM_CALLS = 2

PRODUCTS = {"conv_general_dilated", "dot_general"}
ELSEWHERE = "losses, update"

Place = tuple[str, str]
"""Network, and kind of operation."""


def main(argv: Sequence[str]) -> None:
    """Prints and writes a table for each program."""
    begin(argv)
    choice, markdown_file = parse_choice(only=None), writable(MARKDOWN)
    programs = known("--only", ONLY.value or [], PROGRAMS)
    grid = dataclasses.replace(DEFAULT, benchmarks=programs, **choice.fields)
    text = ""
    for case in grid.cases():
        seconds = profile(make_program(case))
        total = sum(seconds.values())
        rows = [
            [*place, table.seconds(s), f"{s / total:.0%}"]
            for place, s in sorted(seconds.items(), key=lambda item: -item[1])
        ]
        header = ("network", "operations", "time", "share")
        text += table.layout(f"{case.title}: {table.seconds(total)}", header, rows, words=2) + "\n"
    print(text, end="")
    if markdown_file:
        write_atomically(markdown_file, text.encode())


def profile(program: Program) -> dict[Place, float]:
    """Seconds of a call, by network and kind of operation."""
    compiled = program.function.lower(*program.shapes).compile()
    state, *rest = program.make_inputs(np.random.default_rng(0))

    def call() -> None:
        nonlocal state
        output = jax.block_until_ready(compiled(state, *rest))
        if program.has_state:
            state = output[0]

    call()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(NUM_CALLS):
                call()
        (file,) = Path(folder).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(file))
    names = dict(re.findall(r'%([\w.-]+) = .*op_name="([^"]*)"', compiled.as_text()))
    seconds: defaultdict[Place, float] = defaultdict(float)
    for operation, nanoseconds in _operations(data):
        seconds[place_of(names.get(operation, ""))] += nanoseconds / 1e9 / NUM_CALLS
    return seconds


def _operations(data: Any) -> Iterator[tuple[str, float]]:
    """Name and nanoseconds of everything that ran."""
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                name = dict(event.stats).get("hlo_op")
                if name:
                    yield str(name), event.duration_ns


def place_of(name: str) -> Place:
    """Network and kind of an operation whose name is jax's, such as
    "jit(train_step)/transpose(jvp(PackNet))/encoder/conv1/conv/conv_general_dilated"."""
    network = re.search(r"\b((?:PackNet|DepthResNet|Pose)\w*)", name)
    is_gradient = "transpose(" in name
    if name.rsplit("/", 1)[-1] not in PRODUCTS:
        kind = "other, gradients" if is_gradient else "other"
    else:
        kind = "convolutions, gradients" if is_gradient else "convolutions"
    return network[1] if network else ELSEWHERE, kind


if __name__ == "__main__":
    run_program(main)
