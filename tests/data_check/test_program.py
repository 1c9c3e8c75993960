"""The check through its command line: status, table, JSON and page."""

import json

import cli
import numpy as np
import pytest
from folders import SHAPE, numbered, write_mask, write_pictures
from PIL import Image

from packnet_jax.visualize import write_depth

pytestmark = pytest.mark.slow

ARGUMENTS = (cli.config_file("own_frames"), "--config.data.image_shape=64,96", "--output=checked")


@pytest.fixture
def place(tmp_path):
    write_pictures(tmp_path / "frames", numbered(10))
    write_mask(tmp_path / "mask.png")
    for number in range(10):
        depth = np.full(SHAPE, 5.0 + number, np.float32)
        write_depth(tmp_path / "depth" / f"frame{number}.npz", depth)
    return tmp_path


def check(place, *flags, status=0):
    return cli.run(
        "data_check", *ARGUMENTS, "--config.data.root=frames", *flags, cwd=place, status=status
    )


def test_a_sound_folder(place):
    output = check(
        place,
        "--config.data.frames.mask=mask.png",
        "--config.data.frames.depth_root=depth",
        "--config.data.depth_type=files",
    )
    for words in ("9 in 1 stream", "7 of 9 have their context", "75.0% of the pixels count"):
        assert words in output
    assert "intrinsics: guessed" in output
    document = json.loads((place / "checked" / "data_check.json").read_text())
    assert set(document) == {"train_image_folder-train", "eval_image_folder-val"}
    assert document["eval_image_folder-val"]["depth"]["nearest"] == 14
    page = np.asarray(Image.open(place / "checked" / "train_image_folder-train.png"))
    cell = 360 * 64 // 96 + 20 + 6
    assert page.shape == (4 * cell, 4 * 366, 3)
    assert (page[cell - 30, 100] != page[cell - 130, 100]).any()
    assert page[cell - 10, 100, 0] > 100 > page[cell - 10, 100, 2]  # the mask's rows are red


def test_findings_are_status_1(place):
    same = (place / "frames" / "frame0.png").read_bytes()
    (place / "frames" / "frame1.png").write_bytes(same)
    output = check(place, "--config.data.frames.intrinsics=500,500,40,24", status=1)
    assert "! fx 500 and fy 500 are unlikely for a picture of 80x48" in output
    assert "! 1 files are copies of others, such as frame1 of frame0" in output


def test_mistakes_are_status_2(place):
    output = check(place, "--config.data.frames.pattern=*.jpg", status=2)
    assert "holds no file like '*.jpg'" in output
    assert "Traceback" not in output
    output = cli.run("data_check", cwd=place, status=2)
    assert "--config is missing" in output
