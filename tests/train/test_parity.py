"""Training on real frames, from the same weights and in the same order, as the original does."""

import json
import subprocess
import sys
from typing import NamedTuple

import cli
import numpy as np
import pytest
from real_data import end_to_end, kitti_tiny
from train.recorded_runs import RUNS


class Bounds(NamedTuple):
    """How closely one of the original's recorded runs is followed (see `recorded_runs`)."""

    run: str
    by_step: tuple[tuple[int, float], ...]
    """Largest relative difference of the loss up to each step (exclusive)."""
    mean: float
    """Relative difference of the mean loss after those steps."""


BOUNDS = [
    # The trajectory is unstable at step 3: there the original's float32 lies 5.4e-4 from float64
    # and 3.5e-4 from itself under a newer torch; our float32, 1.6e-4 (docs/benchmarks.md).
    # Rounding alone reaches 1 % by step 26, so only the level is compared from step 10 on.
    # Which pixels rounding decides the other way depends on the CPU, too: from there on, the bounds
    # are about three times the largest difference of any float32 or float64 that was seen.
    Bounds("fixed96sp", ((3, 1e-4), (10, 3e-3)), mean=0.02),
    pytest.param(Bounds("slim64", ((2, 1e-4), (5, 5e-3)), mean=0.03), marks=pytest.mark.soak),
    # From these full pose weights the second update is unstable: the original's code under a newer
    # torch is 3e-2 off at step 4, and a start moved by one unit in the last place 6e-2 at step 3.
    pytest.param(Bounds("fixed192", ((2, 3e-4), (5, 0.2)), mean=0.03), marks=pytest.mark.soak),
]


def scalars_of(run: str, tfds_dir) -> list[dict[str, float]]:
    """Trains in a process of its own; loss and terms of every step."""
    environment = cli.environment()
    environment["PYTHONPATH"] += f":{cli.ROOT / 'tests'}"
    command = [sys.executable, "-m", "train.recorded_runs", run, str(tfds_dir)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("bounds", BOUNDS, ids=lambda bounds: bounds.run)
def test_losses_follow_the_original_on_real_frames(bounds, tmp_path):
    kitti_tiny()  # skips without it
    recorded = end_to_end(f"train/{bounds.run}.json")["steps"][: RUNS[bounds.run].num_steps]
    expected = np.array([step["loss"] for step in recorded])
    losses = np.array([step["loss"] for step in scalars_of(bounds.run, tmp_path)])
    difference = np.abs(losses / expected - 1)
    print("relative differences", difference)
    first = 0
    for end, bound in bounds.by_step:
        assert difference[first:end].max() <= bound, (first, end)
        first = end
    assert abs(losses[first:].mean() / expected[first:].mean() - 1) <= bounds.mean


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "size", "tolerances"),
    [
        ("velsup96", "96x320", (1e-5, 1e-4, 1e-2)),
        # The second update is unstable as in `fixed192`; seen: 6.8e-3.
        pytest.param("velsup192", "192x640", (1e-5, 1e-4, 3e-2), marks=pytest.mark.soak),
    ],
)
def test_velocity_supervision_follows_the_original_on_real_frames(
    run, size, tolerances, tmp_path, parity
):
    """Its motions are measured ones of KITTI_tiny; from these weights the later steps drift."""
    kitti_tiny()  # skips without it
    recorded = end_to_end("velsup.json")[size]["steps"]
    steps = scalars_of(run, tmp_path)
    for number, (ours, theirs) in enumerate(zip(steps, recorded, strict=True)):
        self_supervised = ours["photometric_loss"] + ours["smoothness_loss"]
        for entry, actual in (
            ("loss", ours["loss"]),
            ("velocity_loss", ours["velocity_loss"]),
            ("self_supervised_part", self_supervised),
        ):
            parity.compare(
                "end_to_end/velsup",
                f"{size} step {number}|{entry}",
                actual,
                theirs[entry],
                tolerance=tolerances[number],
                scale=theirs[entry],
            )
