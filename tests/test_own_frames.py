"""The whole program on a folder of frames with nothing beside them, through its command line."""

import json

import cli
import pytest
from folders import numbered, write_mask, write_pictures

pytestmark = pytest.mark.slow

CONFIG = cli.config_file("own_frames")
SMALL = (
    "--config.data.image_shape=32,64",
    "--config.train.num_steps=2",
    "--config.train.batch_size=2",
    "--config.train.log_every_steps=1",
    "--config.eval.num_pictures=2",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    write_pictures(folder / "frames", [f"walk{i}/{n}" for i in (1, 2) for n in numbered(6, ".jpg")])
    write_mask(folder / "mask.png")
    return folder


def arguments(place, *more):
    return [
        CONFIG,
        *SMALL,
        "--config.data.root=frames",
        "--config.data.frames.mask=mask.png",
        "--config.data.frames.val_fraction=0.3",
        *more,
    ]


@pytest.fixture(scope="module")
def trained(place):
    return cli.run("main", *arguments(place, "--workdir=run"), cwd=place)


def test_training_without_depth_says_what_it_guessed_and_shows_pictures(trained, place):
    for words in (
        "Training on 4 samples of image_folder-train",
        "showing pictures of 4 of image_folder-val: without depth",
        "the latest checkpoints stay",
        "intrinsics: guessed: fx = fy = 0.7 of the longer side",
        "mask: where mask.png is 0",
        "Pictures     run/eval/image_folder-val",
    ):
        assert words in trained
    assert "Evaluation " not in trained
    assert len(list((place / "run" / "eval" / "image_folder-val").glob("*.png"))) == 2
    assert [p.name for p in (place / "run" / "checkpoints").iterdir()] == ["00000002"]
    stored = json.loads((place / "run" / "config.json").read_text())
    assert stored["data"]["frames"]["intrinsics"] == "auto"


def test_a_finished_run_has_nothing_to_do(trained, place):
    assert "Nothing to do" in cli.run("main", *arguments(place, "--workdir=run"), cwd=place)


def test_evaluation_without_depth_is_refused(trained, place):
    output = cli.run("main", "--mode=eval", "--checkpoint=run", cwd=place, status=2)
    assert "image_folder-val can not be evaluated" in output
    assert "packnet_jax.infer" in output


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.data.root=nowhere", "nowhere: there is no such folder or video"),
        ("--config.data.split=eigen", "the splits of image_folder are 'train' and 'val' and 'all'"),
        ("--config.data.frames.intrinsics=none.txt", "'none.txt', which is no file"),
        ("--config.data.depth_type=files", "depth maps need both"),
        ("--config.eval.median_baseline=True", "a median of depth needs depth"),
    ],
)
def test_mistakes_end_in_one_line(place, tmp_path, flag, message):
    output = cli.run("main", *arguments(place, flag, f"--workdir={tmp_path}"), cwd=place, status=2)
    assert message in output
    assert "Traceback" not in output
