"""What makes metres of depth: each way finds the factor that was put in."""

from pathlib import Path

import numpy as np
import pytest

from packnet_jax.errors import ConfigError, DataError
from packnet_jax.infer.prediction import Prediction
from packnet_jax.infer.scaling import (
    METRES,
    UP_TO_SCALE,
    CameraHeight,
    GroundTruthMedian,
    check_partners,
    parse_scale,
)
from packnet_jax.metrics.depth import depth_metrics
from packnet_jax.visualize import write_depth
from tfds_builders.synthetic_drive.cameras import default_camera
from tfds_builders.synthetic_drive.render import Renderer
from tfds_builders.synthetic_drive.street import make_street


def prediction(depth, K=None, name="a.png"):
    rgb = np.zeros((*depth.shape, 3), np.float32)
    return Prediction(Path(name), rgb, 1 / np.maximum(depth, 1e-6), depth, K)


def random_depth(shape=(8, 16), seed=0):
    return np.random.default_rng(seed).uniform(2, 60, shape).astype(np.float32)


def test_none_leaves_depth_and_says_so():
    scaling = parse_scale("none")
    assert scaling.factor(prediction(random_depth())) == 1
    assert scaling.unit == UP_TO_SCALE


@pytest.mark.parametrize(("text", "factor"), [("5.4", 5.4), ("1", 1), ("1e-1", 0.1)])
def test_a_factor_makes_metres(text, factor):
    scaling = parse_scale(text)
    assert scaling.factor(prediction(random_depth())) == factor
    assert scaling.unit == METRES


@pytest.mark.parametrize(
    "text", ["0", "-2", "nan", "inf", "camera_height=0", "camera_height=", "height=2", "metres", ""]
)
def test_other_scales_are_refused(text):
    with pytest.raises(ConfigError, match=f"--scale: given '{text}', expected none, median"):
        parse_scale(text)


def test_the_median_and_its_ground_truth_go_together(tmp_path):
    with pytest.raises(ConfigError, match="--gt_folder=DIR go together"):
        parse_scale("median")
    with pytest.raises(ConfigError, match="--gt_folder=DIR go together"):
        parse_scale("none", gt_folder=tmp_path)
    with pytest.raises(DataError, match="no folder"):
        parse_scale("median", gt_folder=tmp_path / "absent")


@pytest.mark.parametrize("suffix", [".npz", ".png"])
def test_the_median_is_that_of_the_ground_truth(tmp_path, suffix):
    """Sparse truth of twice the size; other pixels do not count."""
    truth = np.kron(random_depth(), np.ones((2, 2), np.float32))
    truth[np.random.default_rng(1).random(truth.shape) < 0.7] = 0
    (tmp_path / "drive").mkdir()
    write_depth((tmp_path / "drive" / "a").with_suffix(suffix), truth)
    scaling = parse_scale("median", gt_folder=tmp_path)
    predicted = prediction(random_depth(seed=2) / 5.4, name="drive/a.jpg")
    in_evaluation = depth_metrics(
        predicted.depth, truth, min_depth=0, max_depth=1e6, crop="", median_scaling=True
    )
    assert scaling.unit == METRES
    assert scaling.factor(predicted) == pytest.approx(float(in_evaluation.scale), rel=1e-3)


def test_the_median_of_a_picture_without_ground_truth_is_unknown(tmp_path):
    scaling = GroundTruthMedian(tmp_path)
    with pytest.raises(DataError, match="no ground truth of that name"):
        scaling.factor(prediction(random_depth()))
    write_depth(tmp_path / "a.npz", np.zeros((4, 4)))
    with pytest.raises(DataError, match="no pixel has a depth"):
        scaling.factor(prediction(random_depth()))


def test_ground_truth_is_looked_for_before_anything_else(tmp_path):
    scaling = GroundTruthMedian(tmp_path)
    with pytest.raises(DataError, match=r"for none of 2 pictures; that of a\.png would be"):
        check_partners(scaling, [Path("a.png"), Path("b.png")])
    with pytest.raises(ConfigError, match="videos and cameras have no ground truth"):
        check_partners(scaling, [])
    write_depth(tmp_path / "b.png", np.ones((4, 4)))
    check_partners(scaling, [Path("a.png"), Path("b.png")])
    check_partners(parse_scale("none"), [])


def test_the_camera_s_height_tells_the_factor():
    street = make_street(0, num_frames=1)
    pose, camera = street.world_T_camera[0], default_camera(64, 192)
    depth = Renderer(street, camera, supersampling=1).render(pose, 0).depth
    scaling = parse_scale(f"camera_height={-pose[1, 3]}")
    assert scaling.unit == METRES
    found = scaling.factor(prediction(depth / 5.4, camera.intrinsics))
    assert found == pytest.approx(5.4, rel=0.005)
    assert "above the ground" in scaling.origin


def test_without_ground_the_camera_s_height_tells_nothing():
    wall = prediction(np.full((32, 64), 9.0, np.float32), default_camera(32, 64).intrinsics)
    with pytest.raises(DataError, match="no ground plane"):
        CameraHeight(1.65).factor(wall)
    with pytest.raises(ConfigError, match="needs --intrinsics"):
        CameraHeight(1.65).factor(wall._replace(K=None))
