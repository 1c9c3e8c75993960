"""kill -9 at chosen moments of a run, and what it leaves compared with an unbroken one."""

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from packnet_jax import checkpoint

SAFETY_SECONDS = 600
"""After so long without the moment the test fails."""


class Killed(NamedTuple):
    """What one start had done when it was killed."""

    steps: int
    """Steps that it was seen to take."""
    during_save: bool
    """Whether an unfinished checkpoint was left."""


class Watched:
    """A process whose output is read for steps that are done, such as 'step 3' or ' 3/30 ['."""

    def __init__(self, process: subprocess.Popen[str], pattern: str):
        self._process, self._pattern = process, re.compile(pattern)
        self.output: list[str] = []
        self.steps: list[int] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:  # a carriage return ends a line, too
            self.output.append(line)
            self.steps += [int(found) for found in self._pattern.findall(line)]

    def kill_when(self, checkpoints: Path, moment: Callable[[list[int], Path], bool]) -> Killed:
        """Sends SIGKILL at the first sight of the moment."""
        until = time.monotonic() + SAFETY_SECONDS
        try:
            while not moment(self.steps, checkpoints):
                assert self._process.poll() is None, "the run ended first:\n" + "".join(self.output)
                assert time.monotonic() < until, "no such moment:\n" + "".join(self.output)
                time.sleep(0.001)
        finally:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._reader.join()
        return Killed(len(set(self.steps)), bool(unfinished(checkpoints)))


def after_steps(number: int) -> Callable[[list[int], Path], bool]:
    """Once so many steps have been seen in this start."""
    return lambda steps, _: len(set(steps)) >= number


def during_save(number: int) -> Callable[[list[int], Path], bool]:
    """While a checkpoint is unfinished, once so many steps have been seen."""
    return lambda steps, folder: len(set(steps)) >= number and bool(unfinished(folder))


def unfinished(checkpoints: Path) -> list[Path]:
    return list(checkpoints.glob("*.orbax-checkpoint-tmp*"))


def final_state(workdir: Path, num_steps: int) -> dict[str, np.ndarray]:
    """Everything that training changes: both networks, optimiser, counters."""
    stored = checkpoint.read_config(workdir)
    assert stored.step == num_steps
    items = {}
    with ocp.PyTreeCheckpointer() as reader:
        for name in ("variables", "training"):
            there = reader.metadata(stored.folder / name).item_metadata.tree
            to_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), there)
            items[name] = reader.restore(stored.folder / name, restore_args=to_host)
    leaves = jax.tree_util.tree_leaves_with_path(items)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def assert_same_end(unbroken: Path, killed: Path, num_steps: int) -> None:
    """Bit for bit, and nothing unfinished is left."""
    expected, found = (final_state(workdir, num_steps) for workdir in (unbroken, killed))
    assert expected.keys() == found.keys()
    for part in ("['params']['depth_net']", "['params']['pose_net']", "['opt_state']"):
        assert any(part in name for name in expected), part
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert not unfinished(killed / "checkpoints")
