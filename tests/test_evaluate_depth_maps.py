"""Folders of depth maps: partners by name, and the metrics of what was written."""

import json
from pathlib import Path

import cli
import numpy as np
import pytest
from real_data import end_to_end, end_to_end_file, kitti_tiny

from packnet_jax.errors import ConfigError, DataError
from packnet_jax.evaluate_depth_maps import evaluate_depth_maps, match_maps
from packnet_jax.metrics.depth import METRIC_NAMES
from packnet_jax.visualize import write_depth

SHAPE = (24, 40)


def depth_map(seed: int, shape=SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(2, 60, shape).astype(np.float32)


def folders(tmp_path, predictions: dict, truths: dict) -> tuple[Path, Path]:
    """Writes maps by file name."""
    for folder, maps in (("pred", predictions), ("gt", truths)):
        (tmp_path / folder).mkdir()
        for name, depth in maps.items():
            write_depth(tmp_path / folder / name, depth)
    return tmp_path / "pred", tmp_path / "gt"


def score(pred, gt, **options):
    return evaluate_depth_maps(match_maps(pred, gt), dataset="maps", **options)


def test_maps_belong_together_by_name_whatever_their_suffix(tmp_path):
    a, b, c = (depth_map(i) for i in range(3))
    pred, gt = folders(
        tmp_path,
        {"b_depth.png": b, "a_depth.npz": a, "a_depth.png": c, "only_here.npz": c},
        {"a.npz": a, "b.npz": b, "another.png": c},
    )
    (pred / "a_rgb.png").write_bytes(b"a picture")
    (pred / "a_viz.png").write_bytes(b"a picture")
    pairs = match_maps(pred, gt)
    assert list(pairs.matched) == ["a", "b"]
    assert [path.name for path in pairs.matched["a"]] == ["a_depth.npz", "a.npz"]  # the exact one
    assert pairs.without_ground_truth == ["only_here"]
    assert pairs.without_prediction == ["another"]
    report = evaluate_depth_maps(pairs, dataset="maps")
    assert report.per_image[0]["depth"]["abs_rel"] == 0
    assert 0 < report.per_image[1]["depth"]["abs_rel"] < 1e-3  # of 1/256 metre
    assert report.protocol["predictions_without_ground_truth"] == ["only_here"]
    assert report.protocol["ground_truth_without_prediction"] == ["another"]


def test_the_ratio_of_medians_takes_out_the_scale(tmp_path):
    truth = depth_map(0)
    pred, gt = folders(tmp_path, {"a.npz": truth / 2}, {"a.npz": truth})
    assert score(pred, gt).metrics["depth"]["abs_rel"] == pytest.approx(0.5)
    scaled = score(pred, gt, use_gt_scale=True)
    assert list(scaled.metrics) == ["depth_gt"]
    assert scaled.metrics["depth_gt"]["abs_rel"] < 1e-6


def test_range_and_crop_choose_the_pixels(tmp_path):
    truth = depth_map(0)
    pred, gt = folders(tmp_path, {"a.npz": truth}, {"a.npz": truth})

    def pixels(**options):
        return score(pred, gt, **options).per_image[0]["valid_pixels"]

    assert pixels() == truth.size
    assert pixels(min_depth=10, max_depth=30) == ((truth > 10) & (truth < 30)).sum()
    assert pixels(crop="garg") == 14 * 37  # rows 9 to 22, columns 1 to 37


def test_a_prediction_of_another_size_is_resized_or_placed(tmp_path):
    truth = np.full(SHAPE, 8, np.float32)
    pred, gt = folders(tmp_path, {"a.npz": truth[12:, 10:30]}, {"a.npz": truth})
    assert score(pred, gt).metrics["depth"]["abs_rel"] < 1e-6
    placed = score(pred, gt, min_depth=1.0, scale_output="top-center")
    outside = 1 - 12 * 20 / truth.size  # filled with zeros, which the bound lifts to 1 m
    assert placed.metrics["depth"]["abs_rel"] == pytest.approx(outside * 7 / 8)


def test_maps_without_truth_in_range_are_counted_apart(tmp_path):
    near, far = np.full(SHAPE, 5, np.float32), np.full(SHAPE, 90, np.float32)
    pred, gt = folders(tmp_path, {"a.npz": near, "b.npz": near}, {"a.npz": near, "b.npz": far})
    report = score(pred, gt)
    assert (report.protocol["images"], report.protocol["skipped"]) == (1, 1)
    assert report.per_image[1]["depth"] is None
    (gt / "a.npz").unlink()
    with pytest.raises(DataError, match="none of 1 images"):
        score(pred, gt)


@pytest.mark.parametrize(
    ("predictions", "truths", "message"),
    [
        ({"a.npz": 0}, {"b.npz": 0}, r"no map .* has the name .* a\.npz .* b\.npz"),
        ({}, {"b.npz": 0}, "holds no depth map"),
        ({"a.npz": 0}, {}, "holds no depth map"),
    ],
)
def test_folders_that_do_not_fit_are_refused(tmp_path, predictions, truths, message):
    maps = ({name: depth_map(0) for name in names} for names in (predictions, truths))
    with pytest.raises(DataError, match=message):
        match_maps(*folders(tmp_path, *maps))


def test_what_can_not_be_scored_is_named(tmp_path):
    truth = depth_map(0)
    pred, gt = folders(tmp_path, {"a.npz": truth}, {"a.npz": truth[1:]})
    with pytest.raises(DataError, match=r"pred/a\.npz.*gt/a\.npz.*exceeds"):
        score(pred, gt, scale_output="top-center")
    with pytest.raises(ConfigError, match="expected 0 <= min < max"):
        score(pred, gt, min_depth=9.0, max_depth=3.0)
    np.savez(gt / "a.npz", velodyne_depth=truth)
    with pytest.raises(DataError, match=r"a\.npz: holds no array 'depth'"):
        score(pred, gt)
    with pytest.raises(DataError, match="is no folder"):
        match_maps(tmp_path / "absent", gt)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--gt_folder=gt",), "--pred_folder is missing"),
        (("--pred_folder=pred",), "--gt_folder is missing"),
        (("--pred_folder=pred", "--gt_folder=nowhere"), "nowhere is no folder"),
        (("--pred_folder=pred", "--gt_folder=gt", "more"), "unknown arguments"),
    ],
)
def test_a_mistake_is_one_clear_error(tmp_path, flags, message):
    folders(tmp_path, {"a.npz": depth_map(0)}, {"a.npz": depth_map(0)})
    output = cli.run("evaluate_depth_maps", *flags, cwd=tmp_path, status=2)
    assert message in output
    assert "Traceback" not in output


RUNS = "depth_maps/depth_maps_resnet18_shift.json"


@pytest.mark.slow
def test_maps_of_a_real_frame_score_as_by_the_original(tmp_path, parity):
    """The original's own prediction of the first frame, in every run of its script."""
    runs = end_to_end(RUNS)["runs"]
    frame = "2011_09_26/2011_09_26_drive_0023_sync/proj_depth/velodyne/image_02/0000000001.npz"
    truth = np.load(kitti_tiny() / frame)["velodyne_depth"].squeeze().astype(np.float32)
    name = "kitti_tiny_0000000000"
    for kind in ("npz", "png"):
        predicted = end_to_end_file(f"saved/resnet18_shift__{name}_depth.{kind}")
        (tmp_path / f"pred_{kind}").mkdir()
        (tmp_path / f"pred_{kind}" / f"{name}_depth.{kind}").write_bytes(predicted.read_bytes())
        write_depth(tmp_path / f"gt_{kind}" / f"{name}.{kind}", truth)
    compared = 0
    for run, expected in runs.items():
        if "error" in expected:
            continue
        output = tmp_path / f"{run}.json"
        flags = zip_flags(expected["args"])
        cli.run("evaluate_depth_maps", *flags, f"--output={output}", cwd=tmp_path)
        (metrics,) = json.loads(output.read_text())["metrics"].values()
        actual = [metrics[name] for name in METRIC_NAMES]
        wanted = np.array(expected["per_image"][0])
        scale = np.maximum(np.abs(wanted), 0.05)
        parity.compare("end_to_end/depth_maps", run, actual, wanted, tolerance=1e-4, scale=scale)
        compared += 1
    assert compared == 10


def zip_flags(arguments: list[str]) -> list[str]:
    """`--flag value` as `--flag=value`."""
    flags: list[str] = []
    for argument in arguments:
        if argument.startswith("--"):
            flags.append(argument)
        else:
            flags[-1] += f"={argument}"
    return flags
