"""One training run at a time in a workdir, and folders that can not be written are named."""

import errno
import fcntl
import os
import platform
import signal
import subprocess
import sys

import cli
import pytest

from packnet_jax.errors import ConfigError, TrainingError
from packnet_jax.workdir import LOCK, make_workdir, only_run, system_errors_named

HOLD = """
import sys, time
from pathlib import Path
from packnet_jax.workdir import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def start_holder(workdir) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(workdir)],
        env=cli.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_and_told_who_is_there_until_a_kill_frees_it(tmp_path):
    holder = start_holder(tmp_path)
    try:
        with pytest.raises(ConfigError, match="is training in") as refused, only_run(tmp_path):
            pass
        assert f"process {holder.pid} on {platform.node()}, since 20" in str(refused.value)
        assert "that host is gone for good" in str(refused.value)
        assert f"delete {tmp_path / LOCK}" in str(refused.value)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with only_run(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()


def test_the_lock_is_freed_when_a_run_ends_or_fails(tmp_path):
    for _ in range(2):
        with pytest.raises(TrainingError), only_run(tmp_path):
            raise TrainingError
    with (
        only_run(tmp_path),
        pytest.raises(ConfigError, match=f"process {os.getpid()}"),
        only_run(tmp_path),
    ):
        pass


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with only_run(tmp_path):
        pass
    assert "start no second run in it" in caplog.text


def test_folders_that_can_not_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ConfigError, match=r"--workdir: .* can not be written"):
            make_workdir(folder)


def test_what_the_system_refuses_is_an_error_of_ours(tmp_path):
    with (
        pytest.raises(TrainingError, match="No space left on device: there"),
        system_errors_named(tmp_path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device", "there")


def test_the_lock_of_a_vanished_host_is_deleted_with_its_file(tmp_path):
    with only_run(tmp_path):  # in its name: nobody can free that
        (tmp_path / LOCK).unlink()
        with (
            only_run(tmp_path),
            pytest.raises(ConfigError, match="is training"),
            only_run(tmp_path),
        ):
            pass
