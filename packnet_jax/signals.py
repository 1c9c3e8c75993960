"""A wish to stop that does not cut off what is being done."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class StopSignal:
    """Whether somebody asked to stop."""

    received: signal.Signals | None = None


@contextmanager
def stop_signal(promise: str) -> Iterator[StopSignal]:
    """Turns the first SIGINT or SIGTERM into a request; Ctrl-C after it acts as usual.

    A second SIGTERM changes nothing: who takes a machine away may say so several times.

    Args:
        promise: what the program will do, told to whoever asked.
    """
    stop = StopSignal()
    usual = {}

    def receive(number: int, _: object) -> None:
        is_first, stop.received = stop.received is None, signal.Signals(number)
        signal.signal(signal.SIGINT, usual[signal.SIGINT])
        if is_first:
            # No print: it may be what has been interrupted, and would raise.
            with suppress(OSError):
                os.write(1, f"\n{stop.received.name}: {promise}; Ctrl-C stops at once\n".encode())

    for name in (signal.SIGINT, signal.SIGTERM):
        usual[name] = signal.signal(name, receive)
    try:
        yield stop
    finally:
        for name, handler in usual.items():
            signal.signal(name, handler)


TERMINATED = 128 + signal.SIGTERM
"""The exit status of what SIGTERM ends, as shells have it."""


class Preempted(SystemExit):
    """SIGTERM came while there was nothing to save."""

    def __init__(self, status: int):
        super().__init__(status)
        self.status = status


@contextmanager
def leave_on_sigterm(status: int = 0) -> Iterator[None]:
    """SIGTERM raises `Preempted`, wherever no `stop_signal` within takes it as a request.

    Args:
        status: the exit status; 0 where nothing is lost, as the same command goes on.
    """

    def leave(*_: object) -> None:
        raise Preempted(status)

    usual = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)
