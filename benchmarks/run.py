"""Measures networks, training steps, input, metrics, start-up and conversion.

    python -m benchmarks.run
    python -m benchmarks.run --only=forward,train_step --networks=PackNet01 --json=FILE

Without flags a machine with two CPU cores is done in less than 15 minutes: 192x640, batch 1,
float32. Accelerators also take larger batches and pictures, and bfloat16. Benchmarks: machine
(which is measured in any case: a large matmul in both types and a large copy, the peak that shares
refer to), forward (a depth network alone, weights folded as inference folds them),
loss_and_gradients and train_step (photometric loss, with the pose network of the recipes in
configs/), input (samples that one core prepares in a second), metrics, import (start-up),
conversion (reading the original's checkpoints).

Every case has a process of its own, so that its peak memory is its own, too: that of the device, or
on CPUs of the process, compilation included. The exit status is 0, 1 where a case failed or took
too long (its row says so), 2 where the command line does not fit.
"""

import json
from collections.abc import Sequence
from functools import partial

from absl import flags

from benchmarks import choice_flags, table
from benchmarks.choice_flags import MARKDOWN, parse_choice
from benchmarks.measure_all import measure_all, measure_apart
from benchmarks.output_files import writable
from benchmarks.records import Record
from packnet_jax.command_line import begin, run_program
from packnet_jax.visualize import write_atomically

ONLY = flags.DEFINE_list("only", None, "Benchmarks, such as forward,train_step. Default: all.")
ROUNDS = flags.DEFINE_integer(
    "rounds", None, "How often each case is timed. Default: 3 times, up to 50 within 5 s.", 1
)
TIMEOUT = flags.DEFINE_float("timeout", 600.0, "Seconds that a case may take in all.", 0.0)
JSON = flags.DEFINE_string("json", None, "File for the records, written after each case.")
flags.adopt_module_key_flags(choice_flags)  # which --help then lists


def main(argv: Sequence[str]) -> int:
    """Measures, prints and writes; returns the exit status."""
    begin(argv)
    choice = parse_choice(only=ONLY.value)
    json_file, markdown_file = writable(JSON), writable(MARKDOWN)

    def publish(records: Sequence[Record]) -> None:
        if json_file:
            write_atomically(json_file, json.dumps(records, indent=1).encode() + b"\n")
        if markdown_file:
            write_atomically(markdown_file, table.markdown(records).encode())

    measure = partial(measure_apart, rounds=ROUNDS.value, timeout=TIMEOUT.value)
    records = measure_all(choice, measure=measure, publish=publish)
    print(table.markdown(records), end="")
    return int(any(record["error"] for record in records))


def run() -> None:
    """The command line's entry."""
    run_program(main)


if __name__ == "__main__":
    run()
