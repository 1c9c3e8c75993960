"""Several processes that run together on this machine, each with some CPU devices."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cli

TIMEOUT_SECONDS = 600
"""A safety net: what hangs ends the test."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(num_devices: int) -> dict[str, str]:
    flags = f"--xla_force_host_platform_device_count={num_devices}"
    folders = (cli.ROOT, cli.ROOT / "tests")
    return cli.environment(num_devices) | {
        "XLA_FLAGS": flags,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }


def start(
    arguments: Sequence[str], num_devices: int, cwd: Path, **variables: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(num_devices) | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(
    processes: Sequence[subprocess.Popen[str]], status: int = 0, timeout: float = TIMEOUT_SECONDS
) -> list[str]:
    """What each has printed; the test fails if one ends with another status, or never."""
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == status, f"status {process.returncode}:\n{output}"
    return outputs
