"""Both ways to convolve are the same sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from packnet_jax.networks.convolution import NHWC, conv2d_by_patches, convolve


def case(height, width, kernel=(3, 3), channels=3, outputs=4):
    rng = np.random.default_rng(0)
    x, kernel = (
        rng.normal(size=shape)
        for shape in ((2, height, width, channels), (*kernel, channels, outputs))
    )
    return jnp.asarray(x), jnp.asarray(kernel)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (1, 3), (3, 2)])
@pytest.mark.parametrize("padding", [((1, 1), (2, 0)), ((0, 3), (1, 1))])
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
