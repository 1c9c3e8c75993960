"""Runs the programs as a user does, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def environment() -> dict[str, str]:
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "COLUMNS": "100",
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
