import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load, nchw, nhwc

from packnet_jax.image import (
    flip_lr,
    gradient_x,
    gradient_y,
    reflect_pad,
    resize_bilinear,
    resize_nearest,
    to_float,
)

SIZES = ["6x8", "26x34", "13x17", "1x1", "40x21"]


def shape_of(size):
    height, width = size.split("x")
    return int(height), int(width)


EXACT = {
    "gradient_x": gradient_x,
    "gradient_y": gradient_y,
    "flip_lr": flip_lr,
    **{
        f"interp_nearest_{size}": functools.partial(resize_nearest, shape=shape_of(size))
        for size in SIZES
    },
}
BILINEAR = {
    f"interp_bilinear_ac_{size}": functools.partial(resize_bilinear, shape=shape_of(size))
    for size in SIZES
}
GOLDEN = {**EXACT, **BILINEAR}


@pytest.mark.slow
@pytest.mark.parametrize("entry", GOLDEN)
def test_golden(entry, parity):
    golden = load("image_ops")
    actual = GOLDEN[entry](nhwc(golden["in.x"]))
    tolerance = 0.0 if entry in EXACT else 1e-5
    parity.compare("funcs/image_ops", entry, nchw(actual), golden[entry], tolerance=tolerance)


@pytest.mark.parametrize("batch_shape", [(), (3,), (2, 3)])
def test_bilinear_resizing_keeps_linear_ramps_and_corners(batch_shape):
    with jax.enable_x64(True):
        v, u = np.mgrid[0:5, 0:9]
        ramp = jnp.asarray(np.broadcast_to((2.0 * u - 3.0 * v)[..., None], (*batch_shape, 5, 9, 1)))
        v, u = np.mgrid[0:4:9j, 0:8:13j]
        expected = np.broadcast_to((2.0 * u - 3.0 * v)[..., None], (*batch_shape, 9, 13, 1))
        np.testing.assert_allclose(resize_bilinear(ramp, (9, 13)), expected, atol=1e-12)


@pytest.mark.parametrize("resize", [resize_bilinear, resize_nearest])
def test_resizing_to_the_same_size_changes_nothing(resize):
    image = jnp.asarray(np.random.default_rng(0).random((2, 4, 6, 3), np.float32))
    np.testing.assert_array_equal(resize(image, (4, 6)), image)


def test_doubling_by_nearest_repeats_pixels():
    image = jnp.arange(6.0).reshape(2, 3, 1)
    doubled = resize_nearest(image, (4, 6))
    np.testing.assert_array_equal(doubled, np.repeat(np.repeat(image, 2, 0), 2, 1))


def test_reflection_does_not_repeat_the_border():
    image = jnp.arange(3.0).reshape(1, 3, 1) + 10 * jnp.arange(2.0).reshape(2, 1, 1)
    padded = reflect_pad(image, 1)
    np.testing.assert_array_equal(
        padded[..., 0],
        [[11, 10, 11, 12, 11], [1, 0, 1, 2, 1], [11, 10, 11, 12, 11], [1, 0, 1, 2, 1]],
    )


def test_mirroring_negates_the_horizontal_gradient():
    image = jnp.asarray(np.random.default_rng(0).random((4, 6, 3), np.float32))
    np.testing.assert_array_equal(gradient_x(flip_lr(image)), -flip_lr(gradient_x(image)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
@pytest.mark.parametrize("compute", [to_float, jax.jit(to_float)], ids=["by_operation", "jitted"])
def test_levels_become_the_floats_nearest_to_255ths(compute, dtype):
    levels = np.arange(256, dtype=dtype)
    floats = np.asarray(compute(levels))
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, (np.arange(256) / 255).astype(np.float32))


def test_levels_become_the_same_floats_where_product_and_sum_are_one_operation():
    """As accelerators may compute them: the product is not rounded before it is added."""
    levels = np.arange(256)
    fused = np.float32(levels * 257 + levels * float(np.float32(1 / 255)))
    np.testing.assert_array_equal(fused * np.float32(2**-16), np.float32(levels / 255))
