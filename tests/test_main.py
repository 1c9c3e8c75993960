"""The whole program through its command line, on a folder laid out as KITTI raw."""

import json
import os
import shutil

import cli
import numpy as np
import pytest
from fake_kitti import make_kitti, sparse_depth
from PIL import Image

from packnet_jax.events import read_events

pytestmark = pytest.mark.slow

NUM_TARGETS = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with fake KITTI in it."""
    folder = tmp_path_factory.mktemp("program")
    make_kitti(folder / "kitti", {1: 6}, [(1, i) for i in range(1, 1 + NUM_TARGETS)])
    return folder


def arguments(place, *more):
    return [
        cli.config_file("overfit_kitti"),
        f"--config.data.root={place / 'kitti'}",
        f"--config.data.tfds_dir={place / 'tfds'}",
        "--config.data.split=fake",
        "--config.data.eval_split=fake",
        "--config.data.image_shape=32,64",
        "--config.model.pose_net.name=PoseNet",
        "--config.model.pose_net.version=",
        "--config.eval.crop=",
        "--config.train.num_steps=3",
        "--config.train.checkpoint_every_steps=2",
        "--config.train.log_every_steps=1",
        *more,
    ]


@pytest.fixture(scope="module")
def trained(place):
    """A run of three steps, and what it printed."""
    output = cli.run("main", *arguments(place, "--workdir=run"), cwd=place)
    return place / "run", output


def test_training_says_where_everything_is(trained):
    workdir, output = trained
    for words in (
        "DepthResNet18 + PoseNet at 32x64",
        "4 samples of kitti_raw-fake",
        "First step after",
        "loss",
    ):
        assert words in output
    assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["00000002", "00000003"]
    assert json.loads((workdir / "config.json").read_text())["train"]["num_steps"] == 3
    assert json.loads((workdir / "versions.json").read_text())["jax"]
    told = read_events(workdir)
    assert [event["step"] for event in told if event["kind"] == "save"] == [2, 3]
    assert told[-1]["kind"] == "end"
    for event in told:
        assert event["kind"] == "warning" or event["message"] in output
    report = json.loads((workdir / "eval" / "kitti_raw-fake.json").read_text())
    assert report["protocol"]["images"] == NUM_TARGETS
    assert np.isfinite(report["metrics"]["depth_pp_gt"]["abs_rel"])
    assert list(workdir.glob("events.out.tfevents*"))
    for named in ("checkpoints", "eval/kitti_raw-fake.json", "tensorboard --logdir run"):
        assert named in output


def test_a_second_start_resumes(trained, place):
    workdir, _ = trained
    shutil.copytree(workdir, place / "longer")
    output = cli.run(
        "main", *arguments(place, "--workdir=longer", "--config.train.num_steps=5"), cwd=place
    )
    assert "5/5" in output
    assert (place / "longer" / "checkpoints" / "00000005").is_dir()
    assert "config.train.num_steps = 5 (was 3)" in output


def test_other_networks_in_the_same_workdir_are_refused(trained, place):
    output = cli.run(
        "main",
        *arguments(place, "--workdir=run", "--config.model.depth_net.version=34"),
        cwd=place,
        status=2,
    )
    assert "config.model.depth_net.version: '18' there, '34' given" in output
    assert "--allow_changes" in output
    assert "Traceback" not in output


def test_evaluating_a_checkpoint_repeats_the_training_runs_result(trained, place):
    workdir, _ = trained
    output = cli.run(
        "main",
        *arguments(place, "--mode=eval", "--checkpoint=run", "--workdir=evaluated"),
        cwd=place,
    )
    assert "depth_pp_gt" in output
    assert "In all, compiling took" in output
    there, here = (
        json.loads((folder / "eval" / "kitti_raw-fake.json").read_text())
        for folder in (workdir, place / "evaluated")
    )
    assert here["step"] == there["step"] == 3
    for mode in here["metrics"]:
        assert here["metrics"][mode] == pytest.approx(there["metrics"][mode], rel=1e-5)


def test_a_checkpoint_alone_says_what_to_evaluate_and_flags_change_it(trained, place):
    output = cli.run(
        "main",
        "--mode=eval",
        "--checkpoint=run",
        "--workdir=again",
        "--config.eval.max_depth=20",
        "--config.eval.batch_size=4",
        "--config.save.folder=saved",
        "--noconfig.save.depth.viz",
        cwd=place,
    )
    for words in (
        "evaluating run, step 3",
        "data.image_shape = (32, 64)",
        "no --config",
        "eval.max_depth = 20.0",
    ):
        assert words in output
    there, here = (
        json.loads((place / folder / "eval" / "kitti_raw-fake.json").read_text())
        for folder in ("run", "again")
    )
    assert here["protocol"] == there["protocol"] | {"max_depth": 20.0}
    assert here["per_image"][0]["valid_pixels"] < there["per_image"][0]["valid_pixels"]
    saved = place / "saved" / "depth" / "kitti_raw-fake" / "run"
    assert sorted(path.name for path in saved.iterdir()) == sorted(
        f"fake_{index:010d}_{kind}"
        for index in range(NUM_TARGETS)
        for kind in ("depth.npz", "depth.png", "rgb.png")
    )


def test_saved_depth_maps_score_as_their_evaluation_did(trained, place):
    common = [cli.config_file("overfit_kitti"), f"--config.data.tfds_dir={place / 'tfds'}"]
    cli.run(
        "main",
        "--mode=eval",
        "--checkpoint=run",
        *common,
        f"--config.data.root={place / 'kitti'}",
        "--config.data.eval_split=fake",
        "--workdir=once_more",
        "--config.save.folder=maps",
        cwd=place,
    )
    truth = place / "truth"
    truth.mkdir()
    for index in range(NUM_TARGETS):
        depth = sparse_depth(1010 + 10 * index)
        np.savez(truth / f"fake_{index:010d}.npz", depth=depth)
    (truth / f"fake_{NUM_TARGETS - 1:010d}.npz").rename(truth / "lonely.npz")
    output = cli.run(
        "evaluate_depth_maps",
        "--pred_folder=maps/depth/kitti_raw-fake/run",
        f"--gt_folder={truth}",
        "--use_gt_scale",
        "--output=maps.json",
        cwd=place,
    )
    assert "1 predictions have no ground truth: fake_0000000003" in output
    assert "1 ground-truth maps have no prediction: lonely" in output
    rows = json.loads((place / "maps.json").read_text())["per_image"]
    evaluated = json.loads((place / "once_more" / "eval" / "kitti_raw-fake.json").read_text())
    for row, there in zip(rows, evaluated["per_image"], strict=False):
        assert row["depth_gt"] == pytest.approx(there["depth_pp_gt"], rel=1e-5)
    mean = np.mean([row["depth_gt"]["abs_rel"] for row in rows])
    assert f"{mean:.3f}" in output


def test_inference_of_one_picture_and_of_a_folder(trained, place):
    folder = place / "kitti" / "2011_09_26" / "2011_09_26_drive_0001_sync" / "image_02" / "data"
    picture = folder / "0000000001.png"
    common = ("--checkpoint=run", f"--input={picture}")
    cli.run("infer", *common, "--output=one.png", cwd=place)
    assert Image.open(place / "one.png").size == (64, 64)  # 32 rows of picture, 32 of depth
    output = cli.run(
        "infer", "--checkpoint=run", f"--input={folder}", "--output=many", "--save=npz", cwd=place
    )
    assert "6 files in many" in output
    arrays = np.load(place / "many" / "0000000001.npz")
    assert arrays["depth"].shape == (32, 64)
    assert "intrinsics" in arrays
    cli.run("infer", *common, "--output=large", "--save=png", "--image_shape=64,96", cwd=place)
    depth = np.asarray(Image.open(place / "large" / "0000000001.png"))
    assert depth.shape == (64, 96)
    assert depth.max() > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--config.train.batchsize=2",), 'Did you mean "batch_size"'),
        (("--config.train.batch_size=two",), "--config.train.batch_size=two"),
        (("--config.train.batch_size=0",), "expected at least 1"),
        (("--config.data.root=nowhere",), "nowhere"),
        (("--config.data.split=absent",), "There is no split 'absent'"),
        (("--config.model.pose_net.name=PoseNets",), "unknown pose network 'PoseNets'"),
        (("--workdir=/proc/run",), "--workdir: /proc/run can not be written"),
        (("--workdir=gs://bucket/run",), "--workdir: given 'gs://bucket/run', expected a path"),
        (("--mode=eval", "--workdir=e"), "--mode=eval needs --checkpoint"),
        (("--mode=eval", "--workdir=e", "--checkpoint=nowhere"), "no checkpoint at"),
        (("--mode=eval_pose", "--workdir=e"), "--mode=eval_pose needs --checkpoint"),
        (("--config.data.input_depth_type=lidar",), "kitti_raw has 'velodyne', 'groundtruth'"),
        (("--config.data.input_depth_type=velodyne",), "DepthResNet18 takes pictures alone"),
        (("--config.data.name=",), "no data set is chosen"),
        (("--config.model.pose_net.name=",), "pose_net.name: empty, but training learns from"),
        (("surplus",), "unknown arguments"),
    ],
)
def test_a_mistake_is_one_clear_error(place, more, message):
    output = cli.run("main", *arguments(place, *more), cwd=place, status=2)
    assert message in output
    assert "Traceback" not in output


def test_an_impossible_shape_is_named_with_the_nearest_possible(place):
    output = cli.run(
        "main", cli.config_file("demo"), "--config.data.image_shape=30,64", cwd=place, status=2
    )
    assert "image_shape: given (30, 64)" in output
    assert "nearest: (32, 64)" in output


def test_a_missing_or_broken_config_file_is_named(place):
    assert "--config is missing" in cli.run("main", cwd=place, status=2)
    assert "absent.py" in cli.run("main", "--config=absent.py", cwd=place, status=2)
    (place / "broken.py").write_text(
        "from packnet_jax import config\n\n"
        "def get_config():\n    c = config.default()\n    c.data.rot = ''\n    return c\n"
    )
    assert "rot" in cli.run("main", "--config=broken.py", cwd=place, status=2)


def test_fields_of_a_further_set_are_set_by_its_place(place):
    (place / "mixed.py").write_text(
        "from packnet_jax import config\n\n"
        "def get_config():\n    c = config.default()\n    c.data.root = 'somewhere'\n"
        "    c.data.more_train = (config.source(root='there', split='a'),)\n    return c\n"
    )
    first = "--config.data.more_train[0]"
    output = cli.run(
        "main",
        "--config=mixed.py",
        f"{first}.name=synthetic_drive",
        f"{first}.synthetic.num_streets=0",
        cwd=place,
        status=2,
    )
    assert "config.data.more_train[0].synthetic.num_streets: given 0" in output
    output = cli.run(
        "main", "--config=mixed.py", "--config.data.more_train[1].root=x", cwd=place, status=2
    )
    assert "only the file can add one" in output
    assert "Traceback" not in output


def test_corrupt_data_are_named_before_anything_is_compiled(place, tmp_path):
    root = make_kitti(tmp_path / "kitti", {1: 3}, [(1, 1)])
    for file in root.rglob("*.png"):
        os.truncate(file, 20)
    output = cli.run(
        "main",
        *arguments(place, f"--config.data.root={root}", f"--workdir={tmp_path / 'run'}"),
        cwd=place,
        status=2,
    )
    assert "DataError" in output
    assert "0000000001" in output
    assert "Traceback" not in output
