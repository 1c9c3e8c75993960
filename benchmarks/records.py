"""From measurements to records: one flat dictionary for each case, ready for JSON."""

import dataclasses
import importlib.metadata
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import packnet_jax
from benchmarks.plan import Case
from packnet_jax.machine import num_cores

LIBRARIES = ("jax", "jaxlib", "flax", "numpy")

Record = dict[str, Any]
"""The fields of `plan.Case`, those of `MEASURED`, and `machine_facts()`."""

MEASURED = (
    "median_s",
    "min_s",
    "rounds",
    "rate",
    "unit",
    "compile_s",
    "flops",
    "peak_flops_per_s",
    "peak_share",
    "peak_memory_bytes",
    "planned_arguments_bytes",
    "planned_temporaries_bytes",
    "error",
)
"""What a record holds beside its case; null where it means nothing or could not be measured."""


def make_record(case: Case, found: Mapping[str, Any], facts: Mapping[str, Any]) -> Record:
    """One record.

    Args:
        found: the fields of `timing.Measurement`, or `error` alone.
        facts: of the machine.
    """
    record = dataclasses.asdict(case) | dict.fromkeys(MEASURED) | dict(facts)
    record |= {name: found[name] for name in MEASURED if name in found}
    if seconds := found.get("seconds"):
        median = statistics.median(seconds)
        record |= {"median_s": median, "min_s": min(seconds), "rounds": len(seconds)}
        if found.get("per_round"):
            record["rate"] = found["per_round"] / median
    return record


def with_peak_shares(records: Sequence[Record]) -> list[Record]:
    """The same, with what the machine's matmul of the same type reaches, and its share of that.

    Only programs of networks have a share.
    """
    peaks = {
        r["dtype"]: r["rate"]
        for r in records
        if r["benchmark"] == "machine" and r["variant"] == "matmul" and r["rate"]
    }

    def with_share(record: Record) -> Record:
        peak = peaks.get(record["dtype"])
        if record["network"] is None or not record["flops"] or not peak:
            return record
        share = record["flops"] / record["median_s"] / peak
        return record | {"peak_flops_per_s": peak, "peak_share": share}

    return [with_share(record) for record in records]


def machine_facts() -> dict[str, Any]:
    """Date, processor and versions, the same in every record."""
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": num_cores(),
        "python": platform.python_version(),
        "versions": {"packnet_jax": packnet_jax.__version__}
        | {name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    """Its name where the system tells, else its kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
