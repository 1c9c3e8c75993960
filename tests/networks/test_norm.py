import jax
import jax.numpy as jnp
import numpy as np
import pytest

from packnet_jax.networks.norm import BatchNorm


@pytest.fixture
def x():
    return 3 + 2 * jax.random.normal(jax.random.key(0), (2, 3, 4, 5))


def test_training_uses_the_batch_and_moves_the_running_statistics(x):
    net = BatchNorm()
    variables = net.init(jax.random.key(1), x, train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], np.zeros(5))
    y, updates = net.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y.mean((0, 1, 2)), np.zeros(5), atol=1e-6)
    np.testing.assert_allclose(y.var((0, 1, 2)), np.ones(5), rtol=1e-4)
    stats = updates["batch_stats"]
    pixels = np.asarray(x, np.float64).reshape(-1, 5)
    np.testing.assert_allclose(stats["mean"], 0.1 * pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * pixels.var(0, ddof=1), rtol=1e-5)


def test_evaluation_uses_the_running_statistics(x):
    variables = {
        "params": {"scale": jnp.full(5, 2.0), "bias": jnp.full(5, 1.0)},
        "batch_stats": {"mean": jnp.full(5, 3.0), "var": jnp.full(5, 4.0)},
    }
    y = BatchNorm().apply(variables, x, train=False)
    np.testing.assert_allclose(y, 2 * (x - 3) / np.sqrt(4 + 1e-5) + 1, rtol=1e-5, atol=1e-5)


def test_a_single_pixel_leaves_finite_statistics():
    x = jnp.ones((1, 1, 1, 5))
    variables = BatchNorm().init(jax.random.key(0), x, train=True)
    _, updates = BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
    assert np.all(np.isfinite(updates["batch_stats"]["var"]))
