"""Max-pooling is that of torch and of XLA, gradients, ties and what is not a number included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from packnet_jax.networks.pooling import max_pool_3x3


def test_pooling_takes_the_largest_of_the_nine_around_every_second_pixel():
    x = np.random.default_rng(0).normal(size=(1, 6, 8, 2)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    expected = [
        [padded[0, i : i + 3, j : j + 3].max((0, 1)) for j in range(0, 8, 2)]
        for i in range(0, 6, 2)
    ]
    np.testing.assert_array_equal(max_pool_3x3(x)[0], expected)


def test_the_gradient_of_pooling_goes_to_the_first_of_equal_values():
    x = np.random.default_rng(0).integers(0, 3, (1, 6, 8, 2)).astype(np.float32)
    weight = np.random.default_rng(1).normal(size=(1, 3, 4, 2)).astype(np.float32)
    expected = np.zeros_like(x)
    for i, j, c in np.ndindex(3, 4, 2):
        rows = range(max(2 * i - 1, 0), 2 * i + 2)
        columns = range(max(2 * j - 1, 0), 2 * j + 2)
        pixels = [(0, row, column, c) for row in rows for column in columns]
        expected[max(pixels, key=lambda pixel: x[pixel])] += weight[0, i, j, c]
    gradient = jax.grad(lambda x: jnp.sum(weight * max_pool_3x3(x)))(x)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_value_and_gradient_are_those_of_a_reduced_window(dtype):
    x, weight = (
        jnp.asarray(np.random.default_rng(0).normal(size=shape), dtype)
        for shape in ((2, 10, 14, 3), (2, 5, 7, 3))
    )

    def reduce_window(x):
        padding = ((0, 0), (1, 1), (1, 1), (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)

    expected, of_window = jax.vjp(reduce_window, x)
    actual, of_pool = jax.vjp(max_pool_3x3, x)
    assert actual.dtype == dtype
    np.testing.assert_array_equal(actual, expected)
    tolerance = jnp.finfo(dtype).eps * 8
    np.testing.assert_allclose(
        *(np.asarray(f(weight)[0], np.float32) for f in (of_pool, of_window)), atol=tolerance
    )


def test_what_is_not_a_number_stays_so():
    x = np.zeros((1, 4, 4, 1), np.float32)
    x[0, 1, 1] = np.nan
    expected = [[True, True], [True, True]]
    np.testing.assert_array_equal(np.isnan(max_pool_3x3(jnp.array(x))[0, ..., 0]), expected)
    x[0, 1, 1], x[0, 0, 0] = 0, np.nan
    expected = [[True, False], [False, False]]
    np.testing.assert_array_equal(np.isnan(max_pool_3x3(jnp.array(x))[0, ..., 0]), expected)


def test_nothing_but_minus_infinity_gives_that_and_a_gradient_inside():
    x = jnp.full((1, 4, 4, 1), -jnp.inf)
    y, of_pool = jax.vjp(max_pool_3x3, x)
    assert (y == -jnp.inf).all()
    assert of_pool(jnp.ones_like(y))[0].sum() == 4


def test_forward_differentiation_is_refused_as_documented():
    x = jnp.ones((1, 4, 4, 1))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(max_pool_3x3, (x,), (x,))
