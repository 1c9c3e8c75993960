import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load, nchw, nhwc

from packnet_jax.losses.smoothness import (
    edge_aware_gradients,
    edge_aware_variation,
    floored_mean,
    masked_mean,
    smoothness_loss,
)


def random_map(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random(shape))


SCALES = range(4)
GOLDEN_PIECES = [
    f"pieces.{piece}{scale}"
    for piece in ("normalized_inv", "smooth_x", "smooth_y")
    for scale in SCALES
]


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_golden_pieces(scale, parity):
    golden = load("photometric")
    inv_depth = nhwc(golden[f"in.ms.inv_depth{scale}"])
    along_x, along_y = edge_aware_gradients(inv_depth, nhwc(golden[f"pieces.image_scale{scale}"]))
    pieces = {
        "normalized_inv": inv_depth / floored_mean(inv_depth),
        "smooth_x": along_x,
        "smooth_y": along_y,
    }
    for piece, actual in pieces.items():
        entry = f"pieces.{piece}{scale}"
        parity.compare("funcs/photometric", entry, nchw(actual), golden[entry], tolerance=1e-6)


def test_golden_total(parity):
    golden = load("photometric")
    inv_depths = [nhwc(golden[f"in.ms.inv_depth{scale}"]) for scale in SCALES]
    images = [nhwc(golden[f"pieces.image_scale{scale}"]) for scale in SCALES]
    entry = "default.metric.smoothness_loss"
    parity.compare(
        "funcs/photometric",
        entry,
        1e-3 * smoothness_loss(inv_depths, images),
        golden[entry],
        tolerance=1e-6,
        scale=golden[entry],
    )


def test_differences_across_the_mask_s_border_do_not_count():
    """A step between two flat halves, one of which is masked."""
    inv_depth = jnp.full((2, 4, 6, 1), 0.3).at[:, :, 3:].set(0.7)
    rgb = random_map((2, 4, 6, 3))
    mask = jnp.ones((2, 4, 6, 1)).at[:, :, 3:].set(0)
    assert edge_aware_variation(inv_depth, rgb) > 0
    assert edge_aware_variation(inv_depth, rgb, mask) == 0
    half = edge_aware_variation(inv_depth, rgb, jnp.ones_like(mask).at[:, :2].set(0))
    along_x, _ = edge_aware_gradients(inv_depth, rgb)
    np.testing.assert_allclose(half, jnp.mean(jnp.abs(along_x[:, 2:])), rtol=1e-5)
    by_scale = smoothness_loss([inv_depth], [rgb], mask_pyramid=[mask])
    assert by_scale == 0


def test_a_masked_mean_is_that_of_what_counts():
    values = random_map((2, 4, 6, 1))
    mask = jnp.asarray(values > 0.5, values.dtype)
    expected = np.asarray(values)[np.asarray(values) > 0.5].mean()
    np.testing.assert_allclose(masked_mean(values, mask), expected, rtol=1e-6)
    np.testing.assert_allclose(masked_mean(values, None), np.mean(values), rtol=1e-6)
    assert masked_mean(values, jnp.zeros_like(mask)) == 0


def test_flat_inverse_depth_is_smooth():
    assert edge_aware_variation(jnp.full((2, 4, 6, 1), 0.3), random_map((2, 4, 6, 3))) == 0


def test_scale_of_inverse_depth_does_not_count():
    with jax.enable_x64(True):
        inv_depth, rgb = random_map((2, 4, 6, 1)), random_map((2, 4, 6, 3), 1)
        near, far = (edge_aware_variation(scale * inv_depth, rgb) for scale in (100.0, 0.01))
        np.testing.assert_allclose(near, far, rtol=1e-12)


def test_steps_cost_less_at_colour_edges():
    inv_depth = jnp.ones((1, 4, 6, 1)).at[:, :, 3:].set(2.0)
    plain = jnp.zeros((1, 4, 6, 3))
    same_edge = plain.at[:, :, 3:].set(1.0)
    at_edge, on_plain = (edge_aware_variation(inv_depth, rgb) for rgb in (same_edge, plain))
    np.testing.assert_allclose(at_edge, on_plain * np.exp(-1), rtol=1e-6)


def test_coarser_scales_weigh_half_each():
    inv_depth, rgb = random_map((1, 4, 6, 1)), random_map((1, 4, 6, 3), 1)
    one, two = (smoothness_loss([inv_depth] * n, [rgb] * n) for n in (1, 2))
    np.testing.assert_allclose(two, one * (1 + 0.5) / 2, rtol=1e-6)
    weights = jnp.array([1.0, 0.0])
    weighted = smoothness_loss([inv_depth] * 2, [rgb] * 2, scale_weights=weights)
    np.testing.assert_allclose(weighted, one, rtol=1e-6)


def test_gradients_are_finite_without_any_depth():
    gradient = jax.grad(edge_aware_variation)(jnp.zeros((1, 4, 6, 1)), random_map((1, 4, 6, 3)))
    assert np.isfinite(gradient).all()


def test_the_variation_is_the_mean_size_of_the_gradients():
    inv_depth, rgb = random_map((2, 4, 6, 1)), random_map((2, 4, 6, 3), 1)
    along_x, along_y = edge_aware_gradients(inv_depth, rgb)
    assert along_x.shape == (2, 4, 5, 1)
    assert along_y.shape == (2, 3, 6, 1)
    expected = np.abs(along_x).mean() + np.abs(along_y).mean()
    np.testing.assert_allclose(edge_aware_variation(inv_depth, rgb), expected, rtol=1e-6)


def test_the_mean_is_each_map_s_own_and_never_zero():
    maps = jnp.concatenate([random_map((1, 4, 6, 1)), jnp.zeros((1, 4, 6, 1))])
    means = floored_mean(maps)
    assert means.shape == (2, 1, 1, 1)
    np.testing.assert_allclose(means[0], maps[0].mean(), rtol=1e-6)
    assert 0 < means[1] <= 1e-6
