"""How long the program takes to answer at all, in fresh processes; without jax."""

import os
import subprocess
import sys

from benchmarks.plan import Case
from benchmarks.timing import Measurement, time_rounds


def measure_start(case: Case, rounds: int | None) -> Measurement:
    """Importing the trainer, or asking it for help.

    The peak memory is at least this process's own, from which the others are forked.

    Raises:
        RuntimeError: the process fails.
    """
    words, good = ["-c", f"import {case.variant}"], (0,)
    if case.variant == "--help":
        words, good = ["-m", "packnet_jax.main", "--help"], (0, 1)  # absl's help ends with 1
    peaks = []

    def run() -> None:
        process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in good:
            raise RuntimeError(f"python {' '.join(words)} ends with {process.returncode}")
        peaks.append(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))

    return Measurement(time_rounds(run, rounds=rounds), peak_memory_bytes=max(peaks))
