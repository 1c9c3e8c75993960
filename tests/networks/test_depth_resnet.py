import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from golden.networks import (
    assert_features_close,
    assert_gradient_norms_close,
    assert_running_stats_close,
    channels_last,
    load_case,
    run_eval,
    run_train,
)

from packnet_jax.networks import make_depth_net
from packnet_jax.networks.layers import ReflectConv
from packnet_jax.networks.resnet import residual_conv2d

GOLDEN_NAME = "DepthResNet_18"

ENCODER_FEATURES = {
    "encoder.encoder.conv1": "encoder/conv1",
    **{f"encoder.encoder.layer{i}": f"encoder/layer{i}_1" for i in (1, 2, 3, 4)},
}
BLOCK_FEATURES = {f"decoder.decoder.{i}": f"decoder/upconv_{4 - i // 2}_{i % 2}" for i in range(10)}
HEAD_FEATURES = {f"decoder.decoder.{10 + scale}": f"decoder/disp_{scale}" for scale in range(4)}


@pytest.fixture(scope="module")
def case():
    return load_case(GOLDEN_NAME)


def test_evaluation_agrees_with_the_original(case):
    pyramid, features = run_eval(case)
    expected = channels_last(case.golden["eval.inv_depth"])
    np.testing.assert_allclose(pyramid[0], expected, rtol=0, atol=2e-5)
    for name, path in {**ENCODER_FEATURES, **HEAD_FEATURES}.items():
        assert_features_close(case.golden, name, features[path][0], relative=1e-5)
    for name, path in BLOCK_FEATURES.items():
        assert_features_close(
            case.golden, name, features[path][0], relative=1e-5, activation=nn.elu
        )


def test_training_agrees_with_the_original(case):
    result = run_train(case)
    np.testing.assert_allclose(result.loss, case.golden["grad.loss"], rtol=1e-6)
    for i, inv_depth in enumerate(result.outputs):
        expected = channels_last(case.golden[f"train.inv_depth{i}"])
        np.testing.assert_allclose(inv_depth, expected, rtol=0, atol=1e-4)
    assert_gradient_norms_close(case, result.gradients)
    assert_running_stats_close(case, GOLDEN_NAME, result.batch_stats)


@pytest.mark.parametrize("depth, num_parameters", [("18", 14_842_236), ("34", 24_950_396)])
@pytest.mark.parametrize("train", [False, True])
def test_shapes_and_parameter_count(depth, num_parameters, train):
    net = make_depth_net("DepthResNet", depth)
    rgb = jnp.zeros((2, 32, 96, 3))
    pyramid, variables = jax.eval_shape(
        lambda key: net.init_with_output(key, rgb, train=train), jax.random.key(0)
    )
    assert [x.shape for x in pyramid] == [
        (2, 32, 96, 1),
        (2, 16, 48, 1),
        (2, 8, 24, 1),
        (2, 4, 12, 1),
    ]
    unused_classifier = 513_000
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert count == num_parameters - unused_classifier


def test_refuses_sizes_it_can_not_halve_five_times():
    net = make_depth_net("DepthResNet", "18")
    with pytest.raises(ValueError, match="divisible by 32"):
        net.init(jax.random.key(0), jnp.zeros((1, 48, 64, 3)), train=False)


def test_fresh_weights_follow_the_original_initialisation():
    stem = residual_conv2d(64, 7, name="conv").init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    np.testing.assert_allclose(
        np.std(stem["params"]["kernel"]), np.sqrt(2 / (7 * 7 * 64)), rtol=0.02
    )
    variables = ReflectConv(256).init(jax.random.key(0), jnp.zeros((1, 8, 8, 128)))
    conv = variables["params"]["conv"]
    bound = 1 / np.sqrt(3 * 3 * 128)
    assert np.abs(conv["kernel"]).max() <= bound
    np.testing.assert_allclose(np.std(conv["kernel"]), bound / np.sqrt(3), rtol=0.02)
    assert 0.9 * bound < np.abs(conv["bias"]).max() <= bound
