"""Where the time of a network's program goes; prints a table.

    python -m benchmarks.profile --only=train_step --networks=PackNet01

Every operation that the compiler has left is timed by jax's profiler over two calls, and counted
under the network that jax's name for it has. Operations that run side by side are added, so that
all together can take longer than a call. On CPU the profiler does not see what Eigen's threads do
for a convolution that XLA has handed over: in inference that is most of the time, and the title of
the table says how much is told. Without flags: inference of PackNet01 at 192x640, batch 1, in
float32, with fused packing.
"""

import dataclasses
from collections.abc import Sequence

from absl import flags

from benchmarks import choice_flags, table
from benchmarks.choice_flags import MARKDOWN, parse_choice
from benchmarks.output_files import writable
from benchmarks.plan import PROGRAMS, Grid, known
from benchmarks.profiling import profile
from benchmarks.programs import make_program
from packnet_jax.command_line import begin, run_program
from packnet_jax.visualize import write_atomically

ONLY = flags.DEFINE_list("only", ["forward"], f"Some of {', '.join(PROGRAMS)}.")

flags.adopt_module_key_flags(choice_flags)  # which --help then lists

DEFAULT = Grid(networks=("PackNet01",), packings=("fused",))


def main(argv: Sequence[str]) -> None:
    """Prints and writes a table for each program."""
    begin(argv)
    choice, markdown_file = parse_choice(only=None), writable(MARKDOWN)
    programs = known("--only", ONLY.value or [], PROGRAMS)
    grid = dataclasses.replace(DEFAULT, benchmarks=programs, **choice.fields)
    text = ""
    for case in grid.cases():
        call, seconds = profile(make_program(case))
        total = sum(seconds.values())
        title = (
            f"{case.title}: {table.seconds(total)} of operations in a call of {table.seconds(call)}"
        )
        rows = [
            [*place, table.seconds(s), f"{s / total:.0%}"]
            for place, s in sorted(seconds.items(), key=lambda item: -item[1])
        ]
        header = ("network", "operations", "time", "share")
        text += table.layout(title, header, rows, words=2) + "\n"
    print(text, end="")
    if markdown_file:
        write_atomically(markdown_file, text.encode())


if __name__ == "__main__":
    run_program(main)
