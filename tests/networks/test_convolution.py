"""Both ways to convolve are the same sums."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from packnet_jax.networks.convolution import (
    NHWC,
    conv2d,
    conv2d_by_patches,
    conv_general_dilated,
    convolve,
)


def case(height, width, kernel=(3, 3), channels=3, outputs=4):
    rng = np.random.default_rng(0)
    x, kernel = (
        rng.normal(size=shape)
        for shape in ((2, height, width, channels), (*kernel, channels, outputs))
    )
    return jnp.asarray(x), jnp.asarray(kernel)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (1, 3), (3, 2)])
@pytest.mark.parametrize("padding", [((1, 1), (2, 0)), ((0, 3), (1, 1)), ((-1, 2), (1, -2))])
def test_a_product_of_matrices_equals_a_convolution(kernel, padding):
    def sums(function):
        return lambda *arguments: jnp.sum(jnp.sin(function(*arguments)))

    def convolution(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=NHWC)

    def product(x, kernel):
        return conv2d_by_patches(x, kernel, padding)

    with jax.enable_x64(True):
        given = case(5, 7, kernel)
        np.testing.assert_allclose(product(*given), convolution(*given), atol=1e-12)
        for actual, expected in zip(
            jax.grad(sums(product), (0, 1))(*given),
            jax.grad(sums(convolution), (0, 1))(*given),
            strict=True,
        ):
            np.testing.assert_allclose(actual, expected, atol=1e-11)


@pytest.mark.parametrize("outputs, is_product", [(70, False), (71, True)])
def test_a_product_it_is_where_there_are_fewer_pixels_than_outputs(outputs, is_product):
    with jax.enable_x64(True):
        x, kernel = case(5, 7, outputs=outputs)
        expected = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)
        np.testing.assert_allclose(convolve(x, kernel), expected, atol=1e-12)
        assert ("dot_general" in str(jax.make_jaxpr(convolve)(x, kernel))) == is_product


@pytest.mark.parametrize(
    "options, is_product",
    [
        ({}, True),
        ({"padding": "SAME"}, False),
        ({"padding": ((2, 0), (1, 1))}, True),
        ({"strides": (2, 2)}, False),
        ({"kernel_dilation": 2}, False),
        ({"input_dilation": 2}, False),
        ({"feature_group_count": 3, "features": 72}, False),
    ],
)
def test_a_layer_is_that_of_flax_and_a_product_where_it_may_be(options, is_product):
    fixed = {"kernel_size": (3, 3), "param_dtype": jnp.float64}
    options = fixed | {"features": 71, "padding": ((1, 1), (1, 1))} | options
    with jax.enable_x64(True):
        x, _ = case(5, 7)
        plain, ours = (
            nn.Conv(**options),
            nn.Conv(**options, conv_general_dilated=conv_general_dilated),
        )
        variables = plain.init(jax.random.key(0), x)
        np.testing.assert_allclose(ours.apply(variables, x), plain.apply(variables, x), atol=1e-12)
        assert ("dot_general" in str(jax.make_jaxpr(ours.apply)(variables, x))) == is_product


@pytest.mark.parametrize("outputs", [4, 71])
@pytest.mark.parametrize(
    "layout",
    [
        ("NHWC", "HWIO", "NHWC"),
        ("NCHW", "OIHW", "NCHW"),
        ("NWHC", "WHIO", "NWHC"),
        ("NHWC", "HWIO", "NCHW"),
    ],
)
def test_other_layouts_are_those_of_lax(layout, outputs):
    with jax.enable_x64(True):
        x, kernel = case(5, 7, outputs=outputs)
        x, kernel = (
            array.transpose([ours.index(axis) for axis in theirs])
            for array, ours, theirs in zip((x, kernel), NHWC, layout, strict=False)
        )
        arguments = x, kernel, (1, 1), ((1, 1), (1, 0))
        actual, expected = (
            function(*arguments, dimension_numbers=layout)
            for function in (conv_general_dilated, lax.conv_general_dilated)
        )
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_forward_differentiation_is_refused_as_documented():
    x, kernel = case(5, 7)
    convolution = partial(conv2d, kernel=kernel, padding=((1, 1), (1, 1)))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(convolution, (x,), (x,))
