"""Networks read back: from runs, from converted checkpoints, from files of the original."""

import json

import jax
import numpy as np
import original_files
import pytest
from golden.networks import channels_last
from golden.seeded import load_golden

from packnet_jax import checkpoint
from packnet_jax import config as config_lib
from packnet_jax.convert.original import import_original
from packnet_jax.errors import CheckpointError
from packnet_jax.eval_config import DECIDED_FOR, SHAPE_AND_PROTOCOL
from packnet_jax.sfm import infer_inv_depth
from packnet_jax.trained import load_depth_network, load_pose_network

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A checkpoint of the original."""
    content = original_files.content_of("DepthResNet_18", "PoseNet")
    return original_files.write(tmp_path_factory.mktemp("original") / "some.ckpt", content)


@pytest.fixture(scope="module")
def converted(original):
    """The same as one of ours."""
    imported = import_original(original)
    folder = original.parent / "converted"
    checkpoint.write_weights(
        folder,
        variables=imported.variables,
        config=config_lib.to_json_dict(imported.config),
        origin={"file": original.name, "config": json.loads(json.dumps(imported.settings))},
    )
    return folder


def test_a_file_of_the_original_predicts_what_the_original_did(parity, original):
    trained = load_depth_network(original)
    assert trained.config.model.depth_net.name == "DepthResNet"
    assert (trained.step, trained.folder, trained.unsaid) == (0, original, ())
    rgb = channels_last(load_golden("nets/inputs.npz")["rgb"])
    expected = channels_last(load_golden("nets/DepthResNet_18.npz")["eval.inv_depth"])
    predict = jax.jit(lambda variables: infer_inv_depth(trained.network, variables, rgb))
    found = predict(trained.variables)
    parity.compare("nets/DepthResNet_18", "eval.inv_depth", found, expected, tolerance=2e-5)


def test_a_pose_network_of_the_original_predicts_what_the_original_did(parity, original):
    trained = load_pose_network(original)
    assert trained.config.model.pose_net.name == "PoseNet"
    assert (trained.step, trained.folder, trained.unsaid) == (0, original, ())
    inputs = load_golden("nets/inputs.npz")
    rgb, *context = (channels_last(inputs[name]) for name in ("rgb", "context0", "context1"))
    own = {name: collection["pose_net"] for name, collection in trained.variables.items()}
    predict = jax.jit(lambda *pictures: trained.network.apply(own, *pictures, train=False))
    found = predict(rgb, np.stack(context, axis=1))
    expected = load_golden("nets/PoseNet.npz")["eval.pose"]
    parity.compare("nets/PoseNet", "eval.pose", found, expected, tolerance=2e-5)


@pytest.mark.parametrize(
    ("load", "kind"), [(load_depth_network, "depth_net"), (load_pose_network, "pose_net")]
)
def test_a_converted_checkpoint_has_the_same_weights(original, converted, load, kind):
    direct, stored = load(original), load(converted)
    assert stored.config == import_original(original).config
    assert jax.tree.structure(stored.variables) == jax.tree.structure(direct.variables)
    jax.tree.map(np.testing.assert_array_equal, stored.variables, direct.variables)
    assert list(stored.variables["params"]) == [kind]
    assert stored.unsaid == direct.unsaid == ()


def test_a_file_without_a_configuration_is_told_apart(tmp_path):
    state_dict = original_files.state_dict_of("DepthResNet_18", "")
    path = original_files.write(tmp_path / "old.pth.tar", {"state_dict": state_dict}, "legacy")
    trained = load_depth_network(path)
    assert trained.config.model.depth_net.name == "DepthResNet"
    assert trained.unsaid == SHAPE_AND_PROTOCOL
    imported = import_original(path)
    checkpoint.write_weights(
        tmp_path / "converted",
        variables=imported.variables,
        config=config_lib.to_json_dict(imported.config),
        origin={"file": path.name, "config": {}},
    )
    assert load_depth_network(tmp_path / "converted").unsaid == SHAPE_AND_PROTOCOL


def test_a_pose_network_without_a_configuration_is_told_apart(tmp_path):
    state_dict = original_files.state_dict_of("", "PoseNet")
    path = original_files.write(tmp_path / "old.pth.tar", {"state_dict": state_dict}, "legacy")
    trained = load_pose_network(path)
    assert trained.config.model.pose_net.name == "PoseNet"
    assert trained.unsaid == DECIDED_FOR["pose_net"]


@pytest.mark.parametrize(
    ("load", "other", "missing"),
    [
        (load_depth_network, "pose_net", "depth network"),
        (load_pose_network, "depth_net", "pose network"),
    ],
)
def test_a_checkpoint_without_the_network_is_named(original, tmp_path, load, other, missing):
    imported = import_original(original, only=other)
    checkpoint.write_weights(
        tmp_path,
        variables=imported.variables,
        config=config_lib.to_json_dict(imported.config),
        origin={},
    )
    with pytest.raises(CheckpointError, match=f"holds no {missing}"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("18", "layer5/kernel: shape \\(3,\\), expected none"),
        ("34", "layer1_2/bn1/bias: shape none, expected \\(64,\\)"),
    ],
)
def test_other_weights_than_the_configuration_names_are_refused(
    original, tmp_path, version, message
):
    imported = import_original(original, only="depth_net")
    variables = imported.variables
    variables["params"]["depth_net"]["encoder"]["layer5"] = {"kernel": np.ones(3, np.float32)}
    config = config_lib.to_json_dict(imported.config)
    config["model"]["depth_net"]["version"] = version
    checkpoint.write_weights(tmp_path, variables=variables, config=config, origin={})
    with pytest.raises(CheckpointError, match=message):
        load_depth_network(tmp_path)


@pytest.mark.parametrize("name", ["absent.ckpt", "absent"])
def test_nothing_there_is_named(tmp_path, name):
    with pytest.raises(CheckpointError, match=rf"no checkpoint at .*{name}"):
        load_depth_network(tmp_path / name)
