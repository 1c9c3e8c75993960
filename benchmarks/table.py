"""Records as Markdown tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.records import Record

CASE_HEADER = ("benchmark", "network", "size", "batch", "dtype", "packing")
"""Columns of words."""

HEADER = (
    *CASE_HEADER,
    "median",
    "fastest",
    "rate",
    "compiled in",
    "peak memory",
    "temporaries",
    "GFLOP",
    "of peak",
)


def markdown(records: Sequence[Record]) -> str:
    """What the records share in a line, and a row for each."""
    return layout(_title(records), HEADER, [_row(record) for record in records])


def layout(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    words: int = len(CASE_HEADER),
) -> str:
    """A line and a table below it, which can be read as it stands, too.

    Args:
        words: how many columns hold words; those of numbers, after them, stand to the right.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    columns = range(len(header))
    rule = ["-" * w if i < words else "-" * (w - 1) + ":" for i, w in enumerate(widths)]

    def line(row: Sequence[str]) -> str:
        aligned = (str.ljust if i < words else str.rjust for i in columns)
        cells = (align(cell, w) for align, cell, w in zip(aligned, row, widths, strict=True))
        return f"| {' | '.join(cells)} |"

    return "\n".join([title, "", line(header), line(rule), *map(line, rows)]) + "\n"


def case_words(case: Mapping[str, Any]) -> list[str]:
    """The first columns, from the fields of a `plan.Case`."""
    return [
        f"{case['benchmark']} {case['variant']}".strip(),
        case["network"] or "",
        f"{case['height']}x{case['width']}" if case["height"] else "",
        str(case["batch"] or ""),
        case["dtype"] or "",
        case["packing"] or "",
    ]


def failure(reason: str, columns: int) -> list[str]:
    """That many columns which say why there are no numbers."""
    return [f"failed: {reason}".replace("|", "/"), *[""] * (columns - 1)]  # a bar ends a cell


def _title(records: Sequence[Record]) -> str:
    if not records:
        return "Nothing was measured."
    record = records[0]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return (
        f"{record['date']}, {record['device']}, {record['processor']}, {record['cores']} cores, "
        f"Python {record['python']}, {versions}"
    )


def _row(record: Record) -> list[str]:
    words = case_words(record)
    if record["error"]:
        return words + failure(record["error"], len(HEADER) - len(words))
    return [
        *words,
        seconds(record["median_s"]),
        seconds(record["min_s"]),
        rate(record["rate"], record["unit"]),
        seconds(record["compile_s"]),
        gib(record["peak_memory_bytes"]),
        gib(record["planned_temporaries_bytes"]),
        _or_empty(record["flops"], lambda flops: f"{flops / 1e9:.1f}"),
        _or_empty(record["peak_share"], lambda share: f"{share:.0%}"),
    ]


def seconds(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return ""
    return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def gib(value: float | None) -> str:
    """Bytes."""
    return "" if value is None else f"{value / 2**30:.2f} GiB"


def rate(value: float | None, unit: str | None) -> str:
    """Of FLOP and bytes in thousand millions."""
    if value is None:
        return ""
    if unit in ("FLOP", "B"):
        return f"{value / 1e9:.3g} G{unit}/s"
    return f"{value:.3g} {unit}/s"


def _or_empty(value: float | None, form: Callable[[float], str]) -> str:
    return "" if value is None else form(value)
