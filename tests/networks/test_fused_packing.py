"""One convolution in place of two: the same to rounding, up to the last border pixel."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from packnet_jax.networks.convolution import channel_conv3d
from packnet_jax.networks.fused_packing import compose, fused_pack, is_cheaper
from packnet_jax.networks.packing import Pack, Packing

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


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("features", [4, 8])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_every_pixel_equals_that_of_two_convolutions(kernel_size, features, size):
    with jax.enable_x64(True):
        x, weights = image(*size), parameters(kernel_size, features)
        np.testing.assert_allclose(
            one_convolution(x, *weights), two_convolutions(x, *weights), atol=1e-11
        )


@pytest.mark.slow
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


@pytest.mark.slow
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

    def used(batch):
        return [is_cheaper((batch, *size), kernel_size=3, features=8) for size in levels]

    assert used(1) == [True, True, True, False, False]
    assert used(2) == [True, True, True, True, False]
    assert [used(batch)[-1] for batch in (4, 5)] == [False, True]


def test_images_smaller_than_half_the_kernel_are_refused_by_name():
    composition = compose(*parameters(5, 4, dtype=np.float32))
    with pytest.raises(ValueError, match=r"got packed images of 1x6 .* at least 2 rows .* 5x5"):
        fused_pack(image(1, 6, dtype=np.float32), composition)


PACKED = {
    "level 1": (24, 80, 5),
    "level 2": (12, 40, 3),
    "level 3": (6, 20, 3),
    "level 4": (3, 10, 3),
    "level 5": (2, 5, 3),
    "odd": (7, 9, 5),
}
"""Packed images of PackNet01 at 192x640, a quarter in size, and their kernels."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, features",
    [
        ("level 1", 8),
        *(pytest.param(f"level {i}", 8, marks=pytest.mark.soak) for i in range(2, 6)),
        ("odd", 8),
        ("level 2", 4),
        ("odd", 4),
    ],
)
def test_gradients_of_a_block_are_the_same_either_way(name, features, monkeypatch):
    monkeypatch.setattr("packnet_jax.networks.packing.is_cheaper", lambda *_, **__: True)
    height, width, kernel_size = PACKED[name]
    with jax.enable_x64(True):
        x = image(2 * height, 2 * width, 2)
        weight = image(height, width, 32)
        plain, fused = (Pack(32, kernel_size, features, p) for p in ("reference", "fused"))

        @jax.jit
        def gradients(params, x):
            def total(block, params, x):
                return jnp.sum(weight * block.apply({"params": params}, x))

            return [jax.grad(partial(total, b), (0, 1))(params, x) for b in (plain, fused)]

        params = jax.jit(plain.init)(jax.random.key(0), x)["params"]
        params = jax.tree.map(lambda p: p.astype(np.float64) + 0.1, params)  # no bias is zero
        expected, actual = gradients(params, x)
        expected, actual = (flatten_dict({"params": p, "x": x}) for p, x in (expected, actual))
        for path, values in expected.items():
            assert np.any(actual[path] != values) or "norm" in path, path  # two programs
            scale = np.abs(values).max()
            np.testing.assert_allclose(actual[path], values, atol=1e-9 * scale, err_msg=str(path))


@pytest.mark.slow
def test_training_never_writes_eight_times_the_image():
    """Nor does its gradient: composed kernels have as many inputs as the packed image."""
    x = image(48, 160, 16, np.float32)
    channels = 8 * 4 * 16

    def arrays(packing: Packing):
        block = Pack(16, 3, 8, packing)
        params = block.init(jax.random.key(0), x)
        gradient = jax.grad(lambda params, x: jnp.sum(block.apply(params, x)), (0, 1))
        return str(jax.make_jaxpr(gradient)(params, x))

    written = f"f32[2,24,80,{channels}]"
    assert written in arrays("reference") and written not in arrays("fused")
