"""Which cases are measured: what a case is, and which ones a run takes.

Imports no jax: the process that plans leaves devices and memory to those that measure.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from packnet_jax.data_config import SHAPE_MULTIPLE
from packnet_jax.errors import ConfigError

PROGRAMS = ("forward", "loss_and_gradients", "train_step")
"""Benchmarks of networks (`benchmarks/programs.py`): there is a case for each network, size, batch,
dtype and packing."""

BENCHMARKS = ("machine", *PROGRAMS, "input", "metrics", "import", "conversion")
"""All of them, in the order of the table."""

PACKNETS = ("PackNet01", "PackNetSlim01", "PackNetSAN01")
NETWORKS = ("PackNet01", "PackNetSlim01", "DepthResNet18", "PackNetSAN01")
DTYPES = ("float32", "bfloat16")
PACKINGS = ("reference", "fused")

INPUT_VARIANTS = (
    "png, jitter on host",
    "png, jitter on device",
    "stored, jitter on host",
    "stored, jitter on device",
    "cached, jitter on host",
)
"""Pictures are decoded and resized from PNG of KITTI's size, or stored at the network's size as
`data.store_resized` does, or kept in memory. Jitter that `data.jitter_on` leaves to the device
costs the host its draws alone."""
IMPORT_VARIANTS = ("packnet_jax.main", "--help")

FULL_SIZE = (375, 1242)
"""Height and width of KITTI's pictures."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Case:
    """One thing that is measured; fields that mean nothing for a benchmark are None."""

    benchmark: str
    variant: str = ""
    """Which of several ways, of benchmarks that have some."""
    network: str | None = None
    height: int | None = None
    width: int | None = None
    batch: int | None = None
    dtype: str | None = None
    packing: str | None = None
    """None for networks without packing blocks."""

    @property
    def title(self) -> str:
        """For people."""
        size = f"{self.height}x{self.width}" if self.height else None
        batch = f"batch {self.batch}" if self.batch else None
        parts = (
            self.benchmark,
            self.variant,
            self.network,
            size,
            batch,
            self.dtype,
            self.packing,
        )
        return " ".join(part for part in parts if part)


MACHINE_CASES = (
    Case("machine", "matmul", dtype="float32"),
    Case("machine", "matmul", dtype="bfloat16"),
    Case("machine", "copy"),
)
"""Measured first in every run: shares of the peak refer to them."""


@dataclass(frozen=True)
class Grid:
    """Benchmarks of networks, in all combinations of the other fields."""

    benchmarks: Sequence[str] = PROGRAMS
    networks: Sequence[str] = NETWORKS
    sizes: Sequence[Size] = ((192, 640),)
    batch_sizes: Sequence[int] = (1,)
    dtypes: Sequence[str] = ("float32",)
    packings: Sequence[str] = PACKINGS

    def cases(self) -> Iterator[Case]:
        """Network by network, so that the packings of one stand below each other."""
        for benchmark, (height, width), batch, dtype, network in itertools.product(
            self.benchmarks, self.sizes, self.batch_sizes, self.dtypes, self.networks
        ):
            for packing in self.packings if network in PACKNETS else (None,):
                yield Case(benchmark, "", network, height, width, batch, dtype, packing)


CPU_GRIDS = (
    Grid(("forward",)),
    Grid(("loss_and_gradients",), networks=("PackNet01", "DepthResNet18"), packings=("fused",)),
    Grid(("train_step",)),
)
"""What two cores do in a quarter of an hour."""

ACCELERATOR_GRIDS = (
    Grid(("forward",), batch_sizes=(1, 16, 32), dtypes=DTYPES),
    Grid(("forward",), sizes=((384, 1280),), batch_sizes=(1, 16), dtypes=("bfloat16",)),
    Grid(("loss_and_gradients",), batch_sizes=(4,), dtypes=DTYPES),
    Grid(("train_step",), batch_sizes=(4, 16), dtypes=DTYPES),
    Grid(("train_step",), sizes=((384, 1280),), batch_sizes=(4,), dtypes=("bfloat16",)),
)


class Choice(NamedTuple):
    """What the command line says; None where it leaves the choice to the machine."""

    only: Sequence[str] = BENCHMARKS
    networks: Sequence[str] | None = None
    sizes: Sequence[Size] | None = None
    batch_sizes: Sequence[int] | None = None
    dtypes: Sequence[str] | None = None
    packings: Sequence[str] | None = None

    @classmethod
    def parse(
        cls,
        *,
        only: Sequence[str] | None = None,
        networks: Sequence[str] | None = None,
        sizes: Sequence[str] | None = None,
        batch_sizes: Sequence[str] | None = None,
        dtypes: Sequence[str] | None = None,
        packings: Sequence[str] | None = None,
    ) -> "Choice":
        """From the words of the flags of the same names.

        Raises:
            ConfigError: one is unknown, or is no size or number that can be.
        """
        return cls(
            BENCHMARKS if only is None else known("--only", only, BENCHMARKS),
            None if networks is None else known("--networks", networks, NETWORKS),
            None if sizes is None else [_size(word) for word in sizes],
            None if batch_sizes is None else _batch_sizes(batch_sizes),
            None if dtypes is None else known("--dtypes", dtypes, DTYPES),
            None if packings is None else known("--packings", packings, PACKINGS),
        )

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a `Grid` that are given."""
        given = {name: value for name, value in self._asdict().items() if value is not None}
        return {name: value for name, value in given.items() if name != "only"}


def plan(choice: Choice, *, platform: str) -> list[Case]:
    """The cases of a run but those of the machine, in the order of the table, each once.

    Args:
        platform: jax's name of it; "cpu" takes fewer by default.
    """
    grids = CPU_GRIDS if platform == "cpu" else ACCELERATOR_GRIDS
    cases = [
        case
        for grid in grids
        for case in replace(grid, **choice.fields).cases()
        if case.benchmark in choice.only
    ]
    cases += [case for case in _others(choice) if case.benchmark in choice.only]
    return sorted(dict.fromkeys(cases), key=lambda case: BENCHMARKS.index(case.benchmark))


def _others(choice: Choice) -> Iterator[Case]:
    """Benchmarks that do not run networks. To add one, write its cases here."""
    for height, width in choice.sizes or ((192, 640),):
        for variant in INPUT_VARIANTS:
            yield Case("input", variant, height=height, width=width, batch=1)
    yield Case("metrics", height=FULL_SIZE[0], width=FULL_SIZE[1], batch=1, dtype="float32")
    for variant in IMPORT_VARIANTS:
        yield Case("import", variant)
    for network in choice.networks or ("PackNet01", "DepthResNet18"):
        yield Case("conversion", network=network)


def known(flag: str, words: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """The words, if they are names.

    Raises:
        ConfigError: they are not, or there are none.
    """
    unknown = [word for word in words if word not in names]
    if unknown or not words:
        given = ", ".join(map(repr, unknown)) or "nothing"
        raise ConfigError(f"{flag}: given {given}; expected some of {', '.join(names)}")
    return words


def _size(word: str) -> Size:
    parts = word.split("x")
    if len(parts) != 2 or not all(
        p.isdecimal() and int(p) and int(p) % SHAPE_MULTIPLE == 0 for p in parts
    ):
        raise ConfigError(
            f"--sizes: given {word!r}; expected HEIGHTxWIDTH such as 192x640, both multiples of "
            f"{SHAPE_MULTIPLE}"
        )
    return int(parts[0]), int(parts[1])


def _batch_sizes(words: Sequence[str]) -> list[int]:
    wrong = [word for word in words if not word.isdecimal() or not int(word)]
    if wrong or not words:
        given = ", ".join(map(repr, wrong)) or "nothing"
        raise ConfigError(f"--batch_sizes: given {given}; expected positive numbers such as 1,16")
    return [int(word) for word in words]
