"""The first request to stop is noted, the second acts; afterwards everything is as before."""

import os
import signal

import pytest

from packnet_jax.signals import stop_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request(number, capsys):
    before = signal.getsignal(number)
    with stop_signal("closing the files") as stop:
        assert stop.received is None
        os.kill(os.getpid(), number)
        assert stop.received == number
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before
    assert f"{signal.Signals(number).name}: closing the files" in capsys.readouterr().out


def test_the_second_one_acts_as_usual():
    # Whoever starts the tests in the background may have Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), stop_signal("waiting"):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
