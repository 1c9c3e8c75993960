"""Device versions equal the host's, which equal the original's, within one level per operation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from packnet_jax import augment
from packnet_jax.data import jitter as host
from packnet_jax.data.transforms import resize_image

HEIGHT, WIDTH = 24, 40
LEVEL = 1 / 255
STRENGTHS = (0.2, 0.3, 0.4, 0.05, 0.1)
FACTORS = {
    "brightness": (0.0, 0.5, 0.8, 1.0, 1.2, 1.1371, 2.5),
    "contrast": (0.0, 0.5, 0.8, 1.0, 1.2, 0.9213, 2.5),
    "saturation": (0.0, 0.5, 0.8, 1.0, 1.2, 1.0777, 2.5),
    "hue": (-0.5, -0.05, -0.002, 0.0, 0.0312, 0.2, 0.5),
}
ADJUST = {
    "brightness": augment.adjust_brightness,
    "contrast": augment.adjust_contrast,
    "saturation": augment.adjust_saturation,
    "hue": augment.adjust_hue,
}


def noise():
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def smooth():
    v, u = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    channels = [np.sin(3 * u + 2 * v), np.cos(4 * u), np.sin(5 * v) * u]
    return np.round(127.5 + 127.5 * np.stack(channels, axis=-1)).astype(np.uint8)


def corners_of_the_colour_cube():
    """Black, white, the six pure colours, and one level inside of each, at random places."""
    rng = np.random.default_rng(1)
    return rng.choice(np.array([0, 1, 254, 255], np.uint8), (HEIGHT, WIDTH, 3))


PICTURES = [noise(), smooth(), corners_of_the_colour_cube(), np.zeros((HEIGHT, WIDTH, 3), np.uint8)]
IMAGES = jnp.asarray(np.stack(PICTURES), jnp.float32) / 255


def levels_apart(image, picture):
    """The largest difference in levels; the image must lie on levels itself."""
    levels = np.asarray(image, np.float64) * 255
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    return np.abs(np.round(levels) - picture).max()


@functools.cache
def jitted(step):
    return jax.jit(ADJUST[step])


@pytest.mark.parametrize("step", FACTORS)
def test_each_step_is_within_a_level_of_the_host(step):
    for factor in FACTORS[step]:
        factor = float(np.float32(factor))
        jitter = host.Jitter(order=(step,))._replace(**{step: factor})
        expected = np.stack([host.apply_jitter(picture, jitter) for picture in PICTURES])
        assert levels_apart(jitted(step)(IMAGES, factor), expected) <= 1, factor


def test_channel_gains_are_within_a_level_of_the_host():
    gains = np.float32([0.9, 1.1, 1.0371])
    jitter = host.Jitter(order=(), channel_gains=tuple(gains.tolist()))
    expected = np.stack([host.apply_jitter(picture, jitter) for picture in PICTURES])
    assert levels_apart(augment.scale_channels(IMAGES, jnp.asarray(gains)), expected) <= 1


def test_hue_is_the_host_s_for_every_eighth_colour_of_the_cube_and_its_edges():
    """A hue one level off would move colours by six."""
    values = np.array([*range(0, 256, 8), 85, 170, 254, 255], np.uint8)
    cube = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(36, -1, 3)
    turned = host.apply_jitter(cube, host.Jitter(order=("hue",), hue=0.13))
    image = jnp.asarray(cube, jnp.float32) / 255
    assert levels_apart(jitted("hue")(image, float(np.float32(0.13))), turned) == 0


@functools.cache
def jitted_jitter():
    return jax.jit(jax.vmap(augment.apply_jitter))


def draws(seed, count, strengths=STRENGTHS):
    keys = jax.random.split(jax.random.key(seed), count)
    return jax.jit(jax.vmap(functools.partial(augment.draw_jitter, strengths=strengths)))(keys)


def on_the_host(jitters, i):
    one = jax.tree.map(lambda leaf: np.asarray(leaf[i]), jitters)
    return host.Jitter(
        *(float(factor) for factor in one[:4]),
        order=tuple(augment.STEPS[step] for step in one.order),
        channel_gains=tuple(one.channel_gains.tolist()),
    )


def test_whole_jitters_in_all_orders_equal_the_host_s():
    """No operation is off by a level on these pictures, so neither are all five together."""
    jitters = draws(0, 48)
    assert len({tuple(order) for order in np.asarray(jitters.order).tolist()}) > 18
    frames = jnp.broadcast_to(IMAGES[None], (48, *IMAGES.shape))
    jittered = jitted_jitter()(frames, jitters)
    for i in range(48):
        jitter = on_the_host(jitters, i)
        expected = np.stack([host.apply_jitter(picture, jitter) for picture in PICTURES])
        assert levels_apart(jittered[i], expected) == 0, jitter


def test_one_draw_serves_a_target_and_its_contexts_and_samples_differ():
    rgb = IMAGES[jnp.array([1, 1])]
    rgb_context = jnp.broadcast_to(IMAGES[1], (2, 2, HEIGHT, WIDTH, 3))
    jittered, context = augment.jitter_batch(jax.random.key(3), rgb, rgb_context, STRENGTHS)
    for n in range(2):
        np.testing.assert_array_equal(context[:, n], jittered)
    assert np.abs(jittered[0] - jittered[1]).max() > 5 * LEVEL
    again, _ = augment.jitter_batch(jax.random.key(3), rgb, rgb_context, STRENGTHS)
    np.testing.assert_array_equal(again, jittered)


@pytest.mark.slow
def test_draws_are_distributed_as_the_host_s():
    """Uniform in the same ranges (Kolmogorov-Smirnov against the host's draws), in every order."""
    count, strengths = 2000, (0.2, 1.5, 0.0, 0.05, 0.1)
    jitters = draws(5, count, strengths)
    rng = np.random.default_rng(6)
    from_host = [host.draw_jitter(rng, strengths) for _ in range(count)]
    for name in ("brightness", "contrast", "hue", "channel_gains"):
        ours = np.sort(np.asarray(getattr(jitters, name)).ravel())
        theirs = np.sort(np.array([getattr(draw, name) for draw in from_host]).ravel())
        grid = np.linspace(theirs[0], theirs[-1], 200)
        distance = (
            np.searchsorted(ours, grid) / ours.size - np.searchsorted(theirs, grid) / theirs.size
        )
        assert np.abs(distance).max() < 1.95 * np.sqrt(2 / count), name  # 0.1 % significance
    assert set(np.asarray(jitters.saturation).tolist()) == {1.0}
    orders, counts = np.unique(np.asarray(jitters.order), axis=0, return_counts=True)
    assert len(orders) == 24
    assert counts.min() > count / 24 / 2
    without_gains = draws(0, 3, (0.2, 0.2, 0.2, 0.05))
    np.testing.assert_array_equal(without_gains.channel_gains, np.ones((3, 3)))


@pytest.mark.parametrize("strengths", [(0.1,), (0.1, 0.1, 0.1, 0.6), (-0.1, 0, 0, 0), (0,) * 6])
def test_impossible_strengths_are_refused(strengths):
    with pytest.raises(ValueError, match="Jitter strengths"):
        augment.draw_jitter(jax.random.key(0), strengths)


def test_too_large_an_image_for_the_mean_is_refused():
    shape = jax.ShapeDtypeStruct((2049, 2048, 3), jnp.float32)
    with pytest.raises(ValueError, match="2049x2048"):
        jax.eval_shape(lambda image: augment.adjust_contrast(image, 1.1), shape)


SIZES = [(12, 20), (9, 80), (50, 13), (1, 1), (5, 7), (24, 40), (36, 60), (23, 39)]


@pytest.mark.parametrize("shape", SIZES)
def test_resizing_equals_the_host_s(shape):
    """Exactly: an error of the first pass would grow in the second."""
    expected = np.stack([resize_image(picture, shape) for picture in PICTURES])
    assert levels_apart(augment.resize_lanczos(IMAGES, shape), expected) == 0


@pytest.mark.parametrize("sizes", [(40, 13), (40, 40), (13, 40), (1242, 640)])
def test_lanczos_weights_add_up_to_one_and_reach_three_pixels_of_the_smaller_image(sizes):
    weights = augment.lanczos_weights(*sizes)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
    reach = 2 * augment.LANCZOS_RADIUS * max(sizes[0] / sizes[1], 1)
    assert (weights != 0).sum(axis=1).max() <= reach + 1
    if sizes[0] == sizes[1]:
        np.testing.assert_allclose(weights, np.eye(sizes[0]), atol=1e-7)


def test_cropping_cuts_out_the_window_also_at_traced_places():
    window = IMAGES[..., 3:13, 5:25, :]
    np.testing.assert_array_equal(augment.crop(IMAGES, 3, 5, (10, 20)), window)
    traced = jax.jit(lambda top, left: augment.crop(IMAGES, top, left, (10, 20)))
    np.testing.assert_array_equal(traced(3, 5), window)


@pytest.mark.parametrize("place", [(15, 0), (-1, 0), (0, 21)])
def test_a_window_beyond_the_image_is_refused(place):
    with pytest.raises(ValueError, match="can not crop"):
        augment.crop(IMAGES, *place, (10, 20))
