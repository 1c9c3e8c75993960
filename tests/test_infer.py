"""Inference's own rules: which pictures, which files, which mistakes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packnet_jax import infer
from packnet_jax.errors import ConfigError, DataError


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 10, 3), 90, np.uint8)).save(path)
    return path


def test_folders_are_searched_below_and_other_files_left_alone(tmp_path):
    kept = [picture(tmp_path / name) for name in ("a/1.png", "b/2.JPG", "b/c/3.jpeg")]
    (tmp_path / "notes.txt").write_text("no picture")
    assert infer.find_pictures(tmp_path) == kept


def test_nothing_to_do_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"holds no \.png"):
        infer.find_pictures(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        infer.find_pictures(tmp_path / "absent")


def test_a_damaged_picture_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG but no more")
    with pytest.raises(DataError, match=r"bad\.png can not be read"):
        infer.read_picture(tmp_path / "bad.png")


@pytest.mark.parametrize(
    ("words", "shape"), [(None, None), (["96", "320"], (96, 320)), (["32", " 64"], (32, 64))]
)
def test_image_shape(words, shape):
    assert infer.parse_image_shape(words) == shape


@pytest.mark.parametrize("words", [["96"], ["96", "100"], ["a", "b"], ["0", "32"], ["-32", "32"]])
def test_other_image_shapes_are_refused(words):
    with pytest.raises(ConfigError, match="multiples of 32"):
        infer.parse_image_shape(words)


@pytest.mark.parametrize(
    ("picture_path", "source", "output", "save", "target"),
    [
        ("in/a.png", "in/a.png", "out.png", None, "out.png"),
        ("in/a.png", "in/a.png", "out.png", "npz", "out.npz"),
        ("in/a.png", "in/a.png", "out.npz", "npz", "out.npz"),
        ("in/a.png", "in/a.png", "out", None, "out/a.png"),
        ("in/a.jpg", "in/a.jpg", "out", "png", "out/a.png"),
        ("in/b/a.jpg", "in", "out", "npz", "out/b/a.npz"),
    ],
)
def test_where_results_go(tmp_path, picture_path, source, output, save, target):
    path = picture(tmp_path / picture_path)
    found = infer._target(path, tmp_path / source, tmp_path / output, save)
    assert found == tmp_path / target


def test_a_folder_needs_a_folder_and_results_must_not_meet(tmp_path):
    pictures = [picture(tmp_path / "in" / name) for name in ("a.jpg", "a.png")]
    with pytest.raises(ConfigError, match="--output must be one too"):
        infer._target(pictures[0], tmp_path / "in", tmp_path / "out.png", None)
    with pytest.raises(ConfigError, match="would both become"):
        infer.infer(tmp_path, tmp_path / "in", tmp_path / "out", save="npz")
