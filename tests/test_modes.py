"""Every objective through the program: a few steps on rendered streets, with tiny networks."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tiny
from known_depth import write_picture
from ply_files import read_ply
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from packnet_jax import config as config_lib
from packnet_jax import runs, trained
from packnet_jax.checkpoint import read_config
from packnet_jax.config import NETWORK_KINDS
from packnet_jax.errors import CheckpointError
from packnet_jax.evaluate import MODES
from packnet_jax.infer.options import CloudOptions, Options
from packnet_jax.infer.run import infer
from packnet_jax.loss_config import needs_of
from packnet_jax.metrics.depth import METRIC_NAMES
from packnet_jax.ray_template import RUN_TEMPLATE, load_template
from packnet_jax.sfm import Networks
from packnet_jax.trained import load_pose_network
from tfds_builders.synthetic_drive.cameras import fisheye_camera

pytestmark = pytest.mark.slow

STEPS = 3
BY_MOTION = {"photometric_loss", "smoothness_loss"}
BY_MOTION_PICTURES = {"photometric_error", "automask", "warped_context_0", "warped_context_1"}


class Mode(NamedTuple):
    """What is set, and what has to be seen."""

    objective: str
    terms: set[str]
    pictures: set[str] = BY_MOTION_PICTURES
    fields: dict[str, Any] = {}  # noqa: RUF012 (never changed)


MEASURED = {"measured_inverse_depth"}
MODES_OF_TRAINING = {
    "self_supervised": Mode("self_supervised", BY_MOTION),
    "velocity": Mode("velocity", BY_MOTION | {"velocity_loss"}),
    "semi_supervised": Mode(
        "semi_supervised", BY_MOTION | {"supervised_loss"}, BY_MOTION_PICTURES | MEASURED
    ),
    "supervised": Mode(
        "semi_supervised", {"supervised_loss"}, MEASURED, {"loss.supervised_loss_weight": 1.0}
    ),
    "reprojected": Mode(
        "reprojected",
        BY_MOTION | {"reprojected_distance"},
        BY_MOTION_PICTURES | MEASURED,
        {"data.beams": 4},
    ),
    "completion": Mode(
        "completion",
        BY_MOTION | {"supervised_loss", "supervised_loss_rgbd", "depth_loss"},
        BY_MOTION_PICTURES | MEASURED | {"inverse_depth_rgbd"},
        {"data.input_depth_type": "lidar", "data.input_depth_keep": (0.5, 1.0)},
    ),
    "completed_alone": Mode(
        "completion",
        {"supervised_loss", "supervised_loss_rgbd", "depth_loss"},
        MEASURED | {"inverse_depth_rgbd"},
        {
            "data.input_depth_type": "lidar",
            "data.back_context": 0,
            "data.forward_context": 0,
            "loss.supervised_method": "sparse-silog",
            "loss.supervised_loss_weight": 1.0,
        },
    ),
    "ray_surface": Mode(
        "ray_surface",
        BY_MOTION | {"ray_residual_weight", "ray_temperature"},
        fields={"data.synthetic.camera": "fisheye", "loss.ray_start_temperature": 0.0},
    ),
}


class Run(NamedTuple):
    """What a mode left."""

    mode: Mode
    config: config_lib.Config
    workdir: Path


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module", params=MODES_OF_TRAINING)
def run(request, tmp_path_factory, tfds_dir) -> Run:
    """A whole run of one mode on the six frames of a street, evaluated on another."""
    mode = MODES_OF_TRAINING[request.param]
    raw = config_lib.default()
    raw.objective = mode.objective
    raw.data.name, raw.data.depth_type = "synthetic_drive", "lidar"
    raw.data.split, raw.data.eval_split = "train", "test"
    raw.data.tfds_dir = str(tfds_dir)
    raw.data.image_shape = tiny.SHAPE
    raw.data.synthetic.num_streets = raw.data.synthetic.num_test_streets = 1
    raw.data.synthetic.frames_per_street = 6
    raw.train.batch_size, raw.train.num_steps = 4, STEPS
    raw.train.log_every_steps = raw.train.image_every_steps = 1
    raw.eval.crop = ""
    raw.loss.num_scales = raw.loss.supervised_num_scales = 1  # which compiles faster
    raw.update_from_flattened_dict(mode.fields)
    config = config_lib.resolve(raw)
    workdir = tmp_path_factory.mktemp(request.param)
    networks = tiny.networks_for(config.needs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Networks, "from_config", lambda *_: networks)
        patch.setattr(trained, "make_depth_net", lambda *_: networks.depth_net)
        runs.train_run(config, workdir=workdir)
    return Run(mode, config, workdir)


def tensors(run: Run) -> dict[str, list[np.ndarray]]:
    """What the event files hold, by name, in the order of steps."""
    events = EventAccumulator(str(run.workdir)).Reload()
    return {
        tag: [make_ndarray(event.tensor_proto) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


def test_a_mode_logs_its_terms_and_pictures_evaluates_and_saves(run):
    found = tensors(run)
    values = {name: found[f"train/{name}"] for name in run.mode.terms | {"loss", "gradient_norm"}}
    for name, series in values.items():
        assert len(series) == STEPS, name
        assert np.isfinite(series).all(), name
    assert found["train/nonfinite_steps"][-1] == 0
    others = {term for mode in MODES_OF_TRAINING.values() for term in mode.terms} - run.mode.terms
    assert not {f"train/{name}" for name in others} & found.keys()

    always = {"input", "inverse_depth"}
    for name in always | run.mode.pictures:
        assert len(found[f"train/{name}"]) == STEPS, name
    pictures = {picture for mode in MODES_OF_TRAINING.values() for picture in mode.pictures}
    assert not {f"train/{name}" for name in pictures - run.mode.pictures} & found.keys()

    (name,) = run.config.data.eval_names
    report = json.loads((run.workdir / "eval" / f"{name}.json").read_text())
    assert report["step"] == STEPS
    assert all(
        np.isfinite(report["metrics"][mode][metric]) for mode in MODES for metric in METRIC_NAMES
    )
    assert list((run.workdir / "eval" / name).glob("*.png"))


def test_a_checkpoint_has_a_pose_network_where_motion_is_learnt(run, monkeypatch):
    needs = needs_of(run.config.objective, run.config.loss)
    stored = read_config(run.workdir).config
    held = [kind for kind in NETWORK_KINDS if getattr(stored.model, kind).name]
    assert held == (["depth_net", "pose_net"] if needs.motion else ["depth_net"])
    monkeypatch.setattr(trained, "make_pose_net", lambda *_: tiny.TinyPoseNet())
    if needs.motion:
        assert load_pose_network(run.workdir).variables["params"]["pose_net"]
    else:
        with pytest.raises(CheckpointError, match="no pose"):
            load_pose_network(run.workdir)


def test_a_ray_surface_leaves_its_template_and_points_are_made_with_it(run, monkeypatch, tmp_path):
    template = run.workdir / RUN_TEMPLATE
    assert template.is_file() == run.config.needs.ray_surface
    if not run.config.needs.ray_surface:
        return
    camera = fisheye_camera(*tiny.SHAPE)
    np.testing.assert_allclose(load_template(template).rays, camera.rays, atol=1e-6)
    monkeypatch.setattr(
        trained, "make_depth_net", lambda *_: tiny.networks_for(run.config.needs)[0]
    )
    picture = write_picture(tmp_path / "picture.png")
    options = Options(save=["npz", "ply"], cloud=CloudOptions(max_slope=np.inf))
    npz, ply = infer(run.workdir, str(picture), tmp_path / "out", options).written
    points, _, comments = read_ply(ply)
    assert f"rays_origin: {template}" in comments
    assert "ray_residual_weight: 1.0" in comments  # training is over
    with np.load(npz) as file:
        rays, depth, valid = file["rays"], file["depth"], file["valid"]
    np.testing.assert_array_equal(valid, camera.mask)
    np.testing.assert_allclose(points, (depth[..., None] * rays)[valid], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1, atol=1e-6)
    assert np.abs(rays - camera.rays).max() > 1e-3  # the residual counts
