"""A wish to stop that does not cut off what is being done."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm


class StopSignal:
    """Whether somebody asked to stop."""

    received: signal.Signals | None = None


@contextmanager
def stop_signal(promise: str) -> Iterator[StopSignal]:
    """Turns the first SIGINT or SIGTERM into a request; the second one acts as usual.

    Args:
        promise: what the program will do, told to whoever asked.
    """
    stop = StopSignal()
    usual = {}

    def receive(number: int, _: object) -> None:
        stop.received = signal.Signals(number)
        for name, handler in usual.items():
            signal.signal(name, handler)
        tqdm.write(f"{stop.received.name}: {promise}; once more stops at once")

    for name in (signal.SIGINT, signal.SIGTERM):
        usual[name] = signal.signal(name, receive)
    try:
        yield stop
    finally:
        for name, handler in usual.items():
            signal.signal(name, handler)
