import jax
import jax.numpy as jnp
import pytest
from golden.seeded import load_manifest

from packnet_jax.networks import make_depth_net

UNUSED_CLASSIFIER = {"18": 513_000, "34": 513_000, "50": 2_049_000}


@pytest.mark.parametrize("depth", ["18", "34", "50"])
@pytest.mark.parametrize("train", [False, True])
def test_shapes_and_parameter_count(depth, train):
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
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    original = load_manifest(f"DepthResNet_{depth}")["num_parameters"]
    assert count == original - UNUSED_CLASSIFIER[depth]


def test_refuses_sizes_it_can_not_halve_five_times():
    net = make_depth_net("DepthResNet", "18")
    with pytest.raises(ValueError, match="divisible by 32"):
        net.init(jax.random.key(0), jnp.zeros((1, 48, 64, 3)), train=False)
