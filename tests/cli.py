"""Runs the programs as a user does, in a process of their own.

They share one cache of compiled programs for as long as the tests take: most of them compile the
same ones.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPILED = "PACKNET_JAX_TEST_COMPILED"
"""Names the cache; workers of pytest inherit that of the process that starts them."""


def share_compiled() -> tempfile.TemporaryDirectory | None:
    """Makes the cache of this run of the tests, which lasts as long as what is returned; None in a
    worker."""
    if COMPILED in os.environ:
        return None
    folder = tempfile.TemporaryDirectory(prefix="packnet_jax_compiled_")
    os.environ[COMPILED] = folder.name
    return folder


def compiled_folder(num_devices: int) -> str:
    """The part of the cache for processes with so many CPU devices.

    XLA rounds otherwise where there are more of them, and jax's key of a program does not tell.
    """
    return str(Path(os.environ[COMPILED], f"{num_devices}_devices"))


def environment(num_devices: int = 1) -> dict[str, str]:
    """Of a program; whoever asks for more devices sees to it that there are."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "COLUMNS": "100",
        "JAX_COMPILATION_CACHE_DIR": compiled_folder(num_devices),
    }


def start(module: str, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"packnet_jax.{module}", *arguments],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(module: str, *arguments: str, cwd: Path, status: int = 0) -> str:
    """What the program printed; the test fails if it ends with another status."""
    process = start(module, *arguments, cwd=cwd)
    output = process.communicate()[0]
    assert process.returncode == status, f"status {process.returncode}:\n{output}"
    return output


def config_file(name: str) -> str:
    return f"--config={ROOT / 'configs' / name}.py"
