"""Times the original on this machine; prints a table, and writes records as `benchmarks.run` does.

    python -m benchmarks.original --original=CHECKOUT --json=FILE
    python -m benchmarks.original --original=CHECKOUT --device=cuda --compile --only=forward

CHECKOUT is a folder that holds `packnet_sfm` (github.com/TRI-ML/packnet-sfm): whoever has one can
compare in turn with `python -m benchmarks.run`. It needs torch 2, torchvision, matplotlib, yacs and
termcolor beside what is installed here. Its files stay as they are; two things that newer libraries
and CPUs lack are put in their place while it runs (`benchmarks/original_cases.py`).

Forward is a depth network alone, in evaluation mode; a training step is SelfSupModel with the
settings of configs/train_kitti.yaml, backward and Adam included. Weights are those that the
original starts from, pictures noise. In bfloat16 both run under torch.autocast; in float32 torch's
defaults hold, by which convolutions on GPUs may use TF32. Every case has a process of its own, and
peak memory is that of the process, or of its tensors on the GPU. The exit status is 1 where a case
failed, and 2 where torch or the checkout is missing.
"""

import dataclasses
import importlib
import json
from collections.abc import Sequence

from absl import flags

from benchmarks import table
from benchmarks.original_cases import Setting, check, measure_apart
from benchmarks.output_files import writable
from benchmarks.plan import Choice, Grid, known
from benchmarks.records import machine_facts, make_record
from packnet_jax.command_line import begin, run_program
from packnet_jax.visualize import write_atomically

BENCHMARKS = ("forward", "train_step")
NETWORKS = ("PackNet01", "PackNetSlim01", "DepthResNet18")
"""PackNetSAN01 needs MinkowskiEngine, which recent GPUs and CPUs alone have not."""
DEVICES = ("cpu", "cuda")

ORIGINAL = flags.DEFINE_string("original", None, "Folder that holds packnet_sfm.")
DEVICE = flags.DEFINE_enum("device", "cpu", DEVICES, "Where it runs.")
COMPILE = flags.DEFINE_bool("compile", False, "Through torch.compile.")
CHOSEN = flags.DEFINE_list("networks", ["PackNet01", "DepthResNet18"], f"Of {', '.join(NETWORKS)}.")
ONLY = flags.DEFINE_list("only", list(BENCHMARKS), f"Of {', '.join(BENCHMARKS)}.")
SIZES = flags.DEFINE_list("sizes", ["192x640"], "Heights and widths, such as 192x640,384x1280.")
BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1"], "Images at once, such as 1,16.")
DTYPES = flags.DEFINE_list("dtypes", ["float32"], "What networks compute in: float32, bfloat16.")
ROUNDS = flags.DEFINE_integer(
    "rounds", None, "How often each case is timed. Default: 3 times, up to 50 within 5 s.", 1
)
JSON = flags.DEFINE_string("json", None, "File for the records, written after each case.")


def main(argv: Sequence[str]) -> int:
    """Measures, prints and writes; returns the exit status."""
    begin(argv)
    words = {"sizes": SIZES.value, "batch_sizes": BATCH_SIZES.value, "dtypes": DTYPES.value}
    choice = Choice.parse(**{name: value or [] for name, value in words.items()})
    grid = Grid(
        known("--only", ONLY.value or [], BENCHMARKS),
        known("--networks", CHOSEN.value or [], NETWORKS),
        packings=("reference",),
        **choice.fields,
    )
    json_file = writable(JSON)
    checkout = check(ORIGINAL.value, DEVICE.value)
    setting = Setting(checkout, DEVICE.value, COMPILE.value, ROUNDS.value)
    facts = machine_facts()
    facts["versions"] |= {"torch": importlib.import_module("torch").__version__}
    variant = "original, compiled" if setting.is_compiled else "original"
    records = []
    for case in grid.cases():
        case = dataclasses.replace(case, variant=variant)
        found = measure_apart(case, setting)
        device = found.get("facts", {"platform": None, "device": setting.device})
        records.append(make_record(case, found, device | facts))
        if json_file:
            write_atomically(json_file, json.dumps(records, indent=1).encode() + b"\n")
    print(table.markdown(records), end="")
    return int(any(record["error"] for record in records))


def run() -> None:
    """The command line's entry."""
    run_program(main)


if __name__ == "__main__":
    run()
