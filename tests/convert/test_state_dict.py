import functools

import jax
import numpy as np
import pytest
from golden.seeded import seeded_state_dict

from packnet_jax.convert.rules import RULES, Rule, RuleTable, target_of, vector
from packnet_jax.convert.state_dict import from_state_dict
from packnet_jax.errors import CheckpointError
from packnet_jax.networks import make_pose_net


@pytest.fixture(scope="module")
def template():
    images = np.zeros((1, 32, 32, 3), np.float32), np.zeros((1, 2, 32, 32, 3), np.float32)
    init = functools.partial(make_pose_net("PoseNet", "").init, train=False)
    return jax.eval_shape(init, jax.random.key(0), *images)


@pytest.fixture
def state_dict():
    return seeded_state_dict("PoseNet")


def test_kernels_are_transposed_and_vectors_kept(template, state_dict):
    variables = from_state_dict(state_dict, RULES["PoseNet"], template)
    conv = variables["params"]["conv2"]["conv"]
    np.testing.assert_array_equal(
        conv["kernel"][1, 2, 3, 4], state_dict["conv2.0.weight"][4, 3, 1, 2]
    )
    np.testing.assert_array_equal(conv["bias"], state_dict["conv2.0.bias"])
    np.testing.assert_array_equal(
        variables["params"]["conv2"]["norm"]["scale"], state_dict["conv2.1.weight"]
    )
    assert jax.tree.structure(variables) == jax.tree.structure(template)


def test_a_missing_tensor_is_an_error(template, state_dict):
    del state_dict["conv3.0.bias"]
    with pytest.raises(CheckpointError, match="1 variables get no value: params/conv3/conv/bias"):
        from_state_dict(state_dict, RULES["PoseNet"], template)


@pytest.mark.parametrize("name", ["conv9.0.bias", "something.else", "conv1.0.bias.more"])
def test_an_unknown_tensor_is_an_error(template, state_dict, name):
    state_dict[name] = np.zeros(16, np.float32)
    with pytest.raises(CheckpointError, match=f"1 tensors have no place in it: {name}"):
        from_state_dict(state_dict, RULES["PoseNet"], template)


@pytest.mark.parametrize("shape", [(16, 9, 7, 5), (16, 6, 7, 7), (16,)])
def test_a_wrong_shape_is_an_error(template, state_dict, shape):
    state_dict["conv1.0.weight"] = np.zeros(shape, np.float32)
    with pytest.raises(CheckpointError, match=r"'conv1\.0\.weight'.*shape"):
        from_state_dict(state_dict, RULES["PoseNet"], template)


def test_filling_a_variable_twice_is_an_error():
    table = RuleTable((Rule("a|b", "params/x", vector),))
    tensors = {"a": np.zeros(3), "b": np.zeros(3)}
    with pytest.raises(CheckpointError, match="second time"):
        from_state_dict(tensors, table, {"params": {"x": np.zeros(3)}})


def test_only_named_extras_are_left_out():
    table = RuleTable((Rule("a", "params/x", vector),), unused=("counter",))
    tensors = {"a": np.arange(3.0), "counter": np.zeros(())}
    variables = from_state_dict(tensors, table, {"params": {"x": np.zeros(3, np.float32)}})
    np.testing.assert_array_equal(variables["params"]["x"], np.arange(3.0))
    assert variables["params"]["x"].dtype == np.float32


def test_shortcuts_of_networks_with_dropout_fit_too():
    plain, with_dropout = (
        target_of(name, RULES["PackNet01"])
        for name in ("conv4.1.conv3.weight", "conv4.1.conv3.0.weight")
    )
    assert plain == with_dropout
