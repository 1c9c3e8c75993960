"""Learns depth from a few laser beams in several ways; prints rows of a table.

    python -m benchmarks.few_beams --start=runs/velocity --beams=4

Every row starts from the same networks, which have learnt from video (and, if `--start` is a run
with velocity, its metres), and goes on for as many steps with the same rates, streets and seed.
Streets not seen in training are evaluated against dense depth. A row that is there already is not
trained again.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from configs import demo
from packnet_jax import config as config_lib
from packnet_jax.runs import train_run

START = flags.DEFINE_string("start", "runs/velocity", "Workdir that every row starts from.")
OUTPUT = flags.DEFINE_string("output", "runs/few_beams", "Folder of the workdirs.")
BEAMS = flags.DEFINE_integer("beams", 4, "Of the 64 of the scanner; 0 for all.")
EPOCHS = flags.DEFINE_integer("epochs", 1, "Of 100 steps each, of every row.")
TFDS_DIR = flags.DEFINE_string("tfds_dir", "tfds", "Where rendered streets live.")
SEED = flags.DEFINE_integer("seed", 42, "Of every row.")
L1_WEIGHTS = flags.DEFINE_list("l1_weights", ["0.9"], "w in (1 - w) self + w L1.")
REPROJECTED_WEIGHTS = flags.DEFINE_list("reprojected_weights", ["0.01", "0.1", "1"], "In pixels.")
DEPTH_ONLY_WEIGHTS = flags.DEFINE_list(
    "depth_only_weights", ["1"], "The same, where the motion does not learn from it."
)
SELF_SUPERVISED = flags.DEFINE_bool("self_supervised", True, "Also go on with video alone.")


def make_config() -> Any:
    """What all rows have in common."""
    c = demo.get_config()
    c.seed = SEED.value
    c.init.model = START.value
    c.optim.depth.warmup_steps = 0
    c.optim.T_max = EPOCHS.value
    c.data.tfds_dir = TFDS_DIR.value
    c.data.synthetic.num_streets = 50  # of 8 samples each: 100 batches of 4
    c.data.synthetic.num_test_streets = 10
    c.data.depth_type, c.data.beams = "lidar", BEAMS.value
    dense = config_lib.source(name="synthetic_drive", split="test", depth_type="dense")
    dense.synthetic = c.data.synthetic
    c.data.more_eval = (dense,)
    c.train.num_steps = c.train.eval_every_steps = 100 * EPOCHS.value
    c.train.keep_latest, c.train.keep_best = 1, 1
    c.eval.median_baseline = False
    return c


def rows() -> Iterator[tuple[str, Any]]:
    """Name and configuration of each."""
    for weight in map(float, L1_WEIGHTS.value):
        c = make_config()
        c.objective, c.loss.supervised_method = "semi_supervised", "sparse-l1"
        c.loss.supervised_loss_weight = weight
        yield f"inverse-depth L1, weight {weight:g}", c
    for weights, updates_pose in ((REPROJECTED_WEIGHTS, True), (DEPTH_ONLY_WEIGHTS, False)):
        for weight in map(float, weights.value):
            c = make_config()
            c.objective, c.loss.reprojected_loss_weight = "reprojected", weight
            c.loss.reprojected_updates_pose = updates_pose
            aside = "" if updates_pose else ", motion learns from video alone"
            yield f"reprojected distance, weight {weight:g}{aside}", c
    if SELF_SUPERVISED.value:
        yield "self-supervised alone", make_config()


def main(_: Sequence[str]) -> None:
    """Trains each row and prints what its evaluation says."""
    logging.set_verbosity(logging.WARNING)
    lines = ["| | abs_rel | abs_rel, scaled by truth | true / predicted |", "|---|---|---|---|"]
    for name, c in rows():
        folder = f"{name} of {BEAMS.value} beams, {EPOCHS.value} epochs, seed {SEED.value}"
        workdir = Path(OUTPUT.value) / folder.replace(",", "").replace(" ", "_")
        report = workdir / "eval" / "synthetic_drive-test-dense.json"
        if not report.exists():
            train_run(config_lib.resolve(c), workdir=workdir)
        found = json.loads(report.read_text())
        metric, scaled = (found["metrics"][m]["abs_rel"] for m in ("depth_pp", "depth_pp_gt"))
        lines.append(f"| {name} | {metric:.3f} | {scaled:.3f} | {found['scale']:.3f} |")
    print("\n".join(lines))


if __name__ == "__main__":
    app.run(main)
