"""kill -9, twenty times over one run of the whole program: bit for bit the end of an unbroken one.

Every start is killed after some steps that were seen, every other one during a save. Figures of the
last campaign: `docs/reliability.md`.
"""

from pathlib import Path

import cli
import pytest
from killing import Watched, after_steps, assert_same_end, during_save

from packnet_jax.events import read_events

pytestmark = pytest.mark.soak
NUM_STEPS = 260
NUM_KILLS = 20
CHECKPOINT_EVERY = 5


def arguments(place: Path, workdir: str) -> list[str]:
    return [
        cli.config_file("demo"),
        f"--config.data.tfds_dir={place / 'tfds'}",
        "--config.data.image_shape=32,64",
        "--config.data.synthetic.num_streets=2",
        "--config.data.synthetic.num_test_streets=1",
        "--config.data.synthetic.frames_per_street=6",
        f"--config.train.num_steps={NUM_STEPS}",
        "--config.train.eval_every_steps=130",
        f"--config.train.checkpoint_every_steps={CHECKPOINT_EVERY}",
        "--config.train.log_every_steps=1",
        "--config.eval.median_baseline=False",
        f"--workdir={workdir}",
    ]


def moments():
    """Seven to sixteen steps after a start; or the first save once six to ten are done."""
    for number in range(NUM_KILLS):
        if number % 2:
            yield during_save(6 + number % 5)
        else:
            yield after_steps(7 + 7 * number % 10)


def test_twenty_kills_change_nothing(tmp_path):
    cli.run("main", *arguments(tmp_path, "unbroken"), cwd=tmp_path)
    workdir = tmp_path / "killed"
    kills = []
    for moment in moments():
        process = cli.start("main", *arguments(tmp_path, "killed"), cwd=tmp_path)
        watched = Watched(process, rf"([1-9][0-9]*)/{NUM_STEPS} \[")  # of the progress bar
        kills.append(watched.kill_when(workdir / "checkpoints", moment))
        saved = sorted(path.name for path in (workdir / "checkpoints").glob("[0-9]*[0-9]"))
        print(f"kill {len(kills)} after {kills[-1]}, with checkpoints {saved}", flush=True)
    cli.run("main", *arguments(tmp_path, "killed"), cwd=tmp_path)
    assert_same_end(tmp_path / "unbroken", workdir, NUM_STEPS)
    told = [event["kind"] for event in read_events(workdir)]
    assert told.count("start") == NUM_KILLS + 1
    assert told.count("end") == 1
    steps = sum(killed.steps for killed in kills)
    num_during_save = sum(killed.during_save for killed in kills)
    print(f"{len(kills)} kills, {num_during_save} during a save, {steps} steps seen before them")
    assert num_during_save >= 5
    assert all(killed.steps > 0 for killed in kills)
