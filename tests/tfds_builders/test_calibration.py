"""Intrinsics: every way to give them, and that they follow the picture's size."""

import json

import numpy as np
import pytest

from packnet_jax.errors import ConfigError, DataError, PacknetError
from tfds_builders.calibration import Calibration

K = np.array([[72.0, 0, 30.5], [0, 71.0, 15.25], [0, 0, 1]])
KITTI = (
    "calib_time: 09-Jan-2012 13:57:47\nP_rect_00: 1 0 2 0 0 3 4 0 0 0 1 0\n"
    "P_rect_02: 72 0 30.5 44.9 0 71 15.25 0.2 0 0 1 0.003\nP_rect_03: 9 0 9 9 0 9 9 9 0 0 1 9\n"
)


def write(path, content):
    if path.suffix == ".npz":
        np.savez(path, intrinsics=content)
    else:
        path.write_text(content)
    return str(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("calib_cam_to_cam.txt", KITTI),
        ("camera.npz", K),
        ("camera.json", json.dumps(K.tolist())),
        ("other.json", json.dumps({"intrinsics": K.tolist(), "model": "pinhole"})),
        ("camera.txt", "72 0 30.5\n0 71 15.25\n0 0 1\n"),
        ("camera.csv", "72,0,30.5\n0,71,15.25\n0,0,1\n"),
    ],
)
def test_every_kind_of_file(tmp_path, name, content):
    path = write(tmp_path / name, content)
    calibration = Calibration.parse(path)
    np.testing.assert_array_equal(calibration.at((32, 64)), K)
    assert calibration.origin == path


def test_four_numbers():
    calibration = Calibration.parse("72,71, 30.5,15.25")
    np.testing.assert_array_equal(calibration.at((32, 64)), K)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("calib: none\n", "holds no intrinsics"),
        ("1 2 3 4", "holds no intrinsics"),
        ("P_rect_02: 1 2 3\n", "holds no intrinsics"),
        ("0 0 3 0 1 3 0 0 1", "positive fx and fy"),
        ("9 0 3 0 9 3 0 0 2", r"\[0, fy, cy\], \[0, 0, 1\]"),
        ("9 0 nan 0 9 3 0 0 1", "but intrinsics are"),
        ("1e-50 0 3 0 1e-50 3 0 0 1", "at least 0.001 pixels"),
        ("9e9 0 3 0 9 3 0 0 1", r"below 1e\+09"),
        ("9 1e10 3 0 9 3 0 0 1", r"below 1e\+09"),
    ],
)
def test_files_that_hold_something_else(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        Calibration.parse(write(tmp_path / "camera.txt", content))


@pytest.mark.parametrize(
    ("name", "content"), [("a.npz", b"PK but no more"), ("a.json", b"{"), ("a.json", b"{}")]
)
def test_damaged_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="holds no intrinsics"):
        Calibration.parse(str(tmp_path / name))


def test_messages_name_what_the_user_set(tmp_path):
    setting = "config.data.frames.intrinsics"
    bad = write(tmp_path / "camera.txt", "1 2 3 4")
    for text in ("guess", bad, "0,1,2,3"):
        with pytest.raises(PacknetError, match=f"^{setting}: "):
            Calibration.parse(text, setting=setting)
    with pytest.raises(PacknetError, match=f"^{setting}: the principal point"):
        Calibration.parse("9,9,40,40", setting=setting).at((32, 64))


@pytest.mark.parametrize("text", ["absent.txt", "1,2,3", "1,2,3,x", "guess"])
def test_neither_file_nor_numbers(text):
    with pytest.raises(ConfigError, match=f"given '{text}', which is no file; expected fx,fy"):
        Calibration.parse(text)


@pytest.mark.parametrize("shape", [(16, 64), (32, 31)])
def test_a_camera_of_another_size_is_refused(shape):
    with pytest.raises(PacknetError, match=f"not inside a picture of {shape[1]}x{shape[0]}"):
        Calibration("given", K).at(shape)


def test_fractions_of_the_picture_are_refused():
    with pytest.raises(PacknetError, match="give pixels"):
        Calibration.parse("0.58,1.92,0.5,0.5").at((375, 1242))


@pytest.mark.parametrize("shape", [(480, 640), (1920, 1080)])
def test_a_guess_is_a_view_of_71_degrees_and_says_so(shape):
    calibration = Calibration.parse("auto")
    guess = calibration.at(shape)
    across = 2 * np.degrees(np.arctan(max(shape) / 2 / guess[0, 0]))
    assert across == pytest.approx(71, abs=0.2)
    assert guess[0, 0] == guess[1, 1]
    np.testing.assert_array_equal(guess[:2, 2], [(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    assert "guessed" in calibration.origin
