"""The folder of a run: it can be written, one training run at a time uses it."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from absl import logging

from packnet_jax.errors import ConfigError, TrainingError, reason
from packnet_jax.locks import take_lock
from packnet_jax.visualize import write_atomically

LOCK = "run.lock"
"""Stays in the workdir; what counts is whether a process holds it."""


def make_workdir(workdir: Path) -> None:
    """Raises ConfigError unless the workdir is there, or can be made, and can be written."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_atomically(workdir / ".writable", b"")
        (workdir / ".writable").unlink(missing_ok=True)  # an evaluation may do the same
    except OSError as error:
        raise ConfigError(f"--workdir: {workdir} can not be written ({error})") from error


@contextmanager
def only_run(workdir: Path) -> Iterator[None]:
    """Holds the workdir until the context ends or the process dies, however it dies.

    Where the whole machine vanishes, a local disk and NFS 4 free the lock, NFS 4 after its lease;
    NFSv3 keeps it until that machine is back, or `run.lock` is deleted.

    Only training asks: evaluations work beside it. On file systems without locks a warning says
    that nobody watches.

    Raises:
        ConfigError: another process holds it (the message says which), or it can not be written.
    """
    try:
        handle = os.open(workdir / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"--workdir: {workdir} can not be written ({error})") from error
    try:
        try:
            refusal = take_lock(handle, wait=False)
        except BlockingIOError as error:
            raise ConfigError(
                f"--workdir: a run is training in {workdir} already ({_holder(handle)}). Wait for "
                "it, stop it, or choose another workdir; evaluations need not wait. If that host "
                f"is gone for good, its lock may stay (NFSv3 frees none): delete {workdir / LOCK}"
            ) from error
        if refusal is not None:
            logging.warning(
                "%s can not be locked (%s): start no second run in it", workdir, refusal
            )
        else:
            started = datetime.now(UTC).isoformat(timespec="seconds")
            own = {"pid": os.getpid(), "host": platform.node(), "started": started}
            with suppress(OSError):
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(own).encode() + b"\n", 0)
        yield
    finally:
        os.close(handle)  # which frees it


def _holder(handle: int) -> str:
    try:
        own = json.loads(os.pread(handle, 1000, 0))
        return f"process {own['pid']} on {own['host']}, since {own['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not said which"


@contextmanager
def system_errors_named(workdir: Path) -> Iterator[None]:
    """What the system refuses (a full disk, a folder that became read-only) is told as ours.

    Raises:
        TrainingError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"the run in {workdir} can not go on ({reason(error)}). Checkpoints are as they were. "
            "Look for space, permissions and the data's disk, and start the same command again"
        ) from error
