"""Compares folders of depth maps:
`python -m packnet_jax.evaluate_depth_maps --pred_folder=DIR --gt_folder=DIR`.

Maps are `.npz` files with `depth`, or 16-bit `.png` files in 1/256 metre, and belong together by
name: `a.png` and `a_depth.npz` both hold the map `a`. What `--mode=eval` saves can be compared so.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from absl import flags

from packnet_jax.command_line import begin, run_program
from packnet_jax.errors import ConfigError, DataError

if TYPE_CHECKING:
    from packnet_jax.report import Report, Row

PRED_FOLDER = flags.DEFINE_string("pred_folder", None, "Folder of predicted depth maps.")
GT_FOLDER = flags.DEFINE_string("gt_folder", None, "Folder of ground-truth depth maps.")
USE_GT_SCALE = flags.DEFINE_bool(
    "use_gt_scale", False, "Multiply each prediction by the ratio of medians."
)
MIN_DEPTH = flags.DEFINE_float("min_depth", 0.0, "Ground truth counts above this, in metres.")
MAX_DEPTH = flags.DEFINE_float("max_depth", 80.0, "Ground truth counts below this, in metres.")
CROP = flags.DEFINE_enum("crop", "", ["", "garg"], "The part of the pictures that counts.")
SCALE_OUTPUT = flags.DEFINE_enum(
    "scale_output",
    "resize",
    ["resize", "top-center"],
    "How a prediction of another size comes to the size of its ground truth.",
)
OUTPUT = flags.DEFINE_string("output", None, "A JSON file to write, with every map's row.")

OPTIONS = (USE_GT_SCALE, MIN_DEPTH, MAX_DEPTH, CROP, SCALE_OUTPUT)
SUFFIXES = (".npz", ".png")
"""Where a folder has both of one map, the first, which is exact, is read."""
PICTURES = ("_rgb", "_viz")
"""Ends of names of pictures that `--mode=eval` saves beside depth maps."""
MAX_NAMES_SHOWN = 10


class Pairs(NamedTuple):
    """Which maps of two folders belong together."""

    matched: dict[str, tuple[Path, Path]]
    """Prediction and ground truth by name, sorted."""
    without_ground_truth: list[str]
    """Names of predictions."""
    without_prediction: list[str]
    """Names of ground truth."""


def main(argv: Sequence[str]) -> None:
    """Prints the table of the flags' folders."""
    begin(argv, PRED_FOLDER, GT_FOLDER)
    pairs = match_maps(Path(PRED_FOLDER.value or ""), Path(GT_FOLDER.value or ""))
    options: dict[str, Any] = {flag.name: flag.value for flag in OPTIONS}
    report = evaluate_depth_maps(pairs, dataset=Path(PRED_FOLDER.value or "").name, **options)
    print(report.table())
    _print_names("predictions have no ground truth", pairs.without_ground_truth)
    _print_names("ground-truth maps have no prediction", pairs.without_prediction)
    if OUTPUT.value:
        from packnet_jax.report import write_report

        write_report(Path(OUTPUT.value), report.document())
        print(f"Written to {OUTPUT.value}")


def match_maps(pred_folder: Path, gt_folder: Path) -> Pairs:
    """Finds the maps of two folders that belong together.

    Raises:
        DataError: a folder is missing or has no maps, or no two belong together.

    Source: packnet-sfm scripts/evaluate_depth_maps.py.
    Differs: there the sorted files are paired by position, whatever their names.
    """
    predictions, truths = _maps(pred_folder), _maps(gt_folder)
    both = sorted(predictions.keys() & truths.keys())
    if not both:
        raise DataError(
            f"no map in {pred_folder} has the name of one in {gt_folder}: there is, for example, "
            f"{min(predictions.values()).name} in one and {min(truths.values()).name} in the "
            "other; names must agree but for '_depth' and the suffix"
        )
    return Pairs(
        {name: (predictions[name], truths[name]) for name in both},
        sorted(predictions.keys() - truths.keys()),
        sorted(truths.keys() - predictions.keys()),
    )


def evaluate_depth_maps(
    pairs: Pairs,
    *,
    dataset: str,
    use_gt_scale: bool = False,
    min_depth: float = 0.0,
    max_depth: float = 80.0,
    crop: Literal["garg", ""] = "",
    scale_output: Literal["resize", "top-center"] = "resize",
) -> "Report":
    """Scores predicted depth maps, each on its own, and their mean; mode 'depth' or 'depth_gt'.

    Args:
        dataset: name of the report.
        use_gt_scale: multiply each prediction by the ratio of medians.
        min_depth, max_depth, crop, scale_output: see `metrics.depth.depth_metrics`.

    Raises:
        ConfigError: the bounds are not a range.
        DataError: a map can not be read, or none has a valid pixel.

    Source: packnet-sfm scripts/evaluate_depth_maps.py, with the 'resize' that it lacks.
    """
    if not 0 <= min_depth < max_depth:
        raise ConfigError(
            f"--min_depth, --max_depth: given {min_depth} and {max_depth}, expected 0 <= min < max"
        )
    import jax  # takes a second, as what follows: only where folders and bounds fit
    import numpy as np
    from tqdm import tqdm

    from packnet_jax.metrics.depth import METRIC_NAMES, depth_metrics
    from packnet_jax.report import summarize
    from packnet_jax.visualize import read_depth

    metrics_of = jax.jit(
        partial(
            depth_metrics,
            min_depth=min_depth,
            max_depth=max_depth,
            crop=crop,
            median_scaling=use_gt_scale,
            scale_output=scale_output,
        )
    )
    mode = "depth_gt" if use_gt_scale else "depth"
    rows: list[Row] = []
    for name, (prediction, truth) in tqdm(pairs.matched.items(), unit="map", leave=False):
        depth, ground_truth = (read_depth(p).astype(np.float32) for p in (prediction, truth))
        try:
            found = jax.tree.map(np.asarray, metrics_of(depth, ground_truth))
        except (TypeError, ValueError) as error:
            raise DataError(f"{prediction}, {truth}: {error}") from error
        row: Row = {"name": name, "prediction": prediction.name, "ground_truth": truth.name}
        row["valid_pixels"] = int(found.num_valid)
        values = dict(zip(METRIC_NAMES, found.values.tolist(), strict=True))
        row[mode] = values if row["valid_pixels"] else None
        rows.append(row)
    protocol = {
        "crop": crop or "none",
        "min_depth": min_depth,
        "max_depth": max_depth,
        "scale_output": scale_output,
        "scaling": "median of the ground truth / median of the prediction, per map"
        if use_gt_scale
        else "none",
        "predictions_without_ground_truth": pairs.without_ground_truth,
        "ground_truth_without_prediction": pairs.without_prediction,
    }
    remedy = "--gt_folder, --min_depth, --max_depth and --crop"
    return summarize(rows, [mode], protocol, dataset=dataset, remedy=remedy)


def _maps(folder: Path) -> dict[str, Path]:
    """The maps of a folder by name."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give one of .npz or .png depth maps")
    found: dict[str, Path] = {}
    for suffix in SUFFIXES:
        for path in sorted(folder.glob(f"*{suffix}")):
            if not path.stem.endswith(PICTURES):
                found.setdefault(path.stem.removesuffix("_depth"), path)
    if not found:
        raise DataError(f"{folder} holds no depth map, {' or '.join(SUFFIXES)}")
    return found


def _print_names(what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - MAX_NAMES_SHOWN} more" if len(names) > MAX_NAMES_SHOWN else ""
        print(f"{len(names)} {what}: {', '.join(names[:MAX_NAMES_SHOWN])}{more}")


def run() -> None:
    """The command line's entry."""
    run_program(main)


if __name__ == "__main__":
    run()
