"""Predicts a training step on many accelerators from counts and data sheets; prints a table.

    python -m benchmarks.scaling_model
    python -m benchmarks.scaling_model --grids=v5e-16,h100-8 --batch_per_device=8 \\
        --prices=v5e-16=1.20,h100-8=2.50

Nothing is measured and nothing is run: pencil and paper give the same numbers. Of each of n chips,
in seconds, with B samples of F operations, and P parameters of 4 bytes:

    compute   = B * F / (peak * efficiency)
    update    = 7 * 4 P / memory bandwidth
    exchange  = 2 * (n-1)/n * 4 P / link bandwidth
    step      = compute + update + exchange
    at best   = compute/3 + max(compute * 2/3, exchange) + update
    memory    = 4 * 4 P + B * activations

Update: Adam reads parameter, gradient and both moments, and writes all but the gradient. Exchange
is the all-reduce of the gradients. On a torus the bandwidth is that of all links of a corner chip.
GPUs, n of them in h machines of g, pay twice: 2 (g-1)/g * 4 P over NVLink, and 2 (h-1)/h * 4 P/g
over the network (`benchmarks/grids.py`). "At best" the exchange hides behind the backward pass, two
thirds of the compute; what XLA makes of it lies between. Memory holds parameters, both moments,
gradients, and what the backward pass needs of each sample.

Efficiency is the share of the peak that the networks reach, and the only guess. Measure it on one
chip before you rent many: `python -m benchmarks.run --only=train_step --networks=PackNet01
--packings=fused --batch_sizes=4 --dtypes=bfloat16` prints GFLOP and median, and efficiency is GFLOP
/ median / peak. Left out are latencies (about a microsecond a hop), how far links stay below their
sheets, stragglers, and evaluation. The input overlaps with the step, if a machine has the cores
that the last rows ask for.

The default work is PackNet01 with PoseNet at 192x640, packing fused. For other recipes give
--flops, --parameters and --activation_bytes: GFLOP of `python -m benchmarks.run
--only=loss_and_gradients`, and temporaries of `python -m benchmarks.memory --only=train_step`, by
the number of their samples.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from absl import flags

from benchmarks import table
from benchmarks.grids import Grid, parse_grid
from benchmarks.output_files import writable
from packnet_jax.command_line import begin, run_program
from packnet_jax.errors import ConfigError
from packnet_jax.visualize import write_atomically

FLOAT_BYTES = 4
ADAM_ARRAYS = 7
STATE_ARRAYS = 4
BACKWARD_SHARE = 2 / 3


class Work(NamedTuple):
    """What a step computes, whatever computes it."""

    flops: float
    """Of one sample's loss and gradients, two for each product that is summed."""
    parameters: int
    activation_bytes: float
    """Of memory for one sample, until its gradients are there."""


WORK = Work(flops=694.0e9, parameters=129_886_704, activation_bytes=2.5e9)
"""PackNet01 1A and PoseNet, 192x640, two contexts, fused packing.

Operations: GFLOP of `python -m benchmarks.run --only=loss_and_gradients --networks=PackNet01
--packings=fused --batch_sizes=1`: of what is to be computed, the same on every machine
(`measure.count_flops`). Memory: what `jax.ad_checkpoint.print_saved_residuals` lists of that loss
in float32, before compilation, too: compilers keep less, and bfloat16 needs half; but a TPU may pad
narrow layers.
"""

INPUT_RATES = {
    "raw PNG, jitter on the host": 16.6,
    "raw PNG, jitter on the device": 22.0,
    "data.store_resized, jitter on the host": 51.0,
    "data.store_resized, jitter on the device": 360.0,
}
"""Samples a second that one core of a CPU server prepares: docs/benchmarks.md, "Input"."""


class Prediction(NamedTuple):
    """Of one step; times in seconds."""

    grid: str
    chips: int
    machines: int
    samples: int
    """Of one step, on all chips."""
    compute: float
    update: float
    exchange: float
    step: float
    """One after the other."""
    best_step: float
    """Where the exchange hides behind the backward pass."""
    exchange_share: float
    """Of `step`."""
    best_exchange_share: float
    """Of `best_step`: what does not hide."""
    samples_per_s: float
    best_samples_per_s: float
    memory_bytes: float
    """Of each chip."""
    chip_memory_bytes: float
    cores: Mapping[str, float]
    """Of each machine, for its input at `best_step`, by the kinds of `INPUT_RATES`."""
    machine_cpus: float
    cost: float | None
    """Of a million samples at `step`, in the currency of the price."""

    @property
    def fits(self) -> bool:
        return self.memory_bytes <= self.chip_memory_bytes


def predict(
    grid: Grid,
    work: Work = WORK,
    *,
    batch_per_device: int,
    efficiency: float,
    price: float | None = None,
) -> Prediction:
    """The formulas of the module.

    Args:
        batch_per_device: samples of each chip.
        efficiency: share of the peak, in (0, 1].
        price: of one chip for an hour.
    """
    chip, n = grid.chip, grid.num_chips
    gradient_bytes = FLOAT_BYTES * work.parameters
    compute = batch_per_device * work.flops / (chip.flops * efficiency)
    update = ADAM_ARRAYS * gradient_bytes / chip.memory_bytes_per_s
    exchange = grid.all_reduce_seconds(gradient_bytes)
    backward = BACKWARD_SHARE * compute
    exposed = max(exchange - backward, 0.0)
    step, best_step = compute + update + exchange, compute + update + exposed
    samples = n * batch_per_device
    rate_per_machine = samples / best_step / grid.num_machines
    return Prediction(
        grid=grid.name,
        chips=n,
        machines=grid.num_machines,
        samples=samples,
        compute=compute,
        update=update,
        exchange=exchange,
        step=step,
        best_step=best_step,
        exchange_share=exchange / step,
        best_exchange_share=exposed / best_step,
        samples_per_s=samples / step,
        best_samples_per_s=samples / best_step,
        memory_bytes=STATE_ARRAYS * gradient_bytes + batch_per_device * work.activation_bytes,
        chip_memory_bytes=chip.memory_bytes,
        cores={kind: rate_per_machine / rate for kind, rate in INPUT_RATES.items()},
        machine_cpus=chip.cpus * grid.num_chips / grid.num_machines,
        cost=None if price is None else price * n * step / samples / 3600 * 1e6,
    )


def parse_prices(words: Sequence[str], grids: Sequence[Grid]) -> dict[str, float]:
    """Price by grid, of `GRID=NUMBER`.

    Raises:
        ConfigError: it is something else, or of a grid that is not predicted.
    """
    names, prices = [grid.name for grid in grids], {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            prices[name] = float(number)
        except ValueError:
            prices[name] = -1.0
        if name not in names or not 0 <= prices[name] < float("inf"):
            raise ConfigError(
                f"--prices: given {word!r}; expected GRID=PRICE, what one chip costs for an hour, "
                f"such as {names[0]}=1.20, with GRID of {', '.join(names)}"
            )
    return prices


def markdown(found: Sequence[Prediction], *, efficiency: float) -> str:
    """A column for each grid."""
    rows = {
        "chips (machines)": [f"{p.chips} ({p.machines})" for p in found],
        "samples of a step": [str(p.samples) for p in found],
        "compute": [table.seconds(p.compute) for p in found],
        "update": [table.seconds(p.update) for p in found],
        "exchange": [table.seconds(p.exchange) for p in found],
        "step": [table.seconds(p.step) for p in found],
        "of which exchange": [f"{p.exchange_share:.1%}" for p in found],
        "samples/s": [f"{p.samples_per_s:,.0f}" for p in found],
        "step at best": [table.seconds(p.best_step) for p in found],
        "of which exchange, at best": [f"{p.best_exchange_share:.1%}" for p in found],
        "samples/s at best": [f"{p.best_samples_per_s:,.0f}" for p in found],
        "memory of a chip": [
            f"{_gb(p.memory_bytes)} of {_gb(p.chip_memory_bytes)}{'' if p.fits else ': too much'}"
            for p in found
        ],
    }
    rows |= {
        f"cores of a machine: {kind}": [
            f"{p.cores[kind]:.0f} of {p.machine_cpus:.0f}" for p in found
        ]
        for kind in INPUT_RATES
    }
    if any(p.cost is not None for p in found):
        rows["cost of a million samples"] = [
            "" if p.cost is None else f"{p.cost:.2f}" for p in found
        ]
    title = f"Predicted, not measured: {efficiency:.0%} of the peak in bfloat16"
    header = "", *(p.grid for p in found)
    return table.layout(title, header, [[name, *cells] for name, cells in rows.items()], words=1)


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB"


GRIDS = flags.DEFINE_list(
    "grids",
    ["v5e-64", "v5p-128", "h100-64"],
    "v5e-CHIPS, v5p-TENSORCORES (two to a chip, as Google counts), h100-GPUS.",
)
BATCH = flags.DEFINE_integer("batch_per_device", 4, "Samples of each chip.", lower_bound=1)
EFFICIENCY = flags.DEFINE_float(
    "efficiency", 0.3, "Share of the peak: a guess until measured.", lower_bound=1e-3, upper_bound=1
)
PRICES = flags.DEFINE_list(
    "prices", [], "Of one chip for an hour, in any currency, such as v5e-64=1.20,h100-64=2.50."
)
FLOPS = flags.DEFINE_float("flops", WORK.flops, "Of a sample's loss and gradients.", lower_bound=1)
PARAMETERS = flags.DEFINE_integer("parameters", WORK.parameters, "Trained ones.", lower_bound=1)
ACTIVATIONS = flags.DEFINE_float(
    "activation_bytes", WORK.activation_bytes, "Of memory for each sample.", lower_bound=0
)
MARKDOWN = flags.DEFINE_string("markdown", None, "File for the table.")
JSON = flags.DEFINE_string("json", None, "File for the numbers: seconds, bytes, samples a second.")


def main(argv: Sequence[str]) -> int:
    """Prints and writes; returns the exit status."""
    begin(argv)
    json_file, markdown_file = writable(JSON), writable(MARKDOWN)
    if not GRIDS.value:
        raise ConfigError("--grids: given nothing; expected some, such as v5e-64,h100-64")
    grids = [parse_grid(name) for name in GRIDS.value]
    prices = parse_prices(PRICES.value or [], grids)
    work = Work(FLOPS.value, PARAMETERS.value, ACTIVATIONS.value)
    found = [
        predict(
            grid,
            work,
            batch_per_device=BATCH.value,
            efficiency=EFFICIENCY.value,
            price=prices.get(grid.name),
        )
        for grid in grids
    ]
    text = markdown(found, efficiency=EFFICIENCY.value)
    print(text, end="")
    if markdown_file:
        write_atomically(markdown_file, text.encode())
    if json_file:
        records = [p._asdict() | {"fits": p.fits} for p in found]
        write_atomically(json_file, json.dumps(records, indent=1).encode() + b"\n")
    return 0


def run() -> None:
    """The command line's entry."""
    run_program(main)


if __name__ == "__main__":
    run()
