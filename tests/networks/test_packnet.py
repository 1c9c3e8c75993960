import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.networks import (
    assert_features_close,
    assert_gradient_norms_close,
    channels_last,
    load_case,
    run_eval,
    run_train,
)

from packnet_jax.networks import make_depth_net
from packnet_jax.networks.layers import ResidualConv

LAST_BLOCK = {"conv2": "conv2_1", "conv3": "conv3_1", "conv4": "conv4_2", "conv5": "conv5_2"}


@pytest.fixture(scope="module")
def case():
    return load_case("PackNet01_1A")


def test_evaluation_agrees_with_the_original(case):
    pyramid, features = run_eval(case)
    expected = channels_last(case.golden["eval.inv_depth"])
    np.testing.assert_allclose(pyramid[0], expected, rtol=0, atol=2e-5)
    names = [key.removeprefix("feat.") for key in case.golden if key.startswith("feat.")]
    assert len(names) == 21
    for name in names:
        assert_features_close(
            case.golden, name, features[LAST_BLOCK.get(name, name)][0], relative=1e-5
        )


def test_training_agrees_with_the_original(case):
    result = run_train(case)
    np.testing.assert_allclose(result.loss, case.golden["grad.loss"], rtol=1e-6)
    for i, inv_depth in enumerate(result.outputs):
        expected = channels_last(case.golden[f"train.inv_depth{i}"])
        np.testing.assert_allclose(inv_depth, expected, rtol=0, atol=2e-5)
    assert_gradient_norms_close(case, result.gradients)


@pytest.mark.parametrize("version, num_parameters", [("1A", 128_294_020), ("1B", 124_164_580)])
def test_shapes_and_parameter_count(version, num_parameters):
    net = make_depth_net("PackNet01", version)
    rgb = jnp.zeros((2, 32, 96, 3))
    pyramid, variables = jax.eval_shape(
        lambda key: net.init_with_output(key, rgb, train=False), jax.random.key(0)
    )
    assert [x.shape for x in pyramid] == [
        (2, 32, 96, 1),
        (2, 16, 48, 1),
        (2, 8, 24, 1),
        (2, 4, 12, 1),
    ]
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == num_parameters


def test_dropout_acts_in_training_only():
    block = ResidualConv(16, dropout=0.5)
    x = jax.random.uniform(jax.random.key(0), (1, 4, 4, 3))
    variables = block.init(jax.random.key(1), x, train=False)
    first, second = (
        block.apply(variables, x, train=True, rngs={"dropout": jax.random.key(seed)})
        for seed in (2, 3)
    )
    assert np.abs(first - second).max() > 0
    plain = ResidualConv(16).apply(variables, x, train=True)
    np.testing.assert_array_equal(block.apply(variables, x, train=False), plain)
