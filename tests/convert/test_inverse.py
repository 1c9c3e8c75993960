"""The rules backwards give the original's names and tensors."""

import functools

import jax
import numpy as np
import pytest
from golden.networks import NAMES
from golden.seeded import load_manifest

from packnet_jax.convert.inverse import INVERSES, source_of, to_state_dict
from packnet_jax.convert.rules import RULES, Rule, RuleTable, target_of, vector
from packnet_jax.convert.state_dict import from_state_dict
from packnet_jax.networks import (
    DEPTH_NETS,
    init_depth_net,
    init_pose_net,
    make_depth_net,
    make_pose_net,
)


@pytest.mark.parametrize("network", NAMES)
def test_every_name_of_every_network_comes_back(network):
    table = RULES[network.partition("_")[0]]
    for tensor in load_manifest(network)["tensors"]:
        found = target_of(tensor["name"], table)
        if found is not None:
            path, layout = found
            assert source_of(path, table) == (tensor["name"], layout)


@pytest.mark.parametrize("name", RULES)
def test_every_layout_of_every_network_has_a_way_back(name):
    for rule in RULES[name].rules:
        assert rule.layout in INVERSES


@pytest.mark.parametrize("layout", INVERSES)
def test_a_layout_there_and_back_changes_nothing(layout):
    shape = {
        "vector": (7,),
        "kernel_2d": (2, 3, 4, 5),
        "kernel_3d": (2, 1, 3, 4, 5),
        "sparse_kernel": (9, 2, 5),
    }
    tensor = np.random.default_rng(0).random(shape[layout.__name__])
    np.testing.assert_array_equal(INVERSES[layout](layout(tensor)), tensor)


@pytest.mark.slow
@pytest.mark.parametrize(
    "network", ["DepthResNet_18", "PackNetSAN01_1A", "PoseNet", "PoseResNet_18"]
)
def test_a_state_dict_has_every_tensor_and_gives_the_variables_back(network):
    """Among them those that nothing reads: the original wants them all."""
    name, _, version = network.partition("_")
    init = (
        functools.partial(init_depth_net, make_depth_net(name, version), image_shape=(64, 64))
        if name in DEPTH_NETS
        else functools.partial(
            init_pose_net, make_pose_net(name, version), image_shape=(64, 64), num_context=2
        )
    )
    template = jax.eval_shape(init, jax.random.key(0))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), template)
    tensors = to_state_dict(variables, RULES[name])
    manifest = load_manifest(network)["tensors"]
    assert {n: (list(t.shape), t.dtype.name) for n, t in tensors.items()} == {
        tensor["name"]: (tensor["shape"], tensor["dtype"]) for tensor in manifest
    }
    back = from_state_dict(tensors, RULES[name], template)
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_networks_with_dropout_have_a_further_part_in_a_name():
    path = "params/conv4_1/shortcut/kernel"
    for with_optional, name in ((False, "conv4.1.conv3.weight"), (True, "conv4.1.conv3.0.weight")):
        found, _ = source_of(path, RULES["PackNet01"], with_optional=with_optional)
        assert found == name


def test_groups_may_stand_anywhere_and_twice():
    table = RuleTable((Rule(r"a(\d)\.b((?:un)?x)", r"params/\2/\1/\1", vector),))
    assert source_of("params/unx/3/3", table) == ("a3.bunx", vector)
    with pytest.raises(KeyError):
        source_of("params/unx/3/4", table)


@pytest.mark.parametrize("pattern", ["a|b", r"a.b", r"a\d", "a*", "(a(b))"])
def test_patterns_that_have_no_way_back_are_refused(pattern):
    with pytest.raises(ValueError, match="can not be read backwards"):
        source_of("params/x", RuleTable((Rule(pattern, "params/x", vector),)))


def test_a_variable_without_a_rule_is_an_error():
    with pytest.raises(KeyError, match="params/colour"):
        to_state_dict({"params": {"colour": np.zeros(3)}}, RULES["PoseNet"])
