import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.seeded import load_manifest

from packnet_jax.networks import make_depth_net
from packnet_jax.networks.layers import ResidualConv


def shapes(name, version):
    """Of the inverse depth maps and of the variables."""
    net = make_depth_net(name, version)
    rgb = jnp.zeros((2, 32, 96, 3))
    return jax.eval_shape(
        lambda key: net.init_with_output(key, rgb, train=False), jax.random.key(0)
    )


@pytest.mark.parametrize("golden_name", ["PackNet01_1A", "PackNet01_1B", "PackNetSlim01_1A"])
def test_shapes_and_parameter_count(golden_name):
    pyramid, variables = shapes(*golden_name.split("_"))
    assert [x.shape for x in pyramid] == [
        (2, 32, 96, 1),
        (2, 16, 48, 1),
        (2, 8, 24, 1),
        (2, 4, 12, 1),
    ]
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert count == load_manifest(golden_name)["num_parameters"]


@pytest.mark.parametrize(
    ("name", "skip_widths"),
    [("PackNet01", (64, 64, 64, 128, 256)), ("PackNetSlim01", (32, 32, 64, 128, 256))],
)
def test_added_features_have_the_width_of_their_skip_connection(name, skip_widths):
    _, variables = shapes(name, "1B")
    for level, width in enumerate(skip_widths, start=1):
        coarser_map = 1 if level <= 3 else 0
        kernel = variables["params"][f"iconv{level}"]["conv"]["kernel"]
        assert kernel.shape[2] == width + coarser_map


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
