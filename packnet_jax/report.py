"""What an evaluation found, with the protocol named: a table for people, JSON for programs."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from packnet_jax.errors import DataError
from packnet_jax.metrics.depth import METRIC_NAMES
from packnet_jax.visualize import write_atomically

Row = dict[str, Any]
"""One image: `name`, `valid_pixels`, the values of each mode by metric (or None), and more, such as
`median_ratio`, its true over its predicted median depth."""


@dataclass(frozen=True)
class Report:
    """What an evaluation found."""

    dataset: str
    step: int | None
    """Of training; None where that is not known."""
    protocol: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    """Mode, then metric: means over the images that have valid pixels."""
    per_image: list[Row]
    scale: float | None = None
    """True over predicted depth: the ratio of an image's medians, the median of it over images.
    What the network's depth lacks to be metres; None where it was not measured."""

    def scalars(self) -> dict[str, float]:
        """`mode/metric` to value."""
        return {f"{m}/{name}": v for m, row in self.metrics.items() for name, v in row.items()}

    def table(self) -> str:
        """The means as a table for the terminal."""
        used, skipped = self.protocol["images"], self.protocol["skipped"]
        step = "" if self.step is None else f", step {self.step}"
        title = f" {self.dataset}{step}: {used} images, {skipped} without valid pixels "
        header = "".join(f"{name:>10}" for name in METRIC_NAMES)
        rows = [
            f"{mode:<14}" + "".join(f"{self.metrics[mode][name]:>10.3f}" for name in METRIC_NAMES)
            for mode in self.metrics
        ]
        width = max(len(rows[0]), len(title) + 4)
        if self.scale is not None:
            rows.append(f"true / predicted depth {self.scale:.3f} (median over images)")
        return "\n".join([f"{title:=^{width}}", f"{'':<14}{header}", *rows, "=" * width])

    def document(self) -> dict[str, Any]:
        """What the JSON file holds."""
        step = {} if self.step is None else {"step": self.step}
        scale = {} if self.scale is None else {"scale": self.scale}
        return {
            "dataset": self.dataset,
            **step,
            "protocol": self.protocol,
            "metrics": self.metrics,
            **scale,
            "per_image": self.per_image,
        }

    def write(self, folder: Path) -> Path:
        """Writes `<dataset>.json` into the folder."""
        path = folder / f"{self.dataset}.json"
        write_report(path, self.document())
        return path


def reported_step(folder: Path, dataset: str) -> int | None:
    """The step of the checkpoint that the folder's report of a set is about; None without one."""
    try:
        return json.loads((folder / f"{dataset}.json").read_text())["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_report(path: Path, document: dict[str, Any]) -> None:
    """Writes the JSON file of a report."""
    write_atomically(path, json.dumps(document, indent=1).encode() + b"\n")


def summarize(
    rows: list[Row],
    modes: Sequence[str],
    protocol: dict[str, Any],
    *,
    dataset: str,
    step: int | None = None,
    remedy: str,
) -> Report:
    """Means over the rows that have valid pixels.

    Args:
        protocol: how the rows were made; how they were averaged is added.
        remedy: what to check if there is nothing to average.

    Raises:
        DataError: no row has valid pixels.
    """
    counted = [row for row in rows if row["valid_pixels"] > 0]
    if not counted:
        raise DataError(
            f"{dataset}: none of {len(rows)} images has ground-truth depth between "
            f"{protocol['min_depth']} and {protocol['max_depth']} m inside the crop "
            f"{protocol['crop']!r}; check {remedy}"
        )
    means = {
        mode: {name: float(np.mean([row[mode][name] for row in counted])) for name in METRIC_NAMES}
        for mode in modes
    }
    protocol = protocol | {
        "averaging": "mean over images with valid pixels",
        "images": len(counted),
        "skipped": len(rows) - len(counted),
    }
    ratios = [row["median_ratio"] for row in counted if "median_ratio" in row]
    scale = float(np.median(ratios)) if ratios else None
    return Report(dataset, step, protocol, means, rows, scale)


def listed(names: Iterable[str]) -> str:
    """The only name, or every name with its number of images."""
    counts = Counter(names)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{name}: {count} images" for name, count in counts.most_common())
