"""Weights that a fresh run starts from, put into the variables of both networks."""

import jax
import numpy as np
import original_files
import pytest

from packnet_jax import checkpoint
from packnet_jax import config as config_lib
from packnet_jax.convert.initial import with_initial_weights
from packnet_jax.convert.original import import_original
from packnet_jax.errors import ConfigError
from packnet_jax.sfm import Networks

SHAPE = (32, 64)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    content = original_files.content_of("DepthResNet_18", "PoseNet")
    return original_files.write(tmp_path_factory.mktemp("original") / "some.ckpt", content)


@pytest.fixture(scope="module")
def expected(original):
    return import_original(original)


@pytest.fixture(scope="module")
def converted(original, expected):
    """The same as a checkpoint of ours."""
    folder = original.parent / "converted"
    config = config_lib.to_json_dict(expected.config)
    checkpoint.write_weights(folder, variables=expected.variables, config=config, origin={})
    return folder


def config_with(**paths):
    raw = config_lib.default()
    raw.data.root = "nowhere"
    raw.data.image_shape = SHAPE
    raw.model.pose_net.name, raw.model.pose_net.version = "PoseNet", ""
    for field, path in paths.items():
        raw.init[field] = str(path)
    return config_lib.resolve(raw)


def fresh(config):
    """Variables of the configuration's networks, all ones."""
    networks = Networks.from_config(config.model)
    shapes = jax.eval_shape(lambda key: networks.init(key, SHAPE, 2), jax.random.key(0))
    return jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)


def of(variables, kind):
    return {collection: networks[kind] for collection, networks in variables.items()}


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("kind", ["original", "converted"])
def test_both_networks_start_from_a_checkpoint(request, expected, kind):
    config = config_with(model=request.getfixturevalue(kind))
    assert_equal(with_initial_weights(fresh(config), config), expected.variables)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["original", "converted"])
@pytest.mark.parametrize("network", ["depth_net", "pose_net"])
def test_one_network_starts_and_the_other_stays(request, expected, kind, network):
    config = config_with(**{network: request.getfixturevalue(kind)})
    variables = fresh(config)
    started = with_initial_weights(variables, config)
    assert_equal(of(started, network), of(expected.variables, network))
    (other,) = {"depth_net", "pose_net"} - {network}
    assert_equal(of(started, other), of(variables, other))
    assert_equal(variables, fresh(config))


def test_each_network_may_start_from_a_file_of_its_own(original, converted, expected):
    config = config_with(depth_net=original, pose_net=converted)
    assert_equal(with_initial_weights(fresh(config), config), expected.variables)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"init.model": "a.ckpt", "init.depth_net": "b.ckpt"}, "given 'a.ckpt', 'b.ckpt'"),
        (
            {
                "init.model": "a.ckpt",
                "model.pose_net.version": "18pt",
                "model.pose_net.imagenet_weights": "resnet18.pth",
            },
            "init.model, model.pose_net.imagenet_weights",
        ),
    ],
)
def test_a_network_starts_from_one_file(fields, message):
    raw = config_lib.default()
    raw.data.root = "somewhere"
    raw.update_from_flattened_dict(fields)
    with pytest.raises(ConfigError, match=message):
        config_lib.resolve(raw)
