import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load, nchw, nhwc

from packnet_jax.geometry.pinhole import pixel_grid
from packnet_jax.geometry.transforms import pose_vector_to_transform
from packnet_jax.geometry.warp import sample_bilinear, synthesize_view

BATCH_SHAPES = [(), (3,), (2, 3)]
PADDING_MODES = ["zeros", "border", "reflection"]
HEIGHT, WIDTH = 5, 7


def random_image(batch_shape=(), shape=(HEIGHT, WIDTH), channels=3):
    return jnp.asarray(np.random.default_rng(0).random((*batch_shape, *shape, channels)))


def sample_naively(image, u, v, padding_mode):
    """One value of one [h, w, c] image, pixel by pixel."""
    height, width, channels = image.shape

    def inside(index, size):
        if padding_mode == "border":
            return min(max(index, 0), size - 1)
        period = max(2 * (size - 1), 1)
        return min(index % period, period - index % period)

    total = np.zeros(channels)
    for row in range(int(np.floor(v)), int(np.floor(v)) + 2):
        for column in range(int(np.floor(u)), int(np.floor(u)) + 2):
            weight = (1 - abs(u - column)) * (1 - abs(v - row))
            if padding_mode != "zeros":
                total += weight * image[inside(row, height), inside(column, width)]
            elif 0 <= row < height and 0 <= column < width:
                total += weight * image[row, column]
    return total


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (1, 4), (4, 1)])
def test_agrees_with_a_naive_loop(padding_mode, shape):
    with jax.enable_x64(True):
        image = random_image(shape=shape)
        pixels_uv = np.random.default_rng(1).uniform(-12, 18, (20, 20, 2))
        pixels_uv[:10] = np.round(pixels_uv[:10] * 2) / 2
        actual = sample_bilinear(image, jnp.asarray(pixels_uv), padding_mode=padding_mode)
        expected = [
            [sample_naively(np.asarray(image), u, v, padding_mode) for u, v in row]
            for row in pixels_uv
        ]
        np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("batch_shape", BATCH_SHAPES)
def test_reading_at_pixel_centres_returns_the_image(batch_shape, padding_mode):
    image = random_image(batch_shape)
    pixels_uv = jnp.broadcast_to(pixel_grid(HEIGHT, WIDTH), (*batch_shape, HEIGHT, WIDTH, 2))
    sampled = sample_bilinear(image, pixels_uv, padding_mode=padding_mode)
    np.testing.assert_array_equal(sampled, image)


@pytest.mark.slow
@pytest.mark.parametrize("padding_mode", PADDING_MODES)
def test_gradient_agrees_with_differences(padding_mode):
    with jax.enable_x64(True):
        image = random_image(channels=2)
        pixels_uv = jnp.asarray(np.random.default_rng(2).uniform(-3, 9, (6, 6, 2)))

        def total(pixels_uv, image):
            return jnp.sum(sample_bilinear(image, pixels_uv, padding_mode=padding_mode) ** 2)

        gradients = jax.grad(total, (0, 1))(pixels_uv, image)
        for argument, gradient in enumerate(gradients):
            direction = np.random.default_rng(3).normal(size=gradient.shape)
            ahead, behind = [pixels_uv, image], [pixels_uv, image]
            ahead[argument] = ahead[argument] + 1e-6 * direction
            behind[argument] = behind[argument] - 1e-6 * direction
            difference = (total(*ahead) - total(*behind)) / 2e-6
            np.testing.assert_allclose(jnp.sum(gradient * direction), difference, rtol=1e-6)


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
def test_enormous_coordinates_stay_finite(padding_mode):
    pixels_uv = jnp.array([[1e13, -1e13], [3e9, 2.0], [-1e30, 1e30]]).reshape(1, 3, 2)
    image = random_image()
    total = lambda uv: sample_bilinear(image, uv, padding_mode=padding_mode).sum()  # noqa: E731
    value, gradient = jax.value_and_grad(total)(pixels_uv)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_unknown_padding_mode():
    with pytest.raises(ValueError, match="'mirror'"):
        sample_bilinear(random_image(), pixel_grid(2, 2), padding_mode="mirror")  # type: ignore


@pytest.mark.slow
@pytest.mark.parametrize("batch_shape", BATCH_SHAPES)
def test_warp_without_motion_returns_the_context(batch_shape):
    with jax.enable_x64(True):
        image = random_image(batch_shape)
        K = jnp.broadcast_to(
            jnp.array([[9.0, 0, 3.2], [0, 8, 1.9], [0, 0, 1]]), (*batch_shape, 3, 3)
        )
        depth = 1.0 + 9.0 * random_image(batch_shape, channels=1)
        identity = jnp.broadcast_to(jnp.eye(4), (*batch_shape, 4, 4))
        warped = synthesize_view(image, depth, K, K, identity)
        np.testing.assert_allclose(warped, image, atol=1e-12)


@pytest.mark.slow
def test_sideways_motion_shifts_a_flat_scene():
    """A step of one metre to the right moves a wall at depth f metres by one pixel."""
    image = random_image(shape=(4, 8))
    K = jnp.array([[10.0, 0, 3], [0, 10, 2], [0, 0, 1]])
    context_T_target = pose_vector_to_transform(jnp.array([-1.0, 0, 0, 0, 0, 0]))
    warped = synthesize_view(image, jnp.full((4, 8, 1), 10.0), K, K, context_T_target)
    np.testing.assert_allclose(warped[:, 1:], image[:, :-1], atol=1e-5)
    np.testing.assert_allclose(warped[:, 0], 0, atol=1e-5)


@pytest.mark.slow
def test_one_depth_map_serves_several_contexts():
    contexts = random_image((2, 3))
    K = jnp.broadcast_to(jnp.array([[9.0, 0, 3.2], [0, 8, 1.9], [0, 0, 1]]), (2, 1, 3, 3))
    motion = np.random.default_rng(5).normal(scale=0.1, size=(2, 3, 6))
    context_T_target = pose_vector_to_transform(jnp.asarray(motion))
    depth = 1.0 + random_image((2, 1), channels=1)
    together = synthesize_view(contexts, depth, K, K, context_T_target)
    alone = synthesize_view(contexts[:, 1], depth[:, 0], K[:, 0], K[:, 0], context_T_target[:, 1])
    np.testing.assert_allclose(together[:, 1], alone, atol=1e-6)


def meaningless(entry):
    """Coordinates near 1e6 are folded: float32 decides nothing there."""
    return entry.startswith("vec_behind.reflection.")


GOLDEN_GRID_SAMPLE = [f"grid_sample.{padding_mode}.bilinear" for padding_mode in PADDING_MODES]
GOLDEN_WARPS = [
    f"{pose}.{padding_mode}.bilinear"
    for pose in ("vec", "vec_behind", "vec_far")
    for padding_mode in PADDING_MODES
]


@pytest.mark.parametrize("entry", GOLDEN_GRID_SAMPLE)
def test_golden_grid_sample(entry, parity):
    golden = load("view_synthesis")
    image = nhwc(golden["grid_sample.in.image"])
    height, width = image.shape[1:3]
    pixels_uv = (golden["grid_sample.in.grid"] + 1) / 2 * np.float32([width - 1, height - 1])
    sampled = sample_bilinear(image, pixels_uv, padding_mode=entry.split(".")[1])
    parity.compare("funcs/view_synthesis", entry, nchw(sampled), golden[entry], tolerance=1e-5)


@functools.cache
def jitted_warp(padding_mode):
    def weighted_sum(depth, vector, rgb_context, K, weight):
        context_T_target = pose_vector_to_transform(vector)
        warped = synthesize_view(
            rgb_context, depth, K, K, context_T_target, padding_mode=padding_mode
        )
        return jnp.sum(warped * weight), warped

    return jax.jit(jax.grad(weighted_sum, (0, 1, 2), has_aux=True))


@pytest.mark.slow
@pytest.mark.parametrize("entry", [entry for entry in GOLDEN_WARPS if not meaningless(entry)])
def test_golden_view_synthesis(entry, parity):
    golden = load("view_synthesis")
    pose, padding_mode, _ = entry.split(".")
    gradients, warped = jitted_warp(padding_mode)(
        nhwc(golden["in.depth"]),
        golden[f"in.{pose}"],
        nhwc(golden["in.ref"]),
        golden["in.K"],
        nhwc(golden["in.weight"]),
    )
    of_depth, of_vector, of_context = gradients
    actual = {
        "": nchw(warped),
        ".grad_depth": nchw(of_depth),
        ".grad_vec": of_vector,
        ".grad_ref": nchw(of_context),
    }
    for key, expected in golden.items():
        if not key.startswith(entry):
            continue
        part = key.removeprefix(entry)
        parity.compare(
            "funcs/view_synthesis",
            key,
            actual[part],
            expected,
            tolerance=1e-4 if part else 1e-5,
            scale=np.abs(expected).max() if part else 1.0,
        )
