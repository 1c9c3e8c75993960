import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.networks import (
    assert_features_close,
    assert_gradient_norms_close,
    assert_running_stats_close,
    load_case,
    run_eval,
    run_train,
)

from packnet_jax.networks import make_pose_net

FEATURES = {
    "PoseNet": {**{f"conv{i}": f"conv{i}" for i in range(1, 8)}, "pose_pred": "pose"},
    "PoseResNet_18": {
        "encoder.encoder.conv1": "encoder/conv1",
        **{f"encoder.encoder.layer{i}": f"encoder/layer{i}_1" for i in (1, 2, 3, 4)},
        "decoder.net.0": "decoder/squeeze",
        "decoder.net.1": "decoder/pose_0",
        "decoder.net.2": "decoder/pose_1",
        "decoder.net.3": "decoder/pose_2",
    },
}


@pytest.fixture(scope="module", params=["PoseNet", "PoseResNet_18"])
def golden_name(request):
    return request.param


@pytest.fixture(scope="module")
def case(golden_name):
    return load_case(golden_name)


def test_evaluation_agrees_with_the_original(case, golden_name):
    pose, features = run_eval(case)
    np.testing.assert_allclose(pose, case.golden["eval.pose"], rtol=0, atol=1e-7)
    for name, path in FEATURES[golden_name].items():
        # The last call: the golden files keep the features of the last context image.
        assert_features_close(case.golden, name, features[path][-1], relative=1e-5)


def test_training_agrees_with_the_original(case, golden_name):
    result = run_train(case)
    np.testing.assert_allclose(result.loss, case.golden["grad.loss"], rtol=1e-5)
    np.testing.assert_allclose(result.outputs, case.golden["train.pose"], rtol=0, atol=1e-7)
    assert_gradient_norms_close(case, result.gradients)
    if result.batch_stats:
        assert_running_stats_close(case, golden_name, result.batch_stats)


@pytest.mark.parametrize(
    "name, version, num_parameters",
    [("PoseNet", "", 1_592_684), ("PoseResNet", "18", 13_013_492 - 513_000)],
)
def test_shapes_and_parameter_count(name, version, num_parameters):
    net = make_pose_net(name, version)
    rgb, rgb_context = jnp.zeros((3, 32, 96, 3)), jnp.zeros((3, 2, 32, 96, 3))
    pose, variables = jax.eval_shape(
        lambda key: net.init_with_output(key, rgb, rgb_context, train=True), jax.random.key(0)
    )
    assert pose.shape == (3, 2, 6)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == num_parameters


def test_pose_resnet_treats_every_context_image_alike(case, golden_name):
    if golden_name == "PoseNet":
        pytest.skip("PoseNet sees all context images at once")
    rgb, rgb_context = case.inputs
    apply = jax.jit(lambda context: case.net.apply(case.variables, rgb, context, train=False))
    np.testing.assert_allclose(
        apply(rgb_context)[:, ::-1], apply(rgb_context[:, ::-1]), rtol=0, atol=1e-7
    )
