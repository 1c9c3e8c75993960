"""What training reaches: on five real frames, and on streets that were held out."""

import json
import statistics

import cli
import pytest
from real_data import kitti_tiny

pytestmark = pytest.mark.soak


def abs_rel(report) -> float:
    return json.loads(report.read_text())["metrics"]["depth_pp_gt"]["abs_rel"]


def test_overfitting_five_real_frames(tmp_path):
    root, found = kitti_tiny(), []
    for seed in (0, 1, 2):
        cli.run(
            "main",
            cli.config_file("overfit_kitti"),
            f"--config.data.root={root}",
            f"--config.data.tfds_dir={tmp_path / 'tfds'}",
            f"--config.seed={seed}",
            f"--workdir=seed{seed}",
            cwd=tmp_path,
        )
        found.append(abs_rel(tmp_path / f"seed{seed}" / "eval" / "kitti_raw-kitti_tiny.json"))
    print("depth_pp_gt abs_rel of three seeds:", found)
    assert statistics.median(found) <= 0.11


def test_the_demo_halves_the_error_of_the_median_depth_map(tmp_path):
    output = cli.run("main", cli.config_file("demo"), "--workdir=demo", cwd=tmp_path)
    folder = tmp_path / "demo" / "eval"
    network = abs_rel(folder / "synthetic_drive-test.json")
    constant = abs_rel(folder / "synthetic_drive-test.median_depth_map.json")
    print(output[-2000:])
    assert network <= 0.5 * constant
