import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load, nchw, nhwc

from packnet_jax.losses.supervised import (
    COMPARISONS,
    abs_rel,
    berhu,
    l1,
    mse,
    silog,
    supervised_loss,
    weighted_mean,
)

CONFIGURATIONS = [
    *((f"sparse-{kind}", scales) for kind in COMPARISONS for scales in (4, 1)),
    *((kind, 4) for kind in COMPARISONS if kind != "berhu"),  # on which the original stops
]
GOLDEN = [f"{method}.scales{scales}." for method, scales in CONFIGURATIONS]
SHAPE = (1, 4, 5, 1)


@functools.cache
def value_and_gradient(**options):
    return jax.jit(jax.value_and_grad(functools.partial(supervised_loss, **options)))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "scales"), CONFIGURATIONS)
def test_golden(method, scales, parity):
    golden = load("supervised")
    kind = "sparse" if method.startswith("sparse-") else "dense"
    pyramid = tuple(nhwc(golden[f"in.inv_depth{i}"]) for i in range(4))
    measured = nhwc(golden[f"in.gt_inv_{kind}"])
    step = value_and_gradient(supervised_method=method, supervised_num_scales=scales)
    loss, gradients = step(pyramid, measured)
    actual = {"loss": loss[None]}
    actual |= {f"grad_inv_depth{i}": nchw(gradient) for i, gradient in enumerate(gradients)}
    compared = 0
    for key, expected in golden.items():
        prefix, _, entry = key.rpartition(".")
        if prefix != f"{method}.scales{scales}":
            continue
        scale = (
            max(1.0, float(np.abs(expected).max())) if entry == "loss" else np.abs(expected).max()
        )
        tolerance = 1e-6 if entry == "loss" else 1e-5
        parity.compare(
            "funcs/supervised", key, actual[entry], expected, tolerance=tolerance, scale=scale
        )
        compared += 1
    assert compared == 1 + scales


@pytest.mark.slow
@pytest.mark.parametrize("comparison", COMPARISONS.values(), ids=COMPARISONS)
def test_equal_maps_have_no_loss_and_no_gradient(comparison):
    rng = np.random.default_rng(0)
    inv_depth, weight = rng.uniform(0.1, 1, SHAPE), np.ones(SHAPE)
    loss, gradient = jax.value_and_grad(comparison)(inv_depth, inv_depth, weight)
    assert loss == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("comparison", COMPARISONS.values(), ids=COMPARISONS)
def test_pixels_without_weight_have_no_effect(comparison):
    rng = np.random.default_rng(1)
    predicted, measured = rng.uniform(0.1, 1, (2, *SHAPE))
    weight = (rng.random(SHAPE) < 0.5).astype(float)
    other = np.where(weight > 0, predicted, 7.0)
    value = jax.value_and_grad(comparison)
    for a, b in zip(
        value(predicted, measured, weight), value(other, measured, weight), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("method", ["sparse-" + kind for kind in COMPARISONS])
def test_without_a_measurement_the_loss_is_0_and_its_gradient_finite(method):
    pyramid = (jnp.full(SHAPE, 0.3), jnp.zeros((1, 2, 2, 1)))
    options = {"supervised_method": method, "supervised_num_scales": 2}
    loss, gradients = value_and_gradient(**options)(pyramid, jnp.zeros(SHAPE))
    assert loss == 0
    assert all(bool(jnp.all(jnp.isfinite(gradient))) for gradient in gradients)


def test_values_by_hand():
    predicted, measured = jnp.array([0.5, 1.0, 2.0]), jnp.array([1.0, 1.0, 1.0])
    all_three = jnp.ones(3)
    np.testing.assert_allclose(l1(predicted, measured, all_three), 0.5)
    np.testing.assert_allclose(mse(predicted, measured, all_three), 1.25 / 3)
    np.testing.assert_allclose(abs_rel(predicted, measured, all_three), (1.0 + 0.0 + 0.5) / 3)
    # Squares are listed above a fifth of 2 - 1: those of 0.5 and 1.
    np.testing.assert_allclose(berhu(predicted, measured, all_three), (1.5 + 1.25) / 5)
    log2 = np.log(2.0)  # differences -log2, 0, log2
    np.testing.assert_allclose(
        silog(predicted, measured, all_three), 10 * np.sqrt(2 * log2**2 / 3), rtol=1e-6
    )


def test_silog_forgives_most_of_a_common_factor():
    rng = np.random.default_rng(2)
    measured = rng.uniform(0.1, 1, SHAPE)
    loss = silog(3 * measured, measured, np.ones(SHAPE))
    np.testing.assert_allclose(loss, 10 * np.log(3) * np.sqrt(0.15), rtol=1e-5)


def test_scales_are_weighted_as_asked():
    pyramid = (jnp.full(SHAPE, 0.5), jnp.full((1, 2, 2, 1), 0.7))
    loss = supervised_loss(
        pyramid,
        jnp.full(SHAPE, 0.4),
        supervised_num_scales=2,
        scale_weights=jnp.array([0.25, 2.0]),
    )
    np.testing.assert_allclose(loss, 0.25 * 0.1 + 2.0 * 0.3, rtol=1e-6)


def test_weighted_mean():
    np.testing.assert_allclose(weighted_mean(jnp.array([1.0, 2.0, 9.0]), jnp.array([1, 1, 0])), 1.5)
    assert weighted_mean(jnp.array([1.0]), jnp.array([0.0])) == 0


def test_what_can_not_be_computed_is_refused():
    pyramid, measured = (jnp.ones(SHAPE),), jnp.ones(SHAPE)
    with pytest.raises(ValueError, match=r"'huber'.*l1, mse, berhu, silog, abs_rel"):
        supervised_loss(pyramid, measured, supervised_method="huber", supervised_num_scales=1)
    with pytest.raises(ValueError, match="is 4, but only 1"):
        supervised_loss(pyramid, measured)
