"""DDAD through the command line: three cameras of DDAD_tiny, self-supervised, then evaluated."""

import json

import cli
import numpy as np
import pytest
from real_data import ddad_tiny

CAMERAS = ("camera_01", "camera_05", "camera_06")
REPORT = f"ddad-train-{'-'.join(CAMERAS)}"


@pytest.mark.soak
def test_three_cameras_are_trained_on_and_evaluated(tmp_path):
    output = cli.run(
        "main",
        cli.config_file("ddad"),
        f"--config.data.root={ddad_tiny()}",
        f"--config.data.tfds_dir={tmp_path / 'tfds'}",
        f"--config.data.cameras={','.join(CAMERAS)}",
        "--config.data.stack_cameras=True",
        "--config.data.eval_split=train",  # the only one it has
        "--config.data.image_shape=64,96",
        "--config.model.depth_net.name=DepthResNet",
        "--config.model.depth_net.version=18",
        "--config.train.batch_size=3",
        "--config.train.num_steps=3",
        "--config.train.log_every_steps=1",
        "--workdir=run",
        cwd=tmp_path,
    )
    assert f"Training on 9 samples of {REPORT}, evaluating on 15 of {REPORT}" in output
    report = json.loads((tmp_path / "run" / "eval" / f"{REPORT}.json").read_text())
    assert report["step"] == 3
    assert len(report["per_image"]) == 15
    names = [row["name"].split("/")[2] for row in report["per_image"]]
    assert names == [camera.upper() for camera in CAMERAS] * 5
    assert all(row["valid_pixels"] > 10_000 for row in report["per_image"])
    truths = {row["ground_truth"] for row in report["per_image"]}
    assert truths == {"lidar, one sweep (depth/lidar)"}
    assert np.isfinite(report["metrics"]["depth_pp_gt"]["abs_rel"])
    assert len(list((tmp_path / "run" / "eval" / REPORT).glob("*.png"))) == 5
