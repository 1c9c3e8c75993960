"""Measures one case, in a process whose peak memory is then the case's own.

    python -m benchmarks.worker '{"benchmark": "forward", ...}' ROUNDS OUTPUT.json

ROUNDS is 0 for as many as `time_rounds` likes. `benchmarks/run.py` starts it; what goes wrong is an
entry of the output, too.
"""

import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.plan import Case


def main(arguments: Sequence[str]) -> int:
    """Writes what was found, or `error`; returns the exit status."""
    case, rounds, output = Case(**json.loads(arguments[0])), int(arguments[1]), Path(arguments[2])
    try:
        found = measure(case, rounds or None)
    except Exception as error:  # whatever it is, it belongs into the table
        traceback.print_exc()
        found = {"error": one_line(error)}
    output.write_text(json.dumps(found))
    return 1 if "error" in found else 0


def measure(case: Case, rounds: int | None) -> dict[str, Any]:
    """A measurement with peak memory and, of the machine, its device."""
    if case.benchmark == "import":
        from benchmarks.start_up import measure_start

        return measure_start(case, rounds)._asdict()

    from benchmarks.cases import MEASURES
    from packnet_jax.memory import device_peak_bytes, host_peak_bytes

    found = MEASURES[case.benchmark](case, rounds)
    device = device_peak_bytes()
    peak = host_peak_bytes() if device is None else device
    found = found._replace(peak_memory_bytes=peak)._asdict()
    return found | {"device": _device()} if case.benchmark == "machine" else found


def _device() -> dict[str, str]:
    import jax

    first = jax.devices()[0]
    return {"platform": first.platform, "device": first.device_kind}


def one_line(error: Exception) -> str:
    """What went wrong, for a table."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
