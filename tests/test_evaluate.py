"""Evaluation: perfect predictions score perfectly, and images without truth are counted."""

import dataclasses
import json

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import nhwc
from golden.models import seeded_variables
from golden.seeded import load_golden

from packnet_jax import baseline, sharding
from packnet_jax.baseline import median_depth_map, median_inv_depth
from packnet_jax.config import EvalConfig, ModelConfig, NetworkConfig
from packnet_jax.data.examples import EvalExample
from packnet_jax.depth_pair import predict_pair
from packnet_jax.errors import DataError
from packnet_jax.evaluate import MODES, evaluate, evaluate_constant
from packnet_jax.metrics.depth import METRIC_NAMES, fit_to_ground_truth
from packnet_jax.networks import make_depth_net
from packnet_jax.sfm import Networks, takes_input_depth
from tfds_builders.pictures import crop_box

CONFIG = EvalConfig(crop="", batch_size=3, num_pictures=2)
SHAPE = (32, 64)


class RedChannelIsInverseDepth(nn.Module):
    """A network without weights that reads the answer off the picture."""

    scale: float = 1.0

    def __call__(self, rgb, *, train: bool):
        return (self.scale * rgb[..., :1],) * 4


class DepthCompletion(nn.Module):
    """Believes sparse depth where there is any, and the red channel elsewhere."""

    def __call__(self, rgb, input_depth=None, *, train: bool):
        inv_depth = rgb[..., :1]
        if input_depth is not None:
            inv_depth = jnp.where(input_depth > 0, 1 / jnp.maximum(input_depth, 1e-6), inv_depth)
        return (inv_depth,) * 4


NO_VARIABLES = {"params": {"depth_net": {}}, "batch_stats": {"depth_net": {}}}


def example(index, *, has_depth=True):
    rng = np.random.default_rng(index)
    rgb = rng.uniform(0.05, 1, (*SHAPE, 3)).astype(np.float32)
    depth = 1 / rgb[..., 0]
    if not has_depth:
        depth = np.zeros_like(depth)
    return EvalExample(rgb, depth, np.eye(3, dtype=np.float32), f"drive/frame{index}", index)


def report_of(examples, *, scale=1.0, network=None, num_devices=1, observers=(), config=CONFIG):
    return evaluate(
        network or RedChannelIsInverseDepth(scale),
        NO_VARIABLES,
        examples,
        dataset="made",
        step=12,
        config=config,
        mesh=sharding.make_mesh(num_devices),
        observers=observers,
    )


def test_the_truth_scores_perfectly_in_every_mode():
    report = report_of([example(i) for i in range(4)])
    for mode in MODES:
        values = report.metrics[mode]
        assert max(values[m] for m in ("abs_rel", "sq_rel", "rmse", "rmse_log")) < 1e-5
        assert min(values[m] for m in ("a1", "a2", "a3")) == 1


def test_a_wrong_scale_shows_in_the_unscaled_modes_only():
    report = report_of([example(i) for i in range(3)], scale=0.5)
    assert report.metrics["depth"]["abs_rel"] == pytest.approx(1, abs=1e-5)
    assert report.metrics["depth_gt"]["abs_rel"] < 1e-5
    assert report.per_image[0]["median_ratio"] == pytest.approx(0.5, rel=1e-5)


def test_the_scale_is_the_median_over_images_of_true_over_predicted_depth():
    double = [example(i)._replace(depth=2 * example(i).depth) for i in range(3)]
    report = report_of([*double, example(3), example(4, has_depth=False)], scale=0.5)
    assert report.scale == pytest.approx(1, rel=1e-5)
    assert report.document()["scale"] == report.scale
    assert "true / predicted depth 1.000" in report.table()


def test_images_without_truth_are_counted_and_do_not_move_the_mean():
    whole = [example(0), example(1)]
    with_empty = [example(0), example(2, has_depth=False), example(1)]
    with_none = [*with_empty, example(3)._replace(depth=None)]
    report = report_of(with_none, scale=0.7)
    assert (report.protocol["images"], report.protocol["skipped"]) == (2, 2)
    assert report.per_image[1]["depth"] is None
    assert report.metrics == report_of(whole, scale=0.7).metrics


def test_no_truth_at_all_is_an_error():
    with pytest.raises(DataError, match="none of 1 images"):
        report_of([example(0, has_depth=False)])


def test_batch_size_and_number_of_devices_do_not_matter():
    examples = [example(i) for i in range(5)]
    one = report_of(examples, scale=0.7)
    for num_devices, batch_size in [(4, 1), (2, 3), (1, 5)]:
        config = dataclasses.replace(CONFIG, batch_size=batch_size)
        other = report_of(examples, scale=0.7, num_devices=num_devices, config=config)
        assert [row["name"] for row in other.per_image] == [row["name"] for row in one.per_image]
        for mode in MODES:
            assert other.metrics[mode] == pytest.approx(one.metrics[mode], rel=1e-6)


def test_the_report_says_everything(tmp_path):
    report = report_of([example(i) for i in range(3)])
    document = json.loads(report.write(tmp_path).read_text())
    assert set(document["protocol"]) >= {
        "ground_truth",
        "input",
        "input_depth",
        "mask",
        "compute_dtype",
        "crop",
        "min_depth",
        "max_depth",
        "scaling",
        "flip",
        "images",
        "skipped",
    }
    assert set(document["metrics"]) == set(MODES)
    assert len(document["per_image"]) == 3
    for word in ("made", "step 12", "depth_pp_gt", "abs_rel"):
        assert word in report.table()


def test_observers_see_each_example_once_with_the_fused_prediction():
    seen = []
    examples = [example(i) for i in range(4)]
    report_of(examples, observers=[lambda e, inv_depth: seen.append((e.index, inv_depth))])
    assert [index for index, _ in seen] == [0, 1, 2, 3]
    for e, (_, inv_depth) in zip(examples, seen, strict=True):
        np.testing.assert_allclose(inv_depth, e.rgb[..., 0], rtol=1e-6)


def sparse_example(index):
    """Sparse depth is right, everything else wrong, and neither is symmetric."""
    truth = example(index)
    is_measured = np.random.default_rng(100 + index).random(SHAPE) < 0.3
    return truth._replace(
        rgb=np.roll(truth.rgb, 5, axis=1),
        input_depth=np.where(is_measured, truth.depth, 0).astype(np.float32),
        input_depth_source="scan",
    )


def test_input_depth_is_mirrored_with_its_picture():
    e = sparse_example(0)
    given = e.input_depth.copy()
    rgb, input_depth = e.rgb[None], e.input_depth[None, ..., None]
    pair = predict_pair(DepthCompletion(), NO_VARIABLES, rgb, input_depth)
    np.testing.assert_allclose(pair.fused, pair.raw, rtol=1e-6)  # pixels do not know their place
    np.testing.assert_array_equal(e.input_depth, given)
    without = predict_pair(DepthCompletion(), NO_VARIABLES, rgb)
    assert np.abs(without.raw - pair.raw).max() > 0.1


def test_input_depth_comes_to_the_network_and_into_the_protocol():
    examples = [sparse_example(i) for i in range(4)]
    completed = report_of(examples, network=DepthCompletion())
    assert completed.protocol["input_depth"] == "scan"
    ignored = report_of(
        [e._replace(input_depth=None, input_depth_source="") for e in examples],
        network=DepthCompletion(),
    )
    assert ignored.protocol["input_depth"] == "none"
    for mode in MODES:
        assert completed.metrics[mode]["a1"] > ignored.metrics[mode]["a1"] + 0.1


def test_which_networks_take_input_depth():
    assert takes_input_depth(DepthCompletion())
    assert not takes_input_depth(RedChannelIsInverseDepth())
    assert not takes_input_depth(make_depth_net("DepthResNet", "18"))


def test_bfloat16_rounds_what_the_network_sees_and_nothing_else():
    examples = [example(i) for i in range(3)]
    config = dataclasses.replace(CONFIG, compute_dtype="bfloat16")
    seen = []
    report = report_of(
        examples, config=config, observers=[lambda _, inv_depth: seen.append(inv_depth)]
    )
    rounded = np.asarray(jnp.asarray(examples[0].rgb[..., 0], jnp.bfloat16), np.float32)
    np.testing.assert_allclose(seen[0], rounded, rtol=2**-8)  # fusing rounds once more
    assert 0 < report.metrics["depth"]["abs_rel"] < 2**-8
    assert report.protocol["compute_dtype"] == "bfloat16"


def test_the_median_map_is_the_median_and_scores_like_a_constant():
    examples = [example(i) for i in range(5)]
    inv_depth = median_inv_depth([examples], SHAPE)
    expected = np.median([e.depth for e in examples], axis=0)
    np.testing.assert_allclose(1 / inv_depth, expected, rtol=1e-6)
    report = evaluate_constant(inv_depth, examples, dataset="made", step=0, config=CONFIG)
    assert report.metrics["depth_pp_gt"]["abs_rel"] > 0.1


def test_the_median_map_takes_from_every_set_in_turn(monkeypatch):
    monkeypatch.setattr(baseline, "MAX_EXAMPLES", 4)
    near, far = (example(0)._replace(depth=np.full(SHAPE, d, np.float32)) for d in (2, 8))
    none = example(0)._replace(depth=None)
    inv_depth = median_inv_depth([[near] * 9, [none], [far] * 9], SHAPE)
    np.testing.assert_allclose(inv_depth, 1 / 5)  # two of each: halfway


def test_the_median_map_fills_pixels_nobody_measured():
    depth = np.zeros(SHAPE, np.float32)
    depth[3, :4] = 5
    inv_depth = median_inv_depth([[example(0)._replace(depth=depth)]], SHAPE)
    np.testing.assert_allclose(inv_depth, 0.2)
    with pytest.raises(DataError, match="no depth"):
        median_inv_depth([[example(0, has_depth=False)]], SHAPE)


def test_median_depth_map_leaves_out_missing_depth():
    depths = np.array([[[1.0, 0.0, 0.0]], [[2.0, 5.0, 0.0]], [[9.0, 7.0, 0.0]]])
    np.testing.assert_array_equal(median_depth_map(depths), [[2.0, 6.0, 6.0]])


NETWORKS = {
    "DepthResNet18": NetworkConfig("DepthResNet", "18"),
    "PackNetSlim01": NetworkConfig("PackNetSlim01", "1A"),
}


def golden_evaluation(name, **protocol):
    """The report of a seeded network on the golden picture and its mirror image."""
    golden = load_golden("models/evaluate_depth.npz")
    model = ModelConfig(NETWORKS[name], NetworkConfig("PoseNet", ""))
    rgb, depth = nhwc(golden["in.rgb"])[0], golden["in.depth"][0, 0]
    first = EvalExample(rgb, depth, np.eye(3, dtype=np.float32), name="golden", index=0)
    second = first._replace(rgb=rgb[:, ::-1], depth=depth[:, ::-1], index=1)
    return evaluate(
        Networks.from_config(model).depth_net,
        seeded_variables(model, (64, 96)),
        [first, second],
        dataset="golden",
        step=0,
        config=EvalConfig(min_depth=0.0, max_depth=80.0, **protocol),
        mesh=sharding.make_mesh(1),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["DepthResNet18", pytest.param("PackNetSlim01", marks=pytest.mark.soak)]
)
def test_all_modes_equal_the_original(name, parity):
    """With and without Garg's crop, fused with the mirror image or not, scaled or not."""
    golden_set = "models/evaluate_depth"
    golden = load_golden(f"{golden_set}.npz")
    model = ModelConfig(NETWORKS[name], NetworkConfig("PoseNet", ""))
    networks, variables = Networks.from_config(model), seeded_variables(model, (64, 96))
    fused = predict_pair(
        networks.depth_net, variables_of_depth(variables), nhwc(golden["in.rgb"])[:1]
    ).fused
    expected = nhwc(golden[f"{name}|inv_depth_pp"])
    parity.compare(golden_set, f"{name}|inv_depth_pp", fused, expected, tolerance=2e-5)
    for crop in ("", "garg"):
        report = golden_evaluation(name, crop=crop)
        for mode in MODES:
            entry = f"{name}|crop={crop}|{mode}"
            expected = golden[entry]
            actual = [report.per_image[0][mode][metric] for metric in METRIC_NAMES]
            scale = np.maximum(np.abs(expected), 1e-3)
            parity.compare(golden_set, entry, actual, expected, tolerance=1e-4, scale=scale)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["DepthResNet18", pytest.param("PackNetSlim01", marks=pytest.mark.soak)]
)
def test_a_batch_of_two_gives_the_numbers_of_one(name):
    one, two = (golden_evaluation(name, batch_size=size) for size in (1, 2))
    for here, there in zip(two.per_image, one.per_image, strict=True):
        for mode in MODES:
            assert here[mode] == pytest.approx(there[mode], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["DepthResNet18", pytest.param("PackNetSlim01", marks=pytest.mark.soak)]
)
def test_half_precision_moves_errors_by_2_percent_and_accuracies_by_0_01_at_most(name):
    half = golden_evaluation(name, compute_dtype="bfloat16").metrics
    full = golden_evaluation(name).metrics
    for mode in MODES:
        assert half[mode] != full[mode]
        for metric, value in full[mode].items():
            allowed = 0.01 if metric in ("a1", "a2", "a3") else 0.02 * value
            assert half[mode][metric] == pytest.approx(value, abs=allowed), (mode, metric)


def variables_of_depth(variables):
    return {name: {"depth_net": collection["depth_net"]} for name, collection in variables.items()}


def cropped_example(index, borders=(-32, 0, 0.5, 64), full_shape=(40, 71)):
    """A picture whose bottom centre the network sees, while all of it has ground truth."""
    rng = np.random.default_rng(index)
    full = rng.uniform(0.05, 1, (*full_shape, 3)).astype(np.float32)
    box = crop_box(borders, full_shape)
    K = np.eye(3, dtype=np.float32)
    return EvalExample(box.cut(full), 1 / full[..., 0], K, f"cropped{index}", index, box, "made")


def test_a_cropped_prediction_is_placed_back_where_it_was_cut_out(caplog):
    shown = [cropped_example(i) for i in range(3)]
    for e in shown:  # no truth outside, where nothing is predicted
        outside = np.ones_like(e.depth, bool)
        e.box.cut(outside)[:] = False
        e.depth[outside] = 0
    config = dataclasses.replace(CONFIG, scale_output="top-center")
    report = report_of(shown, config=config)
    assert report.metrics["depth"]["abs_rel"] < 1e-6
    assert report.per_image[0]["valid_pixels"] == 32 * 64
    assert report.protocol["input"] == "32x64 from row 8, column 3"
    assert "different places" not in caplog.text


def test_what_the_crop_cut_off_counts_as_the_nearest_depth():
    examples = [cropped_example(i, full_shape=(64, 66)) for i in range(2)]
    config = dataclasses.replace(CONFIG, scale_output="top-center", min_depth=1.0)
    report = report_of(examples, config=config)
    depth, box = examples[0].depth, examples[0].box
    predicted = np.asarray(fit_to_ground_truth(box.cut(depth), depth.shape, "top-center"))
    predicted = np.clip(predicted, 1, 80)
    valid = (depth > 1) & (depth < 80)
    expected = np.mean(np.abs(depth - predicted)[valid] / depth[valid])
    assert report.per_image[0]["depth"]["abs_rel"] == pytest.approx(expected, rel=1e-5)
    assert expected > 0.1


@pytest.mark.parametrize(
    ("crop", "scale_output"),
    [((-32, 0, 0.5, 64), "resize"), ((0, 32, 0.5, 64), "top-center"), ((), "top-center")],
)
def test_a_prediction_that_is_taken_for_another_place_is_said(caplog, crop, scale_output):
    examples = [cropped_example(0, crop or (-32, 0, 0.5, 64))]
    if not crop:
        examples = [examples[0]._replace(box=None)]
    report = report_of(examples, config=dataclasses.replace(CONFIG, scale_output=scale_output))
    assert "different places" in caplog.text
    assert report.metrics["depth_gt"]["abs_rel"] > 0.1


def test_the_protocol_names_the_ground_truth_that_was_used():
    named = [example(i)._replace(depth_source=s) for i, s in enumerate(("scan", "scan", "map"))]
    unused = example(3, has_depth=False)._replace(depth_source="nothing")
    assert report_of(named[:2]).protocol["ground_truth"] == "scan"
    mixed = report_of([*named, unused]).protocol["ground_truth"]
    assert mixed == "scan: 2 images; map: 1 images"
    assert "as stored" in report_of([example(0)]).protocol["ground_truth"]


def test_the_median_map_is_of_the_part_that_is_shown():
    examples = [cropped_example(i) for i in range(3)]
    expected = np.median([e.box.cut(e.depth) for e in examples], axis=0)
    np.testing.assert_allclose(1 / median_inv_depth([examples], SHAPE), expected, rtol=1e-6)


def test_errors_outside_the_mask_do_not_count():
    sound = example(0)
    spoilt = sound._replace(depth=sound.depth.copy(), mask=np.ones(sound.depth.shape, bool))
    spoilt.depth[:5] *= 3
    assert report_of([spoilt]).metrics["depth"]["abs_rel"] > 0.01
    spoilt.mask[:5] = False
    report = report_of([spoilt])
    assert report.metrics["depth"]["abs_rel"] < 1e-6
    assert report.per_image[0]["valid_pixels"] == spoilt.mask.sum()
    assert report.protocol["mask"] == "pixels outside the set's mask do not count"
