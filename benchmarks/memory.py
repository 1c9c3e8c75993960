"""Plans the memory of inference and training without running either; prints a table.

    python -m benchmarks.memory
    python -m benchmarks.memory --networks=PackNet01 --sizes=384x1280 --batch_sizes=1,2,4

A program needs the sum of what stays (weights, state and inputs, and what it answers with) and of
temporaries, as the compiler plans them for the device that is here; jax and its libraries come on
top. Without flags: inference and training steps of all networks at 192x640, batch 1 and 4, in
float32, with fused packing, which two CPU cores compile in about three minutes. The exit status is
1 where a program can not be compiled.
"""

import dataclasses
from collections.abc import Sequence

import jax
from absl import flags
from tqdm import tqdm

from benchmarks import choice_flags, table
from benchmarks.choice_flags import MARKDOWN, parse_choice
from benchmarks.measure import plan_memory
from benchmarks.output_files import writable
from benchmarks.plan import PROGRAMS, Grid, known
from benchmarks.programs import make_program
from packnet_jax.command_line import begin, run_program
from packnet_jax.visualize import write_atomically

ONLY = flags.DEFINE_list("only", ["forward", "train_step"], f"Some of {', '.join(PROGRAMS)}.")

flags.adopt_module_key_flags(choice_flags)  # which --help then lists

DEFAULT = Grid(batch_sizes=(1, 4), packings=("fused",))
NUMBERS = ("weights, state, inputs", "temporaries", "together")


def main(argv: Sequence[str]) -> int:
    """Prints and writes the table; returns the exit status."""
    begin(argv)
    choice, markdown_file = parse_choice(only=None), writable(MARKDOWN)
    programs = known("--only", ONLY.value or [], PROGRAMS)
    grid = dataclasses.replace(DEFAULT, benchmarks=programs, **choice.fields)
    rows, has_failed = [], False
    for case in tqdm(list(grid.cases()), unit="program", disable=None):
        words = table.case_words(dataclasses.asdict(case))
        try:
            planned = plan_memory(make_program(case))
            sizes = planned.held_bytes, planned.temporaries_bytes, sum(planned)
            numbers = list(map(table.gib, sizes))
        except jax.errors.JaxRuntimeError as error:  # the rest may fit
            numbers = table.failure(str(error).splitlines()[0], len(NUMBERS))
            has_failed = True
        rows.append(words + numbers)
    title = f"Planned for {jax.devices()[0].device_kind}, jax {jax.__version__}"
    text = table.layout(title, (*table.CASE_HEADER, *NUMBERS), rows)
    print(text, end="")
    if markdown_file:
        write_atomically(markdown_file, text.encode())
    return int(has_failed)


def run() -> None:
    """The command line's entry."""
    run_program(main)


if __name__ == "__main__":
    run()
