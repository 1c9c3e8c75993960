import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load, one_plus

from packnet_jax.metrics.depth import (
    METRIC_NAMES,
    depth_metrics,
    fit_to_ground_truth,
    garg_crop_mask,
)

RESIZE = {"min_depth": 0.0, "max_depth": 80.0, "crop": "", "median_scaling": False}
CASES = {
    "resize": ("in.pred_small", "in.gt", "resize"),
    "same": ("in.pred_same", "in.gt", "resize"),
    "topcenter_fullgt": ("in.pred_topcenter", "in.gt", "top-center"),
    "topcenter": ("in.pred_topcenter", "in.gt_topcenter_only", "top-center"),
    "one_empty": ("in.pred_same", "in.gt_one_empty", "resize"),
}


def random_depth(shape=(20, 30), seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(2.0, 60.0, shape))


@functools.cache
def batched(**options):
    return jax.jit(jax.vmap(functools.partial(depth_metrics, **options)))


GOLDEN_METRICS = [
    f"{case}|crop={crop}|gt_scale={median_scaling}|{limits}"
    for case in CASES
    for crop in ("", "garg")
    for median_scaling in (True, False)
    for limits in ("0-80", "1-50")
]
GOLDEN_FITTING = {"scaled.resize": CASES["resize"], "scaled.topcenter": CASES["topcenter"]}


@pytest.mark.slow
@pytest.mark.parametrize("entry", GOLDEN_METRICS)
def test_golden(entry, parity):
    """The reference averages over the batch, images without valid pixels counting as zeros."""
    golden = load("metrics")
    case, crop, median_scaling, limits = entry.split("|")
    prediction, ground_truth, scale_output = CASES[case]
    min_depth, max_depth = map(float, limits.split("-"))
    metrics = batched(
        min_depth=min_depth,
        max_depth=max_depth,
        crop=crop.removeprefix("crop="),
        median_scaling=median_scaling == "gt_scale=True",
        scale_output=scale_output,
    )(golden[prediction][:, 0], golden[ground_truth][:, 0])
    parity.compare(
        "funcs/metrics",
        entry,
        metrics.values.mean(0),
        golden[entry],
        tolerance=1e-6,
        scale=np.maximum(0.1, one_plus(golden[entry]) - 1),
    )


def test_the_metrics_have_the_order_of_the_reference():
    names = load("metrics")["names"].tolist()
    assert [name.replace("sqr_rel", "sq_rel") for name in names] == list(METRIC_NAMES)


@pytest.mark.parametrize("entry", GOLDEN_FITTING)
def test_golden_fitting(entry, parity):
    """1e-6 was asked for; the reference itself is 1.2e-6 from float64: it has float32 weights."""
    golden = load("metrics")
    name, _, scale_output = GOLDEN_FITTING[entry]
    expected = golden[entry]
    fit = jax.vmap(lambda depth: fit_to_ground_truth(depth, expected.shape[-2:], scale_output))
    parity.compare(
        "funcs/metrics",
        entry,
        fit(golden[name][:, 0])[:, None],
        expected,
        tolerance=2e-6,
        scale=one_plus(expected),
    )


def test_golden_lower_median(parity):
    golden = load("metrics")
    values = golden["median.in"][None]
    metrics = depth_metrics(
        jnp.ones_like(values),
        values,
        **RESIZE | {"median_scaling": True, "min_depth": -1e9, "max_depth": 1e9},
    )
    parity.compare(
        "funcs/metrics", "median.torch", metrics.scale, golden["median.torch"], tolerance=0
    )


def test_perfect_prediction():
    depth = random_depth()
    metrics = depth_metrics(depth, depth, **RESIZE)
    np.testing.assert_array_equal(metrics.values, [0, 0, 0, 0, 1, 1, 1])
    assert metrics.num_valid == depth.size
    assert metrics.scale == 1


@pytest.mark.parametrize("factor", [0.01, 1.0, 7.0])
def test_median_scaling_ignores_scale(factor):
    with jax.enable_x64(True):
        depth, ground_truth = random_depth(seed=1), random_depth(seed=2)
        options = RESIZE | {"median_scaling": True}
        plain = depth_metrics(depth, ground_truth, **options)
        scaled = depth_metrics(factor * depth, ground_truth, **options)
        np.testing.assert_allclose(scaled.values, plain.values, rtol=1e-12)
        np.testing.assert_allclose(scaled.scale * factor, plain.scale, rtol=1e-12)


def test_agrees_with_the_formulas_on_the_valid_pixels():
    with jax.enable_x64(True):
        depth, ground_truth = random_depth(seed=1), random_depth(seed=2).at[::2].set(0.0)
        limits = {"min_depth": 5.0, "max_depth": 40.0}
        metrics = depth_metrics(depth, ground_truth, **RESIZE | limits)
        valid = np.asarray((ground_truth > 5) & (ground_truth < 40))
        p, t = np.clip(np.asarray(depth)[valid], 5, 40), np.asarray(ground_truth)[valid]
        ratio = np.maximum(p / t, t / p)
        expected = {
            "abs_rel": np.mean(np.abs(p - t) / t),
            "sq_rel": np.mean((p - t) ** 2 / t),
            "rmse": np.sqrt(np.mean((p - t) ** 2)),
            "rmse_log": np.sqrt(np.mean(np.log(p / t) ** 2)),
            "a1": np.mean(ratio < 1.25),
            "a2": np.mean(ratio < 1.25**2),
            "a3": np.mean(ratio < 1.25**3),
        }
        assert metrics.num_valid == valid.sum()
        np.testing.assert_allclose(metrics.values, [expected[name] for name in METRIC_NAMES])


@pytest.mark.parametrize("median_scaling", [True, False])
def test_no_valid_pixel_gives_zeros_and_no_count(median_scaling):
    options = RESIZE | {"median_scaling": median_scaling}
    metrics = depth_metrics(random_depth(), jnp.zeros((20, 30)), **options)
    np.testing.assert_array_equal(metrics.values, np.zeros(7))
    assert metrics.num_valid == 0
    assert metrics.scale == 1


def test_garg_crop_of_a_kitti_image():
    mask = garg_crop_mask(375, 1242)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (153, 370, 44, 1196)
    assert mask.sum() == (371 - 153) * (1197 - 44)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"crop": "eigen"}, "'eigen'"), ({"scale_output": "pad"}, "'pad'")],
)
def test_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        depth_metrics(random_depth(), random_depth(), **RESIZE | options)


def test_too_large_a_prediction_for_padding():
    with pytest.raises(ValueError, match="exceeds"):
        depth_metrics(random_depth((21, 30)), random_depth(), **RESIZE, scale_output="top-center")


def test_pixels_outside_the_mask_do_not_count():
    truth, predicted = random_depth(), random_depth(seed=1)
    mask = jnp.arange(20)[:, None] < jnp.full(30, 12)
    masked = depth_metrics(predicted, truth, mask=mask, **RESIZE)
    without = depth_metrics(predicted, jnp.where(mask, truth, 0), **RESIZE)
    np.testing.assert_array_equal(masked.values, without.values)
    assert masked.num_valid == 12 * 30
    nothing = depth_metrics(predicted, truth, mask=jnp.zeros_like(mask), **RESIZE)
    assert nothing.num_valid == 0
