"""Runs whose encoders start from ImageNet weights: a fresh one reads the file."""

import cli
import jax
import numpy as np
import pytest
import tiny
from fake_kitti import make_kitti
from torch_files import write_legacy
from torchvision_resnets import torchvision_state_dict

from packnet_jax import config as config_lib
from packnet_jax import runs, sharding
from packnet_jax.checkpointer import Checkpointer
from packnet_jax.errors import CheckpointError
from packnet_jax.networks import make_depth_net
from packnet_jax.sfm import Networks
from packnet_jax.train import loop
from packnet_jax.train.optim import make_optimizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file as torchvision's, of random numbers."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    return write_legacy(path, torchvision_state_dict(18))


def config_with(path, *names):
    raw = config_lib.default()
    raw.data.root = "nowhere"
    raw.data.image_shape = tiny.SHAPE
    for name in names:
        raw.model[name].version = "18pt"
        raw.model[name].imagenet_weights = str(path)
    return config_lib.resolve(raw)


def start(config, workdir):
    """The state before the first step of a run in the workdir."""
    networks = Networks(make_depth_net("DepthResNet", "18pt"), tiny.TinyPoseNet())
    mesh = sharding.make_mesh(2)
    optimizer = make_optimizer(config.optim)
    with Checkpointer(workdir, keep_latest=1, keep_best=0, monitor="depth/abs_rel") as saved:
        data = tiny.data_sets(tiny.config())
        state = loop._start(config, networks, data, optimizer, saved, mesh)
        saved.save(1, variables=state.variables, training=state.training, config={})
    return state


def test_a_fresh_run_reads_the_file_and_a_resumed_run_does_not(weights, tmp_path):
    path = tmp_path / "copy.pth"
    path.write_bytes(weights.read_bytes())
    config = config_with(path, "depth_net")
    state = start(config, tmp_path / "run")
    conv1 = state.variables["params"]["depth_net"]["encoder"]["conv1"]["kernel"]
    expected = torchvision_state_dict(18)["conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(conv1, expected)
    for leaf in jax.tree.leaves(state):
        assert leaf.sharding.is_fully_replicated
        assert len(leaf.sharding.device_set) == 2
    path.unlink()
    resumed = start(config, tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, state.variables, resumed.variables)


@pytest.mark.parametrize("content", [None, b"<html>", "resnet50"])
def test_the_file_is_checked_before_the_data_are_opened(tmp_path, monkeypatch, content):
    def too_late(_):
        pytest.fail("the data are opened before the weights are checked")

    monkeypatch.setattr(runs, "open_data_sets", too_late)
    path = tmp_path / "weights.pth"
    if content == "resnet50":
        write_legacy(path, torchvision_state_dict(50))
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.pose_net\.imagenet_weights=.*weights\.pth"):
        runs.train_run(config_with(path, "pose_net"), workdir=tmp_path / "run")


@pytest.mark.soak
def test_the_program_trains_from_the_file_and_resumes_without_it(weights, tmp_path):
    make_kitti(tmp_path / "kitti", {1: 4}, [(1, 1), (1, 2)])
    path = tmp_path / "resnet18.pth"
    path.write_bytes(weights.read_bytes())

    def train(num_steps, status=0, file=path):
        return cli.run(
            "main",
            cli.config_file("overfit_kitti"),
            f"--config.data.root={tmp_path / 'kitti'}",
            f"--config.data.tfds_dir={tmp_path / 'tfds'}",
            "--config.data.split=fake",
            "--config.data.eval_split=fake",
            "--config.data.image_shape=32,64",
            "--config.model.depth_net.version=18pt",
            f"--config.model.depth_net.imagenet_weights={file}",
            "--config.model.pose_net.name=PoseNet",
            "--config.model.pose_net.version=",
            "--config.eval.crop=",
            f"--config.train.num_steps={num_steps}",
            "--workdir=run",
            cwd=tmp_path,
            status=status,
        )

    assert "absent.pth: can not be read" in train(1, status=2, file="absent.pth")
    assert "DepthResNet18pt + PoseNet" in train(1)
    path.unlink()
    assert "2/2" in train(2, file="moved.pth")
    cli.run(
        "infer",
        "--checkpoint=run",
        f"--input={next((tmp_path / 'kitti').rglob('image_02/data/*.png'))}",
        "--output=one.png",
        cwd=tmp_path,
    )
    assert (tmp_path / "one.png").exists()
