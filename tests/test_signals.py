"""The first request to stop is noted, Ctrl-C after it acts; afterwards everything is as before."""

import os
import signal

import pytest

from packnet_jax.signals import Preempted, leave_on_sigterm, stop_signal


@pytest.fixture(autouse=True)
def usual_interrupt():
    """Whoever starts the tests in the background may have Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request(number, capfd):
    before = signal.getsignal(number)
    with stop_signal("closing the files") as stop:
        assert stop.received is None
        os.kill(os.getpid(), number)
        assert stop.received == number
    assert signal.getsignal(number) == before
    assert f"{signal.Signals(number).name}: closing the files" in capfd.readouterr().out


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_after_it_acts_as_usual(first):
    with stop_signal("waiting") as stop:
        os.kill(os.getpid(), first)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert stop.received == first


def test_further_sigterms_leave_what_is_being_saved(capfd):
    with stop_signal("saving") as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
    assert stop.received == signal.SIGTERM
    assert capfd.readouterr().out.count("saving") == 1


def test_where_there_is_nothing_to_save_sigterm_leaves_with_status_0():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted) as left, leave_on_sigterm():
        with stop_signal("saving") as stop:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)
    assert left.value.code == 0
    assert signal.getsignal(signal.SIGTERM) == before
