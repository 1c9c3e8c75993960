"""Evaluation: perfect predictions score perfectly, and images without truth are counted."""

import dataclasses
import json

import flax.linen as nn
import numpy as np
import pytest
from golden.arrays import nhwc
from golden.models import seeded_variables
from golden.seeded import load_golden

from packnet_jax import baseline, sharding
from packnet_jax.baseline import median_depth_map, median_inv_depth
from packnet_jax.config import EvalConfig, ModelConfig, NetworkConfig
from packnet_jax.data.pipeline import EvalExample
from packnet_jax.errors import DataError
from packnet_jax.evaluate import MODES, evaluate, evaluate_constant, predict_pair
from packnet_jax.metrics.depth import METRIC_NAMES, fit_to_ground_truth
from packnet_jax.sfm import Networks
from tfds_builders.pictures import crop_box

CONFIG = EvalConfig(crop="", batch_size=3, num_pictures=2)
SHAPE = (32, 64)


class RedChannelIsInverseDepth(nn.Module):
    """A network without weights that reads the answer off the picture."""

    scale: float = 1.0

    def __call__(self, rgb, *, train: bool):
        return (self.scale * rgb[..., :1],) * 4


def example(index, *, has_depth=True):
    rng = np.random.default_rng(index)
    rgb = rng.uniform(0.05, 1, (*SHAPE, 3)).astype(np.float32)
    depth = 1 / rgb[..., 0]
    if not has_depth:
        depth = np.zeros_like(depth)
    return EvalExample(rgb, depth, np.eye(3, dtype=np.float32), f"drive/frame{index}", index)


def report_of(examples, *, scale=1.0, num_devices=1, folder=None, config=CONFIG):
    return evaluate(
        RedChannelIsInverseDepth(scale),
        {"params": {"depth_net": {}}, "batch_stats": {"depth_net": {}}},
        examples,
        dataset="made",
        step=12,
        config=config,
        mesh=sharding.make_mesh(num_devices),
        pictures_folder=folder,
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
    report = report_of([example(i) for i in range(3)], folder=tmp_path / "pictures")
    document = json.loads(report.write(tmp_path).read_text())
    assert set(document["protocol"]) >= {
        "ground_truth",
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
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2
    for word in ("made", "step 12", "depth_pp_gt", "abs_rel"):
        assert word in report.table()


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("DepthResNet18", NetworkConfig("DepthResNet", "18")),
        ("PackNetSlim01", NetworkConfig("PackNetSlim01", "1A")),
    ],
)
def test_all_modes_equal_the_original(name, network, parity):
    """With and without Garg's crop, fused with the mirror image or not, scaled or not."""
    golden_set = "models/evaluate_depth"
    golden = load_golden(f"{golden_set}.npz")
    model = ModelConfig(network, NetworkConfig("PoseNet", ""))
    networks, variables = Networks.from_config(model), seeded_variables(model, (64, 96))
    pictures = EvalExample(
        rgb=nhwc(golden["in.rgb"])[0],
        depth=golden["in.depth"][0, 0],
        intrinsics=np.eye(3, dtype=np.float32),
        name="golden",
        index=0,
    )
    fused = predict_pair(
        networks.depth_net, variables_of_depth(variables), pictures.rgb[None]
    ).fused
    expected = nhwc(golden[f"{name}|inv_depth_pp"])
    parity.compare(golden_set, f"{name}|inv_depth_pp", fused, expected, tolerance=2e-5)
    for crop in ("", "garg"):
        report = evaluate(
            networks.depth_net,
            variables,
            [pictures],
            dataset="golden",
            step=0,
            config=EvalConfig(crop=crop, min_depth=0.0, max_depth=80.0),
            mesh=sharding.make_mesh(1),
        )
        for mode in MODES:
            entry = f"{name}|crop={crop}|{mode}"
            expected = golden[entry]
            actual = [report.metrics[mode][metric] for metric in METRIC_NAMES]
            scale = np.maximum(np.abs(expected), 1e-3)
            parity.compare(golden_set, entry, actual, expected, tolerance=1e-4, scale=scale)


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
