"""A whole run on two sets mixed, evaluated on two, with networks small enough to be quick."""

import dataclasses
import json
import signal

import pytest
import tiny
from fake_cityscapes import write_snippet
from fake_dgp import make_dgp
from fake_kitti import make_kitti
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from configs import cityscapes_to_kitti, ddad
from packnet_jax import config as config_lib
from packnet_jax import runs, trained
from packnet_jax.checkpoint import read_config
from packnet_jax.checkpointer import Checkpointer
from packnet_jax.data_config import SyntheticConfig
from packnet_jax.eval_config import Given
from packnet_jax.events import read_events
from packnet_jax.sfm import Networks
from packnet_jax.train.loop import Outcome

pytestmark = pytest.mark.slow

KITTI, STREETS = "kitti_raw-fake", "synthetic_drive-test"


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch):
    monkeypatch.setattr(Networks, "from_config", lambda *_: tiny.NETWORKS)
    monkeypatch.setattr(trained, "make_depth_net", lambda *_: tiny.NETWORKS.depth_net)


@pytest.fixture
def config(tmp_path) -> config_lib.Config:
    """Four frames of fake KITTI twice an epoch, and four of two rendered streets once."""
    streets = {
        "name": "synthetic_drive",
        "depth_type": "dense",
        "synthetic": SyntheticConfig(num_streets=2, num_test_streets=1, frames_per_street=4),
    }
    raw = config_lib.default()
    raw.data.root = str(make_kitti(tmp_path / "kitti", {1: 6}, [(1, i) for i in range(1, 5)]))
    raw.data.tfds_dir = str(tmp_path / "tfds")
    raw.data.split = raw.data.eval_split = "fake"
    raw.data.repeat = 2
    raw.data.image_shape = tiny.SHAPE
    raw.data.more_train = (config_lib.source(split="train", **streets),)
    raw.data.more_eval = (config_lib.source(split="test", **streets),)
    raw.train.batch_size = 4
    raw.train.num_epochs = 1
    raw.eval.crop = ""
    raw.eval.median_baseline = True
    return config_lib.resolve(raw)


def report(workdir, name):
    return json.loads((workdir / "eval" / f"{name}.json").read_text())


def test_sets_are_mixed_in_training_and_evaluated_one_by_one(config, tmp_path, capfd, monkeypatch):
    workdir = tmp_path / "run"
    monitored = []
    save = Checkpointer.save

    def noting_save(*args, metrics=None, **fields):
        monitored.append(metrics)
        save(*args, metrics=metrics, **fields)

    monkeypatch.setattr(Checkpointer, "save", noting_save)
    runs.train_run(config, workdir=workdir)
    output = capfd.readouterr().out
    assert (
        "Training on 8 samples of kitti_raw-fake (x2) + synthetic_drive-train (x1), "
        f"evaluating on 4 of {KITTI} and 4 of {STREETS}"
    ) in output
    reports = {name: report(workdir, name) for name in (KITTI, STREETS)}
    for name, found in reports.items():
        assert found["dataset"] == name
        assert found["step"] == 3  # (4 * 2 + 4) samples in batches of 4
        assert found["protocol"]["images"] == 4
        assert len(list((workdir / "eval" / name).glob("*.png"))) == 4
        assert (workdir / "eval" / f"{name}.median_depth_map.json").is_file()
        assert f"eval/{name}.json" in output
    assert all("2011_09_26" in row["name"] for row in reports[KITTI]["per_image"])
    assert all("street" in row["name"] for row in reports[STREETS]["per_image"])
    assert reports[KITTI]["metrics"] != reports[STREETS]["metrics"]

    events = EventAccumulator(str(workdir)).Reload()
    tags = {f"eval_{name}/depth_pp_gt/abs_rel" for name in reports}
    assert tags <= set(events.Tags()["tensors"])

    assert read_config(workdir).config == config
    (of_checkpoint,) = monitored
    of_first_set = reports[KITTI]["metrics"]["depth_pp_gt"]["abs_rel"]
    assert of_checkpoint["depth_pp_gt/abs_rel"] == of_first_set

    nothing_given = Given(None, config_lib.default(), {})
    again = runs.evaluate_run(nothing_given, workdir, workdir=tmp_path / "evaluated")
    assert [found.dataset for found in again] == [KITTI, STREETS]
    for name, found in reports.items():
        repeated = report(tmp_path / "evaluated", name)["metrics"]["depth_pp_gt"]
        assert repeated == pytest.approx(found["metrics"]["depth_pp_gt"], rel=1e-5)


def test_what_a_stop_has_cut_off_after_the_last_step_is_made_up_for(config, tmp_path, caplog):
    workdir = tmp_path / "run"
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, num_steps=1))
    runs.train_run(config, workdir=workdir)
    baseline = workdir / "eval" / f"{STREETS}.median_depth_map.json"
    before = json.loads(baseline.read_text())
    baseline.unlink()
    # What is evaluated may change; it is told as what it is.
    fewer = dataclasses.replace(config, data=dataclasses.replace(config.data, more_eval=()))
    runs.train_run(fewer, workdir=workdir)
    assert not baseline.exists()
    assert "The data sets (eval) are not those of the last start" in caplog.text
    assert "The data sets (train)" not in caplog.text
    assert runs.train_run(config, workdir=workdir) is None
    assert json.loads(baseline.read_text())["metrics"] == before["metrics"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_stopped_ends_once(config, tmp_path, monkeypatch, number):
    """In its events; to the shell, only Ctrl-C is a failure."""

    def stopped(*_, **__):
        return Outcome(None, (), number, 3)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(runs, "train", stopped)
    if number == signal.SIGTERM:
        assert runs.train_run(config, workdir=tmp_path / "run") == number
    else:
        with pytest.raises(SystemExit) as left:
            runs.train_run(config, workdir=tmp_path / "run")
        assert left.value.code == 130
    ends = [event for event in read_events(tmp_path / "run") if event["kind"] == "end"]
    assert [event["reason"] for event in ends] == [number.name]


def test_cityscapes_is_trained_on_and_kitti_evaluated(tmp_path, capfd):
    raw = cityscapes_to_kitti.get_config()
    write_snippet(tmp_path / "cityscapes", "aachen_000000", 19)
    make_kitti(tmp_path / "kitti", {1: 3}, [(1, 1)])
    raw.data.root = str(tmp_path / "cityscapes")
    raw.data.more_eval[0].root, raw.data.more_eval[0].split = str(tmp_path / "kitti"), "fake"
    raw.data.tfds_dir = str(tmp_path / "tfds")
    raw.data.image_shape = tiny.SHAPE
    raw.data.crop_train_borders = (0, 12, 0, 32)
    raw.train.batch_size, raw.train.num_steps = 4, 2
    raw.eval.crop = ""
    runs.train_run(config_lib.resolve(raw), workdir=tmp_path / "run")
    output = capfd.readouterr().out
    assert f"Training on 28 samples of cityscapes-train, evaluating on 1 of {KITTI}" in output
    assert report(tmp_path / "run", KITTI)["step"] == 2
    assert [path.stem for path in (tmp_path / "run" / "eval").glob("*.json")] == [KITTI]


def test_rigs_of_ddad_are_trained_on_together_and_cameras_evaluated_one_by_one(tmp_path, capfd):
    raw = ddad.get_config()
    raw.data.root = str(make_dgp(tmp_path / "ddad", {"000001": 4, "000002": 3}))
    raw.data.tfds_dir = str(tmp_path / "tfds")
    raw.data.cameras = ("Camera_01", "Camera_05")
    raw.data.stack_cameras = True
    raw.data.image_shape = tiny.SHAPE
    raw.train.batch_size, raw.train.num_steps = 4, 2
    front = {"name": "ddad", "split": "val", "depth_type": "lidar", "cameras": ("camera_01",)}
    raw.data.more_eval = (config_lib.source(root=raw.data.root, **front),)
    runs.train_run(config_lib.resolve(raw), workdir=tmp_path / "run")
    both, alone = "ddad-val-camera_01-camera_05", "ddad-val-camera_01"
    assert "Training on 6 samples of ddad-train" in capfd.readouterr().out
    assert report(tmp_path / "run", both)["protocol"]["images"] == 14
    assert report(tmp_path / "run", alone)["protocol"]["images"] == 7
    rows = {row["name"]: row for row in report(tmp_path / "run", both)["per_image"]}
    for row in report(tmp_path / "run", alone)["per_image"]:
        assert row["depth_pp_gt"] == pytest.approx(rows[row["name"]]["depth_pp_gt"], rel=1e-5)
