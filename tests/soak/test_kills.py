"""kill -9, twenty times over one run: bit for bit the end of an unbroken one.

Every start is killed after some steps that were seen, every other one during a save. Figures of the
last campaign: `docs/reliability.md`.
"""

from collections.abc import Callable
from pathlib import Path

import cli
import pytest
import tiny_program
from killing import Killed, Watched, after_steps, assert_same_end, during_save

from packnet_jax.events import read_events

pytestmark = pytest.mark.soak
NUM_STEPS = 260
NUM_KILLS = 20
STEPS = (
    f"--config.train.num_steps={NUM_STEPS}",
    "--config.train.checkpoint_every_steps=5",
    "--config.train.eval_every_steps=130",
    "--config.train.log_every_steps=10",
)


def moment(number: int) -> Callable[[list[int], Path], bool]:
    """Seven to sixteen steps after a start; or the first save once six to ten are done."""
    return during_save(6 + number % 5) if number % 2 else after_steps(7 + 7 * number % 10)


def kill(place: Path, number: int) -> Killed:
    """Starts the run anew and kills it at its moment."""
    process = tiny_program.start(*tiny_program.flags("killed", *STEPS), cwd=place)
    watched = Watched(process, r"^step (\d+)$")
    return watched.kill_when(place / "killed" / "checkpoints", moment(number))


def check(place: Path, kills: list[Killed]) -> str:
    """Of the ended runs; returns the figures."""
    assert_same_end(place / "unbroken", place / "killed", NUM_STEPS)
    told = [event["kind"] for event in read_events(place / "killed")]
    assert told.count("start") == len(kills) + 1
    assert told.count("end") == 1
    num_during_save = sum(killed.during_save for killed in kills)
    assert num_during_save >= 5
    assert all(killed.steps > 0 for killed in kills)
    steps = sum(killed.steps for killed in kills)
    resumes = told.count("resume")
    return (
        f"{len(kills)} kills, {num_during_save} in a save, after {steps} steps, {resumes} resumes"
    )


def test_twenty_kills_change_nothing(tmp_path):
    tiny_program.run(*tiny_program.flags("unbroken", *STEPS), cwd=tmp_path)
    kills = []
    for number in range(NUM_KILLS):
        kills.append(kill(tmp_path, number))
        print(f"kill {number}: {kills[-1]}", flush=True)
    tiny_program.run(*tiny_program.flags("killed", *STEPS), cwd=tmp_path)
    print(check(tmp_path, kills))


def test_three_kills_of_the_demos_networks_change_nothing(tmp_path):
    flags = [
        cli.config_file("demo"),
        *tiny_program.DATA,
        "--config.train.num_steps=30",
        "--config.train.eval_every_steps=30",
        "--config.train.checkpoint_every_steps=5",
        "--config.train.log_every_steps=1",
    ]
    cli.run("main", *flags, "--workdir=unbroken", cwd=tmp_path)
    for where in (after_steps(7), during_save(6), after_steps(6)):
        process = cli.start("main", *flags, "--workdir=killed", cwd=tmp_path)
        watched = Watched(process, r"([1-9][0-9]*)/30 \[")  # of the progress bar
        print(watched.kill_when(tmp_path / "killed" / "checkpoints", where))
    cli.run("main", *flags, "--workdir=killed", cwd=tmp_path)
    assert_same_end(tmp_path / "unbroken", tmp_path / "killed", 30)
