"""How much memory this process has used at most."""

import re
import resource
import sys
from pathlib import Path


def host_peak_bytes() -> int:
    """Of the process. On Linux ru_maxrss begins with what the process that started it held."""
    status = Path("/proc/self/status")
    text = status.read_text() if status.exists() else ""
    if found := re.search(r"^VmHWM:\s*(\d+) kB", text, re.MULTILINE):
        return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def device_peak_bytes() -> int | None:
    """Of the first device; None where it does not tell, as a CPU."""
    import jax  # here alone: of processes without it, the other tells

    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use")
