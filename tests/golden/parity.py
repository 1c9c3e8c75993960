"""Comparisons with golden arrays that remember how close they came; `docs/parity.md` shows them.

`python -m pytest --parity=docs/parity.md` runs the tests and writes the table; a test asks for the
fixture `parity` and calls `parity.compare(...)`.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

FOLDER = Path(__file__).parent
NOISE_SECTIONS = {"funcs": "functions", "nets": "nets", "models": "models", "real": "real_images"}
PROPERTY = "parity"


class Row(NamedTuple):
    """One comparison."""

    golden_set: str
    """File below the golden folder without its suffix, such as 'funcs/geometry'."""
    entry: str
    error: float
    """Largest difference, in units of the scale."""
    tolerance: float
    noise: float | None
    """The original's own: float32 against float64, in the same units; None where unknown."""
    num_values: int


class Parity:
    """Compares and remembers."""

    def __init__(self, record: Callable[[str, object], None]):
        self._record = record

    def compare(
        self,
        golden_set: str,
        entry: str,
        actual: ArrayLike,
        expected: ArrayLike,
        *,
        tolerance: float,
        scale: ArrayLike = 1.0,
        outliers: float = 0.0,
        outlier_tolerance: float | None = None,
    ) -> None:
        """Asserts that |actual - expected| <= tolerance * scale everywhere.

        Args:
            golden_set: see `Row`.
            entry: name of the array in its file; a configuration may lead ("default|loss").
            tolerance: 0 for equality.
            scale: a number (1: absolute; the largest value: relative to it) or an array of the
                values' shape, for each value on its own.
            outliers: share of values that may be further off; the largest of the rest is recorded.
            outlier_tolerance: how far off those may be; None: any distance.
        """
        actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
        assert actual.shape == expected.shape, f"{entry}: {actual.shape} != {expected.shape}"
        assert actual.size, f"{entry}: nothing to compare"
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))  # infinities, too
        with np.errstate(invalid="ignore", divide="ignore"):
            errors = np.where(same, 0.0, np.abs(actual - expected) / np.asarray(scale, np.float64))
        errors = np.sort(np.where(np.isnan(errors), np.inf, errors), axis=None)
        error = float(errors[errors.size - 1 - int(outliers * errors.size)])
        noise = _noise(golden_set, entry)
        if noise is not None:
            noise = noise / float(np.max(np.asarray(scale)))
        row = Row(golden_set, entry, error, tolerance, noise, actual.size)
        self._record(PROPERTY, json.dumps(row))
        assert error <= tolerance, (
            f"{golden_set}, {entry}: off by {error:.3g}, tolerance {tolerance:.3g} (both in units "
            f"of {np.max(np.asarray(scale)):.3g}), at worst {np.abs(actual - expected).max():.3g}"
        )
        assert outlier_tolerance is None or errors[-1] <= outlier_tolerance, (
            f"{golden_set}, {entry}: an outlier is off by {errors[-1]:.3g}, tolerance for outliers "
            f"{outlier_tolerance:.3g}"
        )


@functools.cache
def _noises() -> Mapping[str, Any]:
    return json.loads((FOLDER / "noise.json").read_text())


def _noise(golden_set: str, entry: str) -> float | None:
    """max |float32 - float64| of the original's array, where its run in float64 recorded it."""
    folder, _, name = golden_set.partition("/")
    found = _noises().get(NOISE_SECTIONS.get(folder, ""), {}).get(name, {}).get(entry)
    return found[0] if found else None


def table(rows: Sequence[Row]) -> str:
    """A line per golden set: the comparison that came nearest to its tolerance."""
    sets: dict[str, list[Row]] = {}
    for row in rows:
        sets.setdefault(row.golden_set, []).append(row)
    lines = [
        "| golden set | arrays | values | nearest to its tolerance | error | tolerance | "
        "float32 noise of the original |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted(sets):
        worst = max(sets[name], key=lambda r: r.error / r.tolerance if r.tolerance else 0.0)
        noise = "" if worst.noise is None else f"{worst.noise:.1e}"
        tolerance = f"{worst.tolerance:.1e}" if worst.tolerance else "equal"
        values = sum(row.num_values for row in sets[name])
        entry = worst.entry.replace("|", r"\|")  # which would end the cell
        lines.append(
            f"| {name} | {len({r.entry for r in sets[name]})} | {values} | `{entry}` | "
            f"{worst.error:.1e} | {tolerance} | {noise} |"
        )
    return "\n".join(lines) + "\n"
