"""Calibrations from files and numbers."""

import json

import pytest

from packnet_jax.errors import ConfigError, DataError
from packnet_jax.geometry.camera_models import (
    DoubleSphere,
    KannalaBrandt,
    OcamPolynomial,
    Pinhole,
    UnifiedSphere,
)
from packnet_jax.ray_template import read_model

LENS = Pinhole(300.0, 301.0, 320.5, 240.5)
NUMBERS = "300,301,320.5,240.5"
OCAM = """\
#direct
3 -200.0 0.0 1e-3

#inverse
2 300.0 100.0

#center
240.5 320.25

#affine
1.01 0.02 0.03

#size
480 640
"""


@pytest.mark.parametrize(
    ("model", "numbers", "expected"),
    [
        ("pinhole", NUMBERS, LENS),
        ("mei", f"{NUMBERS},1.2", UnifiedSphere(LENS, 1.2)),
        ("mei", f"{NUMBERS},1.2,.1,.2,.3,.4", UnifiedSphere(LENS, 1.2, 0.1, 0.2, 0.3, 0.4)),
        ("double_sphere", f"{NUMBERS},-0.2,0.6", DoubleSphere(LENS, -0.2, 0.6)),
        ("kannala_brandt", f"{NUMBERS},.1,.2", KannalaBrandt(LENS, 0.1, 0.2)),
    ],
)
def test_numbers(model, numbers, expected):
    assert read_model(model, numbers) == (expected, None)


def write(path, **content):
    path.write_text(json.dumps(content))
    return str(path)


def test_json_files(tmp_path):
    path = tmp_path / "camera.json"
    K = [[300, 0.5, 320.5], [0, 301, 240.5], [0, 0, 1]]
    skewed = Pinhole(300.0, 301.0, 320.5, 240.5, 0.5)
    given = write(path, K=K, xi=1.1, D=[0.1, 0.2, 0.3, 0.4], image_size=[640, 480], note="ours")
    expected = UnifiedSphere(skewed, 1.1, 0.1, 0.2, 0.3, 0.4)
    assert read_model("mei", given) == (expected, (480, 640))
    assert read_model("pinhole", given) == (skewed, (480, 640))
    given = write(path, fx=300, fy=301, cx=320.5, cy=240.5, xi=0.1, alpha=0.5)
    assert read_model("double_sphere", given) == (DoubleSphere(LENS, 0.1, 0.5), None)
    given = write(path, K=[[300, 0, 320.5], [0, 301, 240.5], [0, 0, 1]], D=[[1], [2], [3], [4]])
    assert read_model("kannala_brandt", given).model == KannalaBrandt(LENS, 1, 2, 3, 4)


def test_an_ocam_file(tmp_path):
    path = tmp_path / "calib_results.txt"
    path.write_text(OCAM)
    expected = OcamPolynomial((-200.0, 0.0, 1e-3), (300.0, 100.0), 240.5, 320.25, 1.01, 0.02, 0.03)
    assert read_model("ocam", str(path)) == (expected, (480, 640))


@pytest.mark.parametrize(
    ("model", "given", "error", "message"),
    [
        ("fisheye", NUMBERS, ConfigError, "'fisheye'; use one of pinhole, mei"),
        (
            "mei",
            NUMBERS,
            ConfigError,
            r"has 4 numbers; .*fx,fy,cx,cy,xi\[,k1\[,k2\[,p1\[,p2\]\]\]\]",
        ),
        ("pinhole", f"{NUMBERS},1", ConfigError, "has 5 numbers"),
        ("pinhole", "camera.json", ConfigError, "is no file, and no numbers"),
        ("ocam", NUMBERS, DataError, "give OCamCalib's calib_results.txt"),
        ("pinhole", "0,1,2,3", DataError, "positive fx and fy"),
        ("pinhole", "1,1,nan,3", DataError, "finite numbers"),
        ("mei", f"{NUMBERS},1.35e154", DataError, r"below 1e\+09"),  # whose square is none
        ("double_sphere", f"{NUMBERS},-1e300,0.5", DataError, r"below 1e\+09"),
        ("double_sphere", f"{NUMBERS},0,1", DataError, "alpha is 1.0"),
        ("pinhole", "1e-50,301,320.5,240.5", DataError, "at least 0.001 pixels"),
    ],
)
def test_mistakes_are_named(model, given, error, message):
    with pytest.raises(error, match=message):
        read_model(model, given)


def test_files_that_lack_something_are_named(tmp_path):
    path = tmp_path / "camera.json"
    with pytest.raises(DataError, match=r"camera.json lacks cx, xi for --model=mei"):
        read_model("mei", write(path, fx=1, fy=1, cy=2))
    with pytest.raises(DataError, match=r"camera.json holds no calibration"):
        read_model("pinhole", write(path, K=[1, 2, 3]))
    path.write_text("{")
    with pytest.raises(DataError, match=r"camera.json holds no calibration"):
        read_model("pinhole", str(path))
    path.write_text(OCAM.replace("3 -200.0", "5 -200.0"))
    with pytest.raises(DataError, match=r"no OCamCalib file \(3 coefficients instead of 5\)"):
        read_model("ocam", str(path))
    path.write_text("#size\n480 640\n")
    with pytest.raises(DataError, match=r"no OCamCalib file"):
        read_model("ocam", str(path))


@pytest.mark.parametrize(
    "size",
    [[640, -480], [0, 480], [640.5, 480], [640], [640, 480, 3], [1e400, 480], ["640", "480"]],
)
def test_sizes_of_pictures_are_two_positive_whole_numbers(tmp_path, size):
    given = write(tmp_path / "x.json", fx=300, fy=301, cx=320.5, cy=240.5, image_size=size)
    with pytest.raises(DataError, match=r"x\.json holds no calibration"):
        read_model("pinhole", given)


@pytest.mark.parametrize("size", ["-480 640", "480 0", "480.5 640"])
def test_sizes_of_ocam_files_are_positive_whole_numbers(tmp_path, size):
    path = tmp_path / "calib_results.txt"
    path.write_text(OCAM.replace("480 640", size))
    with pytest.raises(DataError, match="two positive whole numbers"):
        read_model("ocam", str(path))
