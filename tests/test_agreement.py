"""Who is alone agrees with itself; `test_two_processes.py` has two."""

import signal

from packnet_jax import sharding
from packnet_jax.agreement import AgreedStop
from packnet_jax.signals import StopSignal


def test_who_is_alone_agrees_at_once():
    asked = StopSignal()
    stop = AgreedStop(asked, sharding.make_mesh())
    stop.ask()
    assert stop.received is None
    asked.received = signal.SIGTERM
    assert stop.received is signal.SIGTERM
