import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load, nchw, nhwc

from packnet_jax.losses.ssim import ssim, ssim_loss


def random_image(batch_shape=(), seed=0):
    return jnp.asarray(np.random.default_rng(seed).random((*batch_shape, 6, 8, 3)))


def ssim_naively(x, y, row, column, C1=1e-4, C2=9e-4):
    """One pixel of [h, w] images, from its 3x3 window."""
    x, y = (np.pad(z, 1, mode="reflect")[row : row + 3, column : column + 3] for z in (x, y))
    covariance = np.mean(x * y) - x.mean() * y.mean()
    numerator = (2 * x.mean() * y.mean() + C1) * (2 * covariance + C2)
    return numerator / ((x.mean() ** 2 + y.mean() ** 2 + C1) * (x.var() + y.var() + C2))


def images(golden):
    return (nhwc(golden[f"in.{name}"]) for name in "xyz")


def ssim_xy(golden):
    x, y, _ = images(golden)
    return ssim(x, y)


def ssim_xz(golden):
    x, _, z = images(golden)
    return ssim(x, z)


def ssim_loss_xy(golden):
    x, y, _ = images(golden)
    return ssim_loss(x, y)


def ssim_loss_mean_grad_x(golden):
    x, y, _ = images(golden)
    return jax.grad(lambda x: jnp.mean(ssim_loss(x, y)))(x)


GOLDEN = {
    "ssim_xy": ssim_xy,
    "ssim_xz": ssim_xz,
    "ssim_loss_xy": ssim_loss_xy,
    "ssim_loss_mean_grad_x": ssim_loss_mean_grad_x,
}


@pytest.mark.parametrize("entry", GOLDEN)
def test_golden(entry, parity):
    golden = load("image_ops")
    expected = golden[entry]
    parity.compare(
        "funcs/image_ops",
        entry,
        nchw(GOLDEN[entry](golden)),
        expected,
        tolerance=1e-5,
        scale=np.abs(expected).max() if "grad" in entry else 1.0,
    )


def test_agrees_with_a_naive_loop():
    with jax.enable_x64(True):
        x, y = random_image(seed=1), random_image(seed=2)
        actual = ssim(x, y)
        for row, column, channel in np.ndindex(*x.shape):
            window = x[..., channel], y[..., channel], row, column
            np.testing.assert_allclose(actual[row, column, channel], ssim_naively(*window))


@pytest.mark.parametrize("batch_shape", [(), (3,), (2, 3)])
def test_an_image_is_similar_to_itself(batch_shape):
    with jax.enable_x64(True):
        x = random_image(batch_shape)
        np.testing.assert_allclose(ssim(x, x), np.ones(x.shape), atol=1e-12)
        np.testing.assert_allclose(ssim_loss(x, x), np.zeros(x.shape), atol=1e-12)


def test_is_symmetric_and_bounded():
    with jax.enable_x64(True):
        x, y = random_image((4,), 1), random_image((4,), 2)
        np.testing.assert_allclose(ssim(x, y), ssim(y, x), atol=1e-12)
        assert np.abs(ssim(x, y)).max() <= 1
        assert ssim(x, 1 - x).min() < -0.5


def test_leading_axes_broadcast():
    x, y = random_image((2, 3), 1), random_image((2, 1), 2)
    np.testing.assert_array_equal(ssim(x, y)[:, 2], ssim(x[:, 2], y[:, 0]))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_gradients_are_finite_on_flat_images(value):
    flat = jnp.full((4, 5, 3), value)
    assert np.isfinite(jax.grad(lambda x: ssim_loss(x, flat).sum())(flat)).all()
