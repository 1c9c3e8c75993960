"""What happens to machines happens to a whole run: kills, preemption, full and read-only disks,
lost and damaged data. Afterwards the same command goes on as if nothing had been.

The networks are tiny, the program is `main`. The long campaign of kills is in `soak/`.
"""

import dataclasses
import os
import signal
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
import tiny
import tiny_program
from absl.testing import flagsaver
from disks import fill, small_disk
from killing import Watched, after_steps, assert_same_end, during_save, final_state

from packnet_jax import config as config_lib
from packnet_jax import main, runs, trained
from packnet_jax.checkpointer import Checkpointer
from packnet_jax.data.open import open_data_sets
from packnet_jax.errors import DataError, PacknetError
from packnet_jax.events import read_events
from packnet_jax.sfm import Networks
from packnet_jax.signals import Preempted

NUM_STEPS = 24
STEPS = (
    f"--config.train.num_steps={NUM_STEPS}",
    "--config.train.checkpoint_every_steps=4",
    "--config.train.eval_every_steps=100",
    "--config.train.log_every_steps=6",
)
SAFETY_SECONDS = 300


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with an unbroken run in it, and its data."""
    folder = tmp_path_factory.mktemp("faults")
    tiny_program.run(*tiny_program.flags("unbroken", *STEPS), cwd=folder)
    return folder


def kinds(workdir: Path) -> list[str]:
    return [event["kind"] for event in read_events(workdir)]


@pytest.mark.slow
def test_kills_between_and_during_saves_change_nothing(place):
    flags = tiny_program.flags("killed", *STEPS)
    for moment in (after_steps(10), during_save(3), after_steps(7)):
        process = tiny_program.start(*flags, cwd=place)
        killed = Watched(process, r"^step (\d+)$").kill_when(
            place / "killed" / "checkpoints", moment
        )
        assert killed.steps >= 3
    tiny_program.run(*flags, cwd=place)
    assert_same_end(place / "unbroken", place / "killed", NUM_STEPS)
    told = kinds(place / "killed")
    assert told.count("start") == 4
    assert told.count("end") == 1
    assert told.count("resume") == 3


@pytest.mark.slow
def test_while_a_run_trains_others_are_refused_and_sigterm_ends_it_with_status_0(place):
    flags = tiny_program.flags("stopped", *STEPS, "--config.train.num_steps=100000")
    process = tiny_program.start(*flags, cwd=place)
    watched = Watched(process, r"^step (\d+)$")
    try:
        while len(watched.steps) < 5:
            assert process.poll() is None, "".join(watched.output)
        second = tiny_program.run(*flags, cwd=place, status=2)
        assert f"is training in stopped already (process {process.pid} on" in second
        assert "Traceback" not in second
        evaluation = ("--mode=eval", "--checkpoint=stopped", "--workdir=stopped")
        assert "depth_pp_gt" in tiny_program.run(*evaluation, cwd=place)
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
        assert process.wait(SAFETY_SECONDS) == 0, "".join(watched.output)
    finally:
        process.kill()
        process.wait()
    last_step = max(watched.steps)
    *_, saved, stopped, ended = read_events(place / "stopped")
    assert (saved["kind"], stopped["kind"], ended["kind"]) == ("save", "stop", "end")
    assert saved["step"] == stopped["step"] == last_step
    assert ended["reason"] == stopped["signal"] == "SIGTERM"
    assert "the same command resumes --workdir=stopped" in "".join(watched.output)
    longer = f"--config.train.num_steps={last_step + 1}"
    assert f"resuming from {place}/stopped" in tiny_program.run(*flags, longer, cwd=place)


@pytest.mark.soak
def test_a_scheduler_that_starts_failures_again_is_told_of_a_stop_and_of_the_end(place):
    """As a JobSet is by --stopped_status."""
    again = "--stopped_status=75"
    flags = tiny_program.flags("told", *STEPS, again, "--config.train.num_steps=100000")
    process = tiny_program.start(*flags, cwd=place)
    watched = Watched(process, r"^step (\d+)$")
    try:
        while len(watched.steps) < 5:
            assert process.poll() is None, "".join(watched.output)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SAFETY_SECONDS) == 75, "".join(watched.output)
    finally:
        process.kill()
        process.wait()
    longer = f"--config.train.num_steps={max(watched.steps) + 1}"
    for _ in range(2):  # to the last step, and with nothing left to do
        tiny_program.run(*flags, longer, cwd=place, status=0)


@pytest.mark.parametrize(("stopped_by", "status"), [(signal.SIGTERM, 75), (None, None)])
def test_the_status_of_a_stop_is_not_that_of_the_end(tmp_path, monkeypatch, stopped_by, status):
    """Whatever `events.jsonl` says, which may not even be written."""
    monkeypatch.setattr(runs, "train_run", lambda *_, **__: stopped_by)
    if not main.flags.FLAGS.is_parsed():
        main.flags.FLAGS.mark_as_parsed()
    expected = nullcontext() if status is None else pytest.raises(SystemExit, match=str(status))
    with flagsaver.flagsaver(stopped_status=75), expected:
        main._train(tiny.config(), tmp_path)


def test_a_stop_before_the_first_step_is_told_alike(tmp_path, monkeypatch):
    def preempted(*_, **__):
        raise Preempted(0)

    monkeypatch.setattr(runs, "train_run", preempted)
    if not main.flags.FLAGS.is_parsed():
        main.flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(stopped_status=75), pytest.raises(SystemExit) as left:
        main._train(tiny.config(), tmp_path)
    assert left.value.code == 75


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture
def config(tfds_dir):
    raw = config_lib.default()
    raw.data.name, raw.data.depth_type = "synthetic_drive", "dense"
    raw.data.split, raw.data.eval_split = "train", "test"
    raw.data.tfds_dir = str(tfds_dir)
    raw.data.image_shape = tiny.SHAPE
    raw.data.synthetic.num_streets = raw.data.synthetic.num_test_streets = 1
    raw.data.synthetic.frames_per_street = 6
    raw.train.batch_size, raw.train.num_steps, raw.train.checkpoint_every_steps = 4, 6, 2
    raw.train.eval_every_steps = 100
    raw.train.log_every_steps = raw.train.image_every_steps = 1
    raw.eval.crop = ""
    raw.loss.num_scales = 1
    return config_lib.resolve(raw)


@pytest.fixture
def tiny_networks(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Networks, "from_config", lambda *_: tiny.NETWORKS)
        patch.setattr(trained, "make_depth_net", lambda *_: tiny.NETWORKS.depth_net)
        yield


def contents(folder: Path) -> dict[Path, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def before_save(monkeypatch, step: int, act) -> None:
    """Does something to the machine right before that step is saved."""
    save = Checkpointer.save

    def act_and_save(self, number, **fields):
        self.wait()
        if number == step:
            act()
        save(self, number, **fields)

    monkeypatch.setattr(Checkpointer, "save", act_and_save)


@pytest.mark.slow
def test_a_full_disk_is_named_and_costs_nothing_that_was_saved(
    config, tiny_networks, tmp_path, monkeypatch
):
    runs.train_run(config, workdir=tmp_path / "unbroken")
    with small_disk(tmp_path / "disk") as disk:
        workdir, before = disk / "run", {}

        def fill_up():
            fill(disk)
            before.update(contents(workdir / "checkpoints"))

        before_save(monkeypatch, 4, fill_up)
        with pytest.raises(PacknetError, match="No space left on device"):
            runs.train_run(config, workdir=workdir)
        monkeypatch.undo()
        found = contents(workdir / "checkpoints")
        assert before
        assert {name: data for name, data in found.items() if name in before} == before
        assert not (workdir / "checkpoints" / "00000004").exists()
        (disk / "ballast").unlink()
        runs.train_run(config, workdir=workdir)
        assert_same_end(tmp_path / "unbroken", workdir, 6)
        assert "resume" in kinds(workdir)


@pytest.mark.slow
def test_a_folder_that_becomes_read_only_is_named_and_costs_nothing_that_was_saved(tmp_path):
    with small_disk(tmp_path / "disk", "64m") as disk:
        flags = tiny_program.flags(str(disk / "run"), *STEPS)
        process = tiny_program.start(*flags, "--config.train.num_steps=100000", cwd=tmp_path)
        watched = Watched(process, r"^step (\d+)$")
        try:
            while not list((disk / "run" / "checkpoints").glob("[0-9]" * 8)):
                assert process.poll() is None, "".join(watched.output)
            for options in (("--bind", str(disk)), ("-o", "remount,bind,ro")):
                subprocess.run(["mount", *options, str(disk)], check=True)
            assert process.wait(SAFETY_SECONDS) == 2, "".join(watched.output)
        finally:
            process.kill()
            process.wait()
        told = "".join(watched.output)
        assert "Error: " in told and "Read-only file system" in told
        assert "Timeout waiting" not in told  # it ends although threads of Orbax wait
        saved = contents(disk / "run" / "checkpoints")
        for workdir in ("run", "other"):
            flags = tiny_program.flags(str(disk / workdir), *STEPS)
            refused = tiny_program.run(*flags, cwd=tmp_path, status=2)
            assert "can not be written" in refused and "Read-only file system" in refused
        assert contents(disk / "run" / "checkpoints") == saved
        subprocess.run(["umount", str(disk)], check=True)
        last = int(max((disk / "run" / "checkpoints").glob("[0-9]" * 8)).name)
        longer = f"--config.train.num_steps={last + 4}"
        resumed = tiny_program.run(
            *tiny_program.flags(str(disk / "run"), *STEPS, longer), cwd=tmp_path
        )
        assert f"resuming from {disk}/run/checkpoints/{last:08d}" in resumed
        assert final_state(disk / "run", last + 4)


@pytest.mark.slow
def test_a_data_set_that_does_not_fit_on_its_disk_is_named_and_built_once_there_is_space(
    config, tmp_path
):
    with small_disk(tmp_path / "disk", "64k") as disk:
        cramped = dataclasses.replace(
            config, data=dataclasses.replace(config.data, tfds_dir=str(disk))
        )
        with pytest.raises(DataError, match=r"can not be built .*No space left on device"):
            open_data_sets(cramped)
        assert not shards(cramped)
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert len(open_data_sets(cramped).train) == 4


def shards(config) -> list[Path]:
    """The files of the training set."""
    folders = Path(config.data.tfds_dir).glob("synthetic_drive/train-*/*")
    return [file for folder in folders for file in folder.glob("*.array_record*")]


@pytest.fixture
def own_data(config, tiny_networks, tmp_path):
    """The configuration with a built set of its own, and a run of two steps on it."""
    data = dataclasses.replace(config.data, tfds_dir=str(tmp_path / "tfds"))
    short = dataclasses.replace(config.train, num_steps=2)
    begun = dataclasses.replace(config, data=data, train=short)
    runs.train_run(begun, workdir=tmp_path / "run")
    return dataclasses.replace(config, data=data)


def vanish(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwrite(file: Path) -> None:
    size = file.stat().st_size
    with open(file, "r+b") as stream:
        stream.seek(size // 4)
        stream.write(bytes(size // 2))


@pytest.mark.slow
@pytest.mark.parametrize("harm", [vanish, cut, overwrite])
def test_lost_and_damaged_shards_are_named_and_cost_nothing_that_was_saved(
    own_data, tmp_path, harm
):
    files = shards(own_data)
    assert files
    whole = {file: file.read_bytes() for file in files}
    saved = contents(tmp_path / "run" / "checkpoints")
    for file in files:
        harm(file)
    with pytest.raises(DataError, match="Delete the built set"):
        runs.train_run(own_data, workdir=tmp_path / "run")
    assert contents(tmp_path / "run" / "checkpoints") == saved
    assert kinds(tmp_path / "run")[-1] == "error"
    for file, data in whole.items():
        file.write_bytes(data)
    runs.train_run(own_data, workdir=tmp_path / "run")
    assert final_state(tmp_path / "run", 6)
