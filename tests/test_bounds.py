"""Values of minimum and bounds, and where their gradients go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from packnet_jax.bounds import at_least, at_most, magnitude, smaller_of

NAN = float("nan")


def pair_with_ties():
    """Two arrays whose first rows are equal."""
    x, y = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)
    y[0] = x[0]
    return x, y


def test_smaller_of_equals_the_minimum():
    x, y = pair_with_ties()
    np.testing.assert_array_equal(smaller_of(x, y), np.minimum(x, y))


def test_each_pixel_of_the_minimum_has_exactly_one_gradient():
    x, y = pair_with_ties()
    to_x, to_y = jax.grad(lambda x, y: smaller_of(x, y).sum(), (0, 1))(x, y)
    np.testing.assert_array_equal(to_x, x <= y)
    np.testing.assert_array_equal(to_y, y < x)


@pytest.mark.parametrize("pair", [(NAN, 1.0), (1.0, NAN), (NAN, NAN)])
def test_smaller_of_keeps_nan(pair):
    assert jnp.isnan(smaller_of(*map(jnp.float32, pair)))


@pytest.mark.parametrize("bound", [at_least, at_most])
def test_bounds_hold_and_keep_nan(bound):
    x = jnp.array([-2.0, 0.5, 3.0, NAN])
    limited = {at_least: [0.5, 0.5, 3.0, NAN], at_most: [-2.0, 0.5, 0.5, NAN]}[bound]
    np.testing.assert_array_equal(bound(x, 0.5), limited)


@pytest.mark.parametrize(("bound", "expected"), [(at_least, [0, 1, 1]), (at_most, [1, 1, 0])])
def test_gradient_passes_up_to_the_bound_itself(bound, expected):
    x = jnp.array([-2.0, 0.5, 3.0])
    np.testing.assert_array_equal(jax.grad(lambda x: bound(x, 0.5).sum())(x), expected)


def test_magnitude_has_no_slope_at_0():
    x = jnp.array([-2.0, -0.0, 0.0, 3.0])
    np.testing.assert_array_equal(magnitude(x), np.abs(x))
    np.testing.assert_array_equal(jax.grad(lambda x: magnitude(x).sum())(x), [-1, 0, 0, 1])
    assert jnp.isnan(magnitude(jnp.float32(NAN)))
