import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.seeded import load_manifest

from packnet_jax.networks import make_depth_net
from packnet_jax.networks.layers import ResidualConv
from packnet_jax.networks.packnet import PackNet, PackNetDecoder, PackNetEncoder


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


@pytest.mark.slow
def test_it_is_its_encoder_then_its_decoder_on_one_set_of_parameters():
    net = PackNet(widths=(16,) * 5, num_blocks=(1,) * 4, num_3d_features=4)
    rgb = jax.random.uniform(jax.random.key(0), (1, 32, 64, 3))
    key = jax.random.key(1, impl="rbg")  # compiles in a third of the time
    variables = jax.jit(lambda key: net.init(key, rgb, train=False))(key)
    encoder = PackNetEncoder(net.widths, net.num_blocks, net.pack_kernels, 4, dropout=0.0)
    decoder = PackNetDecoder(net.widths, 4, "concat", initial_inv_depth=0.0)

    @jax.jit
    def evaluate(variables):
        features = encoder.apply(variables, rgb, train=False)
        return net.apply(variables, rgb, train=False), features, decoder.apply(variables, features)

    whole, features, in_parts = evaluate(variables)
    assert [skip.shape for skip in features.skips] == [(1, 32 >> i, 64 >> i, 16) for i in range(5)]
    assert features.bottleneck.shape == (1, 1, 2, 16)
    jax.tree.map(np.testing.assert_array_equal, in_parts, whole)
    made_apart = [jax.eval_shape(lambda: encoder.init(key, rgb, train=False))]
    made_apart.append(jax.eval_shape(lambda: decoder.init(key, features)))
    names = [set(made["params"]) for made in made_apart]
    assert not names[0] & names[1]
    assert names[0] | names[1] == set(variables["params"])


@pytest.mark.slow
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


@pytest.mark.slow
def test_dropout_takes_whole_channels_of_the_shortcut_and_scales_the_rest():
    block = ResidualConv(64, dropout=0.25)
    x = jax.random.uniform(jax.random.key(0), (3, 4, 6, 3))
    variables = block.init(jax.random.key(1), x, train=False)
    _, captured = block.apply(
        variables,
        x,
        train=True,
        rngs={"dropout": jax.random.key(2)},
        capture_intermediates=True,
    )
    found = captured["intermediates"]
    (before,), (after,) = found["shortcut"]["__call__"], found["Dropout_0"]["__call__"]
    is_dropped = np.all(after == 0, axis=(1, 2), keepdims=True)
    assert 0.15 < is_dropped.mean() < 0.35
    assert not np.array_equal(is_dropped[0], is_dropped[1])  # each sample draws its own
    np.testing.assert_allclose(after, np.where(is_dropped, 0, before / 0.75), rtol=1e-6)
