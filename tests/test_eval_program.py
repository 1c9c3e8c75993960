"""Checkpoints of the original, evaluated through the command line on fake KITTI.

With real frames, and against the original's own results: `test_end_to_end.py`.
"""

import json

import cli
import numpy as np
import original_files
import pytest
from fake_kitti import make_kitti, write_groundtruth

pytestmark = pytest.mark.slow

TARGETS = (1, 2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with fake KITTI in it."""
    folder = tmp_path_factory.mktemp("evaluation")
    root = make_kitti(folder / "kitti", {1: 4}, [(1, i) for i in TARGETS])
    for number in TARGETS:
        write_groundtruth(root, 1, number)
    return folder


def evaluate(place, checkpoint, config, *flags, status=0):
    return cli.run(
        "main",
        "--mode=eval",
        f"--checkpoint={checkpoint}",
        cli.config_file(config),
        "--config.data.root=kitti",
        "--config.data.eval_split=fake",
        "--config.data.image_shape=32,64",
        "--config.eval.crop=",
        *flags,
        cwd=place,
        status=status,
    )


def report(place, workdir, name):
    return json.loads((place / workdir / "eval" / f"{name}.json").read_text())


def test_a_checkpoint_of_the_original_is_evaluated_as_it_is(place):
    content = original_files.content_of("DepthResNet_18", "PoseNet")
    content["config"]["model"]["params"]["max_depth"] = 40.0
    original_files.write(place / "trained.ckpt", content)
    output = evaluate(place, "trained.ckpt", "kitti", "--workdir=one")
    for words in (
        "evaluating trained.ckpt",
        "model.depth_net.name = 'DepthResNet'  (and not 'PackNet01', as in ",
        "eval.max_depth = 40.0  (and not 80.0, as in ",
        "kitti_raw-fake: depth 'velodyne', input depth '', in kitti",
        "data.image_shape = (32, 64)",
    ):
        assert words in output
    found = report(place, "one", "kitti_raw-fake")
    assert found["protocol"]["max_depth"] == 40
    assert found["protocol"]["images"] == len(TARGETS)
    in_batches = evaluate(place, "trained.ckpt", "kitti", "--workdir=two", *BATCHES)
    assert "eval.batch_size = 2" in in_batches
    again = report(place, "two", "kitti_raw-fake")
    for mode, values in found["metrics"].items():
        assert again["metrics"][mode] == pytest.approx(values, rel=1e-5)


BATCHES = ("--config.eval.batch_size=2",)


def test_settings_that_a_file_does_not_hold_come_from_the_configuration(place):
    state_dict = original_files.state_dict_of("DepthResNet_18", "PoseNet")
    original_files.write(place / "old.pth.tar", {"state_dict": state_dict})
    output = evaluate(place, "old.pth.tar", "kitti", "--workdir=old")
    assert "model.depth_net.name = 'DepthResNet'" in output
    assert "eval.max_depth = 80.0, which the checkpoint does not say" in output
    assert report(place, "old", "kitti_raw-fake")["protocol"]["max_depth"] == 80


@pytest.mark.soak
def test_sparse_depth_is_taken_by_the_network_that_knows_it(place):
    content = original_files.content_of("PackNetSAN01_1A", "")
    original_files.write(place / "san.ckpt", content)
    second = "--config.data.more_eval[0]"
    output = evaluate(
        place, "san.ckpt", "kitti_san", "--workdir=san", f"{second}.split=fake", *NOT_CROPPED
    )
    assert "kitti_raw-fake-with_velodyne: depth 'groundtruth', input depth 'velodyne'" in output
    alone, completed = (
        report(place, "san", name) for name in ("kitti_raw-fake", "kitti_raw-fake-with_velodyne")
    )
    assert alone["protocol"]["input_depth"] == "none"
    assert "proj_depth/velodyne" in completed["protocol"]["input_depth"]
    assert "improved" in completed["protocol"]["ground_truth"]
    for mode, values in alone["metrics"].items():
        assert np.isfinite(list(values.values())).all()
        assert completed["metrics"][mode]["abs_rel"] != values["abs_rel"]


NOT_CROPPED = ("--config.data.crop_eval_borders=()", "--config.eval.scale_output=resize")
