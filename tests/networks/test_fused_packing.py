"""One convolution in place of two: the same to rounding, up to the last border pixel."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from packnet_jax.networks import fold, make_depth_net
from packnet_jax.networks.convolution import channel_conv3d
from packnet_jax.networks.fused_packing import compose, fused_pack, is_cheaper
from packnet_jax.networks.packing import Pack, Packing
from packnet_jax.networks.packnet import PackNet
from packnet_jax.networks.packnet_san import PackNetSAN

SIZES = [(4, 6), (5, 7), (2, 2), (3, 9)]


def parameters(kernel_size, features, channels=3, outputs=4, dtype=np.float64):
    """Of both convolutions; the biases are large."""
    rng = np.random.default_rng(0)
    shapes = [
        (3, 3, 3, 1, features),
        (features,),
        (kernel_size, kernel_size, features * channels, outputs),
        (outputs,),
    ]
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def image(height, width, channels=3, dtype=np.float64):
    return jnp.asarray(np.random.default_rng(1).normal(size=(2, height, width, channels)), dtype)


@jax.jit
def one_convolution(x, *weights):
    return fused_pack(x, compose(*weights))


@jax.jit
def two_convolutions(x, kernel_3d, bias_3d, kernel_2d, bias_2d):
    x = channel_conv3d(x, kernel_3d) + jnp.repeat(bias_3d, x.shape[-1])
    return (
        jax.lax.conv_general_dilated(
            x, kernel_2d, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        + bias_2d
    )


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("features", [4, 8])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_every_pixel_equals_that_of_two_convolutions(kernel_size, features, size):
    with jax.enable_x64(True):
        x, weights = image(*size), parameters(kernel_size, features)
        np.testing.assert_allclose(
            one_convolution(x, *weights), two_convolutions(x, *weights), atol=1e-11
        )


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_every_gradient_equals_that_of_two_convolutions(kernel_size):
    with jax.enable_x64(True):
        x, weights = image(5, 6), parameters(kernel_size, 4)
        weight = image(5, 6, channels=4)

        def gradients(function):
            total = lambda *arguments: jnp.sum(weight * jnp.square(function(*arguments)))  # noqa: E731
            return jax.jit(jax.grad(total, argnums=range(5)))(x, *weights)

        for actual, expected in zip(
            gradients(one_convolution), gradients(two_convolutions), strict=True
        ):
            np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-9)


def test_half_precision_is_as_near_to_the_truth_as_two_convolutions_are():
    x, weights = image(6, 8, 16, np.float32), parameters(3, 8, 16, 16, np.float32)
    truth = two_convolutions(x, *weights)
    halves = [a.astype(jnp.bfloat16) for a in (x, *weights)]

    def error(function):
        return float(jnp.linalg.norm(function(*halves).astype(jnp.float32) - truth))

    assert error(one_convolution) < 1.5 * error(two_convolutions)


def test_the_composed_kernel_spreads_one_pixel_further_on_each_side():
    composition = compose(*parameters(3, 4, channels=2, dtype=np.float32))
    assert composition.kernel.shape == (1 + 5 + 1, 1 + 5 + 1, 2, 4)
    assert composition.ones_kernel.shape == (3, 3, 1, 4)


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("features", [4, 8])
def test_a_block_has_the_same_parameters_and_output_either_way(kernel_size, features):
    x = image(24, 40, 8, np.float32)

    def block(packing: Packing):
        return Pack(16, kernel_size, features, packing)

    key = jax.random.key(0)
    variables, fused = (block(name).init(key, x) for name in ("reference", "fused"))
    ours, theirs = flatten_dict(fused["params"]), flatten_dict(variables["params"])
    assert ours.keys() == theirs.keys()
    for path, values in theirs.items():
        np.testing.assert_array_equal(ours[path], values)
    np.testing.assert_allclose(
        block("fused").apply(variables, x), block("reference").apply(variables, x), atol=2e-5
    )


def test_it_is_used_where_it_costs_less():
    levels = [(96 >> i, 320 >> i) for i in range(5)]
    used = [is_cheaper((1, *size), kernel_size=3, features=8, is_composed=False) for size in levels]
    assert used == [True, True, True, False, False]
    assert is_cheaper((8, *levels[-1]), kernel_size=3, features=8, is_composed=False)
    assert is_cheaper((1, *levels[-1]), kernel_size=3, features=8, is_composed=True)


@pytest.mark.parametrize("kind", [PackNet, PackNetSAN])
def test_folded_weights_give_the_same_depth(kind):
    net = kind(widths=(16, 16, 16, 16, 16), num_blocks=(1, 1, 1, 1), num_3d_features=4)
    rgb = jax.random.uniform(jax.random.key(1), (1, 64, 96, 3))
    variables = jax.jit(partial(net.init, train=False))(jax.random.key(0), rgb)
    assert "composed" not in variables

    folded = fold(net, variables)
    infer = jax.jit(partial(net.apply, train=False))
    as_written = jax.jit(partial(net.clone(packing="reference").apply, train=False))(variables, rgb)
    for given in (folded, variables):
        for actual, expected in zip(infer(given, rgb), as_written, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=2e-5)

    emptied = jax.tree.map(jnp.zeros_like, folded["composed"])
    assert not np.allclose(
        infer({**folded, "composed": emptied}, rgb)[0], infer(folded, rgb)[0], rtol=1e-2
    )


def test_nothing_is_folded_where_nothing_is_fused():
    rgb = jnp.zeros((1, 32, 32, 3))
    plain = PackNet((16,) * 5, (1,) * 4, num_3d_features=4, packing="reference")
    variables = jax.jit(partial(plain.init, train=False))(jax.random.key(0), rgb)
    for net in (plain, make_depth_net("DepthResNet", "18")):
        assert fold(net, variables) == variables
