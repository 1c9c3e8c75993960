"""One process that is asked to stop stops all of them, at the same step."""

import signal

import processes
import pytest
import tiny_program
from killing import Watched

from packnet_jax import sharding
from packnet_jax.agreement import AgreedStop
from packnet_jax.events import read_events
from packnet_jax.signals import StopSignal


def test_who_is_alone_agrees_at_once():
    asked = StopSignal()
    stop = AgreedStop(asked, sharding.make_mesh())
    stop.ask()
    assert stop.received is None
    asked.received = signal.SIGTERM
    assert stop.received is signal.SIGTERM


@pytest.mark.slow
def test_sigterm_of_the_second_process_ends_both_with_status_0_and_everything_saved(tmp_path):
    flags = tiny_program.flags("run", "--config.train.num_steps=100000")
    cluster = f"--coordinator=localhost:{processes.free_port()}", "--num_processes=2"
    first, second = (
        processes.start([tiny_program.__file__, *flags, *cluster, f"--process_id={n}"], 2, tmp_path)
        for n in range(2)
    )
    watched = Watched(first, r"^step (\d+)$")
    try:
        while len(watched.steps) < 5:
            assert first.poll() is None, "".join(watched.output)
        second.send_signal(signal.SIGTERM)
        for process in (second, first):
            assert process.wait(processes.TIMEOUT_SECONDS) == 0, "".join(watched.output)
    finally:
        first.kill()
        second.kill()
    last_step = max(watched.steps)
    *_, saved, stopped, ended = read_events(tmp_path / "run")
    assert (saved["kind"], stopped["kind"], ended["kind"]) == ("save", "stop", "end")
    assert saved["step"] == stopped["step"] == last_step
    longer = f"--config.train.num_steps={last_step + 1}"
    assert "resuming from" in tiny_program.run(*flags, longer, cwd=tmp_path)
