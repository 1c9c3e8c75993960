import errno
import fcntl
import os

import pytest

from packnet_jax.locks import take_lock


@pytest.fixture
def twice_open(tmp_path):
    handles = [os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2)]
    yield handles
    for handle in handles:
        os.close(handle)


def test_one_holds_a_lock_at_a_time(twice_open):
    first, second = twice_open
    assert take_lock(first, wait=False) is None
    with pytest.raises(BlockingIOError):
        take_lock(second, wait=False)
    fcntl.flock(first, fcntl.LOCK_UN)
    assert take_lock(second, wait=True) is None


def test_a_file_system_without_locks_says_why_and_other_failures_stay_failures(
    twice_open, monkeypatch
):
    number = errno.ENOLCK

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert take_lock(twice_open[0], wait=True) == os.strerror(errno.ENOLCK)
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output"):
        take_lock(twice_open[0], wait=True)
