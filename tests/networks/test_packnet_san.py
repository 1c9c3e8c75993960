"""PackNetSAN beside PackNet; sizes are small, the golden tests run the released network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.seeded import load_manifest

from packnet_jax.networks import make_depth_net
from packnet_jax.networks.packnet import PackNet, PackNetFeatures
from packnet_jax.networks.packnet_san import PackNetSAN, feature_matching_loss

pytestmark = pytest.mark.slow

SMALL = dict(widths=(16,) * 5, num_blocks=(1, 1, 1, 1), pack_kernels=(3,) * 5)
SHAPE = (2, 32, 64, 1)
LEVELS = 5


@pytest.fixture(scope="module")
def rgb():
    return jax.random.uniform(jax.random.key(0), (*SHAPE[:3], 3))


@pytest.fixture(scope="module")
def depth():
    rng = np.random.default_rng(0)
    return np.where(rng.random(SHAPE) < 0.1, rng.uniform(2, 60, SHAPE), 0).astype(np.float32)


@pytest.fixture(scope="module")
def variables(rgb):
    key = jax.random.key(1, impl="rbg")  # compiles in a third of the time
    return jax.jit(functools.partial(PackNetSAN(**SMALL).init, train=False))(key, rgb)


@pytest.fixture(scope="module")
def trained(variables, rgb):
    """Of depth: outputs, updated statistics and gradients of a pass in training mode."""

    def run(params, depth):
        output, updates = PackNetSAN(**SMALL).apply(
            {**variables, "params": params},
            rgb,
            depth,
            train=True,
            method="with_and_without_depth",
            mutable=["batch_stats"],
        )
        loss = sum(jnp.mean(leaf**2) for leaf in jax.tree.leaves(output))
        return loss, (output, updates["batch_stats"])

    step = jax.jit(jax.grad(run, has_aux=True))

    def train(depth):
        gradients, (output, stats) = step(variables["params"], depth)
        return output, stats, gradients

    return train


def assert_close(actual, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), actual, expected)


def test_shapes_and_parameter_count():
    net = make_depth_net("PackNetSAN01", "1A")
    rgb = jnp.zeros((2, 32, 96, 3))
    pyramid, variables = jax.eval_shape(
        lambda key: net.init_with_output(key, rgb, train=False), jax.random.key(0)
    )
    expected = [(2, 32, 96, 1), (2, 16, 48, 1), (2, 8, 24, 1), (2, 4, 12, 1)]
    assert [x.shape for x in pyramid] == expected
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert count == load_manifest("PackNetSAN01_1A")["num_parameters"]


def test_parameters_are_the_same_whichever_pass_makes_them(rgb, depth):
    net = PackNetSAN(**SMALL)
    shapes = [
        jax.eval_shape(functools.partial(net.init, train=False, **options), jax.random.key(0), *x)
        for x, options in (
            ((rgb,), {}),
            ((rgb, depth), {}),
            ((rgb, depth), {"method": "with_and_without_depth"}),
        )
    ]
    assert shapes[0] == shapes[1] == shapes[2]


def test_from_the_image_alone_it_is_packnet(variables, rgb):
    params = {
        name: value
        for name, value in variables["params"].items()
        if name not in ("sparse_encoder", "fusion_scale", "fusion_bias")
    }
    plain = PackNet(**SMALL, num_3d_features=4)
    expected = jax.jit(lambda: plain.apply({"params": params}, rgb, train=False))()
    found = jax.jit(lambda: PackNetSAN(**SMALL).apply(variables, rgb, train=False))()
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_depth_changes_what_is_predicted_and_both_ways_in_agree(variables, rgb, depth):
    net = PackNetSAN(**SMALL)

    @jax.jit
    def evaluate(depth):
        both = net.apply(variables, rgb, depth, train=False, method="with_and_without_depth")
        alone = net.apply(variables, rgb, train=False)
        return both, alone, net.apply(variables, rgb, depth, train=False)

    both, from_rgb, from_rgbd = evaluate(depth)
    assert_close(both.inv_depth_pyramid, from_rgb)
    assert_close(both.inv_depth_pyramid_rgbd, from_rgbd)
    for a, b in zip(from_rgb, from_rgbd, strict=True):
        assert np.abs(a - b).max() > 1e-3
    assert both.depth_loss > 0


def test_training_updates_statistics_and_reaches_every_parameter(trained, variables, depth):
    _, stats, gradients = trained(depth)
    for before, after in zip(
        jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(stats), strict=True
    ):
        assert np.any(before != after)
    assert all(np.any(gradient != 0) for gradient in jax.tree.leaves(gradients))


def test_without_any_depth_there_is_nothing_to_add(trained, variables, depth):
    """Fresh fusion adds the sparse features to what is there; of none, both passes are one."""
    output, stats, gradients = trained(np.zeros_like(depth))
    assert output.depth_loss == 0
    assert_close(output.inv_depth_pyramid_rgbd, output.inv_depth_pyramid)
    jax.tree.map(np.testing.assert_array_equal, stats, variables["batch_stats"])
    assert all(np.isfinite(gradient).all() for gradient in jax.tree.leaves(gradients))


def test_the_feature_loss_draws_the_image_towards_the_depth_alone():
    rng = np.random.default_rng(0)
    shapes = [(2, 32 >> i, 64 >> i, 4 * (i + 1)) for i in range(6)]
    rgb, rgbd = (
        PackNetFeatures(tuple(maps[:-1]), maps[-1])
        for maps in ([jnp.asarray(rng.normal(size=shape)) for shape in shapes] for _ in range(2))
    )
    squares = jax.tree.map(lambda a, b: np.mean((a - b) ** 2), rgb, rgbd)
    expected = np.mean(jax.tree.leaves(squares))
    np.testing.assert_allclose(feature_matching_loss(rgb, rgbd), expected, rtol=1e-6)
    towards, away = jax.grad(feature_matching_loss, argnums=(0, 1))(rgb, rgbd)
    for a, b, gradient in zip(*map(jax.tree.leaves, (rgb, rgbd, towards)), strict=True):
        np.testing.assert_allclose(gradient, (a - b) * (2 / 6 / a.size), rtol=1e-5)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(away))


@pytest.mark.parametrize("shape", [(2, 32, 32, 1), (1, 32, 64, 1), (2, 32, 64, 3)])
def test_depth_of_another_shape_is_refused(rgb, shape):
    init = functools.partial(PackNetSAN(**SMALL).init, train=False)
    with pytest.raises(ValueError, match=r"sparse depth of shape .* expected one value"):
        jax.eval_shape(init, jax.random.key(0), rgb, jnp.zeros(shape))


def test_with_dropout_each_pass_draws_its_own(variables, rgb, depth):
    """Then the features differ though nothing is added to them."""
    net = PackNetSAN(**SMALL, dropout=0.5)

    @jax.jit
    def depth_loss(key):
        output, _ = net.apply(
            variables,
            rgb,
            np.zeros_like(depth),
            train=True,
            method="with_and_without_depth",
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        return output.depth_loss

    first, again, other = (depth_loss(jax.random.key(seed)) for seed in (0, 0, 1))
    assert first == again > 0
    assert first != other
