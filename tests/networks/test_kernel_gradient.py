"""The gradient by the kernel is that of the convolution, whichever side moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from packnet_jax.networks.convolution import NHWC, conv2d
from packnet_jax.networks.kernel_gradient import kernel_gradient

SAME = ((1, 1), (1, 1))


def plain(x, kernel, padding):
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=NHWC)


def case(kernel, padding, channels, outputs, batch=2, dtype=np.float64):
    """Input, kernel, and a gradient by the output."""
    rng = np.random.default_rng(0)
    x, kernel = (
        jnp.asarray(rng.normal(size=shape), dtype)
        for shape in ((batch, 5, 7, channels), (*kernel, channels, outputs))
    )
    y = jax.eval_shape(lambda: plain(x, kernel, padding))
    return x, kernel, jnp.asarray(rng.normal(size=y.shape), dtype)


@pytest.mark.slow
@pytest.mark.parametrize("channels, outputs", [(3, 4), (4, 3), (3, 3), (1, 2), (2, 1)])
@pytest.mark.parametrize(
    "kernel, padding",
    [
        ((3, 3), SAME),
        ((1, 1), ((0, 0), (0, 0))),
        ((3, 3), ((0, 0), (0, 0))),
        ((5, 3), ((2, 2), (1, 1))),
        ((2, 4), ((1, 0), (0, 3))),
        ((3, 3), ((4, 0), (0, 5))),
    ],
)
def test_it_is_the_gradient_of_the_convolution(kernel, padding, channels, outputs):
    with jax.enable_x64(True):
        x, kernel, y = case(kernel, padding, channels, outputs)
        (expected,) = jax.vjp(lambda kernel: plain(x, kernel, padding), kernel)[1](y)
        actual = kernel_gradient(x, y, padding)
        assert actual.shape == kernel.shape
        np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_of_a_convolution_both_gradients_are_xla_s():
    with jax.enable_x64(True):
        x, kernel, y = case((3, 3), SAME, 3, 4)
        value, of_ours = jax.vjp(lambda *given: conv2d(*given, SAME, None), x, kernel)
        expected, of_xla = jax.vjp(lambda *given: plain(*given, SAME), x, kernel)
        np.testing.assert_array_equal(value, expected)
        for ours, xla in zip(of_ours(y), of_xla(y), strict=True):
            np.testing.assert_allclose(ours, xla, atol=1e-12)


def test_other_devices_leave_it_to_xla():
    x, kernel, y = case((3, 3), SAME, 3, 4, dtype=np.float32)
    gradient = jax.jit(lambda x, k, y: jax.vjp(lambda k: conv2d(x, k, SAME, None), k)[1](y)[0])
    for platform, dimensions in (
        ("cpu", "[b, 0, f]x[0, i, o]"),
        ("cuda", "[f, 0, 1, b]x[i, 0, 1, o]"),
    ):
        lowered = gradient.trace(x, kernel, y).lower(lowering_platforms=(platform,))
        assert dimensions in lowered.as_text(), platform


def test_in_float32_it_is_as_near_to_the_truth_as_xla_s():
    """Sums over 6144 pixels."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(2, 48, 64, n)).astype(np.float32) for n in (6, 5))
    kernel = jnp.zeros((3, 3, 6, 5))

    def error(gradient, truth):
        return np.abs(np.asarray(gradient, np.float64) - truth).max()

    with jax.enable_x64(True):
        truth = np.asarray(kernel_gradient(*(jnp.asarray(a, jnp.float64) for a in (x, y)), SAME))
    (of_xla,) = jax.vjp(lambda kernel: plain(x, kernel, SAME), kernel)[1](y)
    ours = kernel_gradient(jnp.asarray(x), jnp.asarray(y), SAME)
    assert error(ours, truth) < 2 * error(of_xla, truth) + 1e-6 * np.abs(truth).max()


def test_half_precision_stays_half_precision():
    x, kernel, y = case((3, 3), SAME, 3, 4, dtype=jnp.bfloat16)
    gradient = kernel_gradient(x, y, SAME)
    assert gradient.dtype == jnp.bfloat16
    (expected,) = jax.vjp(lambda kernel: plain(x, kernel, SAME), kernel)[1](y)
    assert np.abs(np.float32(gradient) - np.float32(expected)).max() < 0.02 * np.abs(expected).max()


def test_pictures_may_lie_on_several_devices():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    x, _, y = case((3, 3), SAME, 3, 4, dtype=np.float32)
    expected = kernel_gradient(x, y, SAME)
    shared = jax.NamedSharding(mesh, jax.P("data"))
    actual = jax.jit(lambda x, y: kernel_gradient(x, y, SAME))(*jax.device_put((x, y), shared))
    np.testing.assert_allclose(actual, expected, atol=1e-5)
