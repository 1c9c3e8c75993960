"""What happens to one of two processes of a run: it is asked to stop, or killed."""

import signal
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import processes
import pytest
import tiny_program
from killing import Watched, after_steps, assert_same_end, during_save

from packnet_jax.events import read_events

NUM_STEPS = 30
STEPS = (
    f"--config.train.num_steps={NUM_STEPS}",
    "--config.train.checkpoint_every_steps=5",
    "--config.train.eval_every_steps=100",
)


@contextmanager
def two_processes(folder: Path, *flags: str):
    """Both, each with two devices, and what the first one says; nothing of them stays."""
    cluster = f"--coordinator=localhost:{processes.free_port()}", "--num_processes=2"
    with ExitStack() as stack:
        both = []
        for number in range(2):
            given = [tiny_program.__file__, *flags, *cluster, f"--process_id={number}"]
            both.append(processes.start(given, 2, folder))
            stack.callback(both[-1].wait)
            stack.callback(both[-1].kill)
        yield *both, Watched(both[0], r"^step (\d+)$")


def wait_for_steps(count: int, process, watched: Watched) -> None:
    while len(watched.steps) < count:
        assert process.poll() is None, "".join(watched.output)


@pytest.mark.soak
def test_sigterm_of_the_second_ends_both_with_status_0_and_everything_saved(tmp_path):
    flags = tiny_program.flags("run", "--config.train.num_steps=100000")
    with two_processes(tmp_path, *flags) as (first, second, watched):
        wait_for_steps(5, first, watched)
        second.send_signal(signal.SIGTERM)
        for process in (second, first):
            assert process.wait(processes.TIMEOUT_SECONDS) == 0, "".join(watched.output)
    last_step = max(watched.steps)
    *_, saved, stopped, ended = read_events(tmp_path / "run")
    assert (saved["kind"], stopped["kind"], ended["kind"]) == ("save", "stop", "end")
    assert saved["step"] == stopped["step"] == last_step
    longer = f"--config.train.num_steps={last_step + 1}"
    assert "resuming from" in tiny_program.run(*flags, longer, cwd=tmp_path)


def finish(both, watched: Watched) -> None:
    for process in both:
        assert process.wait(processes.TIMEOUT_SECONDS) == 0, "".join(watched.output)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The workdir of a run that nothing has happened to."""
    folder = tmp_path_factory.mktemp("unbroken")
    with two_processes(folder, *tiny_program.flags("run", *STEPS)) as (*both, watched):
        finish(both, watched)
    return folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("killed", "moment"),
    [  # after step 10, whose save has waited for that of step 5: so there is one to resume from
        pytest.param(0, after_steps(12), id="the first"),
        pytest.param(1, during_save(12), id="saving", marks=pytest.mark.soak),
    ],
)
def test_a_kill_of_one_ends_the_other_and_both_go_on_to_the_same_end(
    unbroken, tmp_path, killed, moment
):
    flags = tiny_program.flags("run", *STEPS)
    with two_processes(tmp_path, *flags) as (*both, watched):
        while not moment(watched.steps, tmp_path / "run" / "checkpoints"):
            assert both[0].poll() is None, "".join(watched.output)
            time.sleep(0.001)
        both[killed].kill()
        assert both[1 - killed].wait(processes.TIMEOUT_SECONDS) != 0
    with two_processes(tmp_path, *flags) as (*both, watched):
        finish(both, watched)
    assert min(watched.steps) > 1
    assert_same_end(unbroken, tmp_path / "run", NUM_STEPS)
