import jax
import jax.numpy as jnp
import pytest

from packnet_jax.networks import make_pose_net


@pytest.mark.parametrize(
    ("name", "version", "num_parameters"),
    [
        ("PoseNet", "", 1_592_684),
        # Of the original's ResNets the classifier is missing, which nothing reads.
        ("PoseResNet", "18", 13_013_492 - 513_000),
        ("PoseResNet", "34", 13_013_492 - 513_000 + 10_108_160),  # as for DepthResNet
        ("PoseResNet", "50", 27_274_228 - 2_049_000),
    ],
)
def test_shapes_and_parameter_count(name, version, num_parameters):
    net = make_pose_net(name, version)
    rgb, rgb_context = jnp.zeros((3, 32, 96, 3)), jnp.zeros((3, 2, 32, 96, 3))
    pose, variables = jax.eval_shape(
        lambda key: net.init_with_output(key, rgb, rgb_context, train=True), jax.random.key(0)
    )
    assert pose.shape == (3, 2, 6)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == num_parameters
