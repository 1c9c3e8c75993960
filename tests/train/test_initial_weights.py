"""Runs that start from checkpoints: of the original, converted, and of earlier runs."""

import jax
import numpy as np
import original_files
import pytest
import tiny

from packnet_jax import checkpoint, runs, sharding
from packnet_jax import config as config_lib
from packnet_jax.checkpointer import Checkpointer
from packnet_jax.convert.original import import_original
from packnet_jax.errors import CheckpointError
from packnet_jax.sfm import Networks
from packnet_jax.train import loop
from packnet_jax.train.optim import make_optimizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    content = original_files.content_of("DepthResNet_18", "PoseNet")
    return original_files.write(tmp_path_factory.mktemp("original") / "some.ckpt", content)


@pytest.fixture(scope="module")
def expected(original):
    return import_original(original)


@pytest.fixture(scope="module")
def converted(original, expected):
    folder = original.parent / "converted"
    config = config_lib.to_json_dict(expected.config)
    checkpoint.write_weights(folder, variables=expected.variables, config=config, origin={})
    return folder


def config_with(**paths):
    raw = config_lib.default()
    raw.data.root = "nowhere"
    raw.data.image_shape = tiny.SHAPE
    raw.model.pose_net.name, raw.model.pose_net.version = "PoseNet", ""
    for field, path in paths.items():
        raw.init[field] = str(path)
    return config_lib.resolve(raw)


def start(config, workdir):
    """The state before the first step of a run in the workdir, which is saved."""
    optimizer = make_optimizer(config.optim)
    with Checkpointer(workdir, keep_latest=1, keep_best=0, monitor="depth/abs_rel") as saved:
        state = loop._start(
            config,
            Networks.from_config(config.model),
            tiny.data_sets(tiny.config()),
            optimizer,
            saved,
            sharding.make_mesh(2),
        )
        raw = config_lib.to_json_dict(config)
        saved.save(1, variables=state.variables, training=state.training, config=raw)
    return state


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_fresh_run_starts_from_both_networks_and_a_resumed_run_reads_no_file(
    original, expected, tmp_path
):
    path = tmp_path / "copy.ckpt"
    path.write_bytes(original.read_bytes())
    config = config_with(model=path)
    state = start(config, tmp_path / "run")
    assert_equal(state.variables, expected.variables)
    for leaf in jax.tree.leaves(state):
        assert leaf.sharding.is_fully_replicated
        assert len(leaf.sharding.device_set) == 2
    path.unlink()
    assert_equal(state.variables, start(config, tmp_path / "run").variables)


@pytest.mark.parametrize(
    ("field", "path", "message"),
    [
        ("model", "absent.ckpt", "no checkpoint at"),
        ("depth_net", "bad.ckpt", "starts with"),
        ("pose_net", "only_depth.ckpt", "holds no pose_net"),
        ("depth_net", "other.ckpt", "they are those of PackNetSlim01 1A"),
        ("pose_net", "converted", "conv1/conv/kernel: shape"),
    ],
)
def test_files_are_checked_before_the_data_are_opened(
    tmp_path, monkeypatch, expected, field, path, message
):
    def too_late(_):
        pytest.fail("the data are opened before the weights are checked")

    monkeypatch.setattr(runs, "open_data_sets", too_late)
    (tmp_path / "bad.ckpt").write_bytes(b"<html>")
    depth_alone = original_files.content_of("DepthResNet_18", "")
    original_files.write(tmp_path / "only_depth.ckpt", depth_alone)
    if path == "other.ckpt":
        other = original_files.content_of("PackNetSlim01_1A", "")
        original_files.write(tmp_path / path, other)
    config = config_lib.to_json_dict(expected.config)
    variables = expected.variables
    conv = variables["params"]["pose_net"]["conv1"]["conv"]
    changed = conv | {"kernel": conv["kernel"][..., :8]}
    variables["params"]["pose_net"] = variables["params"]["pose_net"] | {
        "conv1": variables["params"]["pose_net"]["conv1"] | {"conv": changed}
    }
    checkpoint.write_weights(tmp_path / "converted", variables=variables, config=config, origin={})
    with pytest.raises(CheckpointError, match=rf"config\.init\.{field}=.*{path}[\s\S]*{message}"):
        runs.train_run(config_with(**{field: tmp_path / path}), workdir=tmp_path / "run")


def test_a_converted_checkpoint_is_not_resumed(converted, tmp_path):
    with pytest.raises(CheckpointError, match=r"step 0: weights from elsewhere.*config\.init"):
        start(config_with(), converted)
