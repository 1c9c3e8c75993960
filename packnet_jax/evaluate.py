"""Depth evaluation: seven metrics in four modes, per image and mean, with the protocol named."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import jax
import numpy as np
from absl import logging
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Array, Float
from tqdm import tqdm

from packnet_jax import sharding
from packnet_jax.config import EvalConfig
from packnet_jax.data.open import EvalSet
from packnet_jax.data.pipeline import EvalExample
from packnet_jax.depth_maps import fuse_flipped, inv_depth_to_depth
from packnet_jax.errors import DataError
from packnet_jax.image import flip_lr
from packnet_jax.metrics.depth import METRIC_NAMES, DepthMetrics, depth_metrics
from packnet_jax.sfm import Variables, infer_inv_depth
from packnet_jax.visualize import stack_picture, write_atomically, write_image
from tfds_builders.pictures import Box

MODES = ("depth", "depth_pp", "depth_gt", "depth_pp_gt")
"""As predicted; fused with the mirror image's; each scaled by the ratio of medians or not."""


class Examples(Protocol):
    """What is evaluated: an `EvalPipeline`, or a list."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[EvalExample]: ...


class DepthPair(NamedTuple):
    """Inverse depth at the network's resolution."""

    raw: Float[Array, "b h w 1"]
    fused: Float[Array, "b h w 1"]
    """The mean of the picture's and its mirror image's, taking each side from the better one."""


@partial(jax.jit, static_argnames="depth_net")
def predict_pair(
    depth_net: nn.Module, variables: Variables, rgb: Float[Array, "b h w 3"]
) -> DepthPair:
    """Runs the depth network on pictures and on their mirror images.

    Source: packnet-sfm models/model_wrapper.py: ModelWrapper.evaluate_depth.
    """
    raw = infer_inv_depth(depth_net, variables, rgb)
    mirrored = flip_lr(infer_inv_depth(depth_net, variables, flip_lr(rgb)))
    return DepthPair(raw, fuse_flipped(raw, mirrored, method="mean"))


@dataclass(frozen=True)
class Report:
    """What an evaluation found."""

    dataset: str
    step: int
    protocol: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    """Mode, then metric: means over the images that have valid pixels."""
    per_image: list[dict[str, Any]]

    def scalars(self) -> dict[str, float]:
        """`mode/metric` to value."""
        return {f"{m}/{name}": v for m, row in self.metrics.items() for name, v in row.items()}

    def table(self) -> str:
        """The means as a table for the terminal."""
        used, skipped = self.protocol["images"], self.protocol["skipped"]
        title = f" {self.dataset}, step {self.step}: {used} images, {skipped} without valid pixels "
        header = "".join(f"{name:>10}" for name in METRIC_NAMES)
        rows = [
            f"{mode:<14}" + "".join(f"{self.metrics[mode][name]:>10.3f}" for name in METRIC_NAMES)
            for mode in self.metrics
        ]
        width = max(len(rows[0]), len(title) + 4)
        return "\n".join([f"{title:=^{width}}", f"{'':<14}{header}", *rows, "=" * width])

    def write(self, folder: Path) -> Path:
        """Writes `<dataset>.json` into the folder."""
        path = folder / f"{self.dataset}.json"
        document = {
            "dataset": self.dataset,
            "step": self.step,
            "protocol": self.protocol,
            "metrics": self.metrics,
            "per_image": self.per_image,
        }
        write_atomically(path, json.dumps(document, indent=1).encode() + b"\n")
        return path


def evaluate(
    depth_net: nn.Module,
    variables: Variables,
    examples: Examples,
    *,
    dataset: str,
    step: int,
    config: EvalConfig,
    mesh: Mesh,
    pictures_folder: Path | None = None,
) -> Report:
    """Evaluates a depth network on every example.

    Images without a valid pixel have no metrics: they are counted as `skipped` in the protocol and
    carry null in `per_image`, and the means are over the others.

    Args:
        variables: with or without the pose network's.
        pictures_folder: where to write `config.num_pictures` pictures, spread over the examples,
            each with its inverse depth below it.

    Raises:
        DataError: no example has a valid pixel.
    """
    own = {name: {"depth_net": collection["depth_net"]} for name, collection in variables.items()}
    rows: list[dict[str, Any]] = []
    last = max(len(examples) - 1, 0)
    shown = set(np.linspace(0, last, config.num_pictures).astype(int).tolist())
    for example, raw, fused in _predictions(depth_net, own, examples, config.batch_size, mesh):
        if not rows:
            _warn_if_misplaced(example, raw.shape[:2], config.scale_output)
        rows.append(_row(example, raw, fused, config))
        if pictures_folder is not None and len(rows) - 1 in shown:
            name = example.name.replace("/", "_")
            picture = stack_picture(example.rgb, fused[..., 0])
            write_image(pictures_folder / f"{len(rows) - 1:04d}_{name}.png", picture)
    return summarize(rows, dataset=dataset, step=step, config=config)


def evaluate_sets(
    depth_net: nn.Module,
    variables: Variables,
    sets: Iterable[EvalSet],
    *,
    step: int,
    config: EvalConfig,
    mesh: Mesh,
    folder: Path,
) -> Iterator[Report]:
    """Evaluates each set on its own; `<name>.json` and pictures in `<name>/` are in the folder."""
    for examples, name in sets:
        report = evaluate(
            depth_net,
            variables,
            examples,
            dataset=name,
            step=step,
            config=config,
            mesh=mesh,
            pictures_folder=folder / name,
        )
        report.write(folder)
        yield report


def evaluate_constant(
    inv_depth: Float[np.ndarray, "h w"],
    examples: Iterable[EvalExample],
    *,
    dataset: str,
    step: int,
    config: EvalConfig,
) -> Report:
    """Scores one and the same inverse depth map on every example, by the same protocol."""
    rows = [_row(e, inv_depth[..., None], inv_depth[..., None], config) for e in examples]
    return summarize(rows, dataset=dataset, step=step, config=config)


def summarize(rows: list[dict[str, Any]], *, dataset: str, step: int, config: EvalConfig) -> Report:
    """Means over the rows that have metrics.

    Raises:
        DataError: none has.
    """
    counted = [row for row in rows if row["valid_pixels"] > 0]
    if not counted:
        raise DataError(
            f"{dataset}: none of {len(rows)} images has ground-truth depth between "
            f"{config.min_depth} and {config.max_depth} m inside the crop {config.crop!r}; check "
            "config.data.eval_split, config.data.depth_type and config.eval"
        )
    means = {
        mode: {name: float(np.mean([row[mode][name] for row in counted])) for name in METRIC_NAMES}
        for mode in MODES
    }
    protocol = {
        "ground_truth": _listed(row["ground_truth"] for row in counted),
        "input": _listed(row["input"] for row in counted),
        "crop": config.crop or "none",
        "min_depth": config.min_depth,
        "max_depth": config.max_depth,
        "scale_output": config.scale_output,
        "scaling": "*_gt modes: median of the ground truth / median of the prediction, per image",
        "flip": "*_pp modes: mean of the prediction and the mirror image's, borders from one side",
        "averaging": "mean over images with valid pixels",
        "images": len(counted),
        "skipped": len(rows) - len(counted),
    }
    return Report(dataset, step, protocol, means, rows)


def _listed(names: Iterable[str]) -> str:
    """The only name, or every name with its number of images."""
    counts = Counter(names)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{name}: {count} images" for name, count in counts.most_common())


def _warn_if_misplaced(
    example: EvalExample, shape: tuple[int, int], scale_output: Literal["resize", "top-center"]
) -> None:
    """Says so where `scale_output` takes a prediction for another part of the picture."""
    if example.depth is None:
        return
    height, width = example.depth.shape
    shown = example.box or Box(0, 0, width, height)
    taken = Box(0, 0, width, height)
    if scale_output == "top-center":
        left = (width - shape[1]) // 2
        taken = Box(left, height - shape[0], left + shape[1], height)
    if shown != taken:
        logging.warning(
            "eval.scale_output=%r takes predictions for %s of a picture of %dx%d, but they show "
            "%s: metrics compare different places (as the original's do). For crops at the bottom "
            "centre use 'top-center' with data.image_shape of the crop's size; else do not crop.",
            scale_output,
            taken,
            height,
            width,
            shown,
        )


def _predictions(
    depth_net: nn.Module,
    variables: Variables,
    examples: Iterable[EvalExample],
    batch_size: int,
    mesh: Mesh,
) -> Iterator[tuple[EvalExample, np.ndarray, np.ndarray]]:
    batch_size = -(-batch_size // mesh.size) * mesh.size  # the devices share it equally
    variables = jax.device_put(variables, sharding.replicated(mesh))
    for group in _groups(tqdm(examples, desc="evaluate", unit="image", leave=False), batch_size):
        rgb = np.stack([e.rgb for e in group] + [group[-1].rgb] * (batch_size - len(group)))
        pair = predict_pair(depth_net, variables, sharding.place_batch(rgb, mesh))
        yield from zip(group, np.asarray(pair.raw), np.asarray(pair.fused), strict=False)


def _groups(examples: Iterable[EvalExample], size: int) -> Iterator[list[EvalExample]]:
    group: list[EvalExample] = []
    for example in examples:
        group.append(example)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _row(
    example: EvalExample,
    raw: Float[np.ndarray, "h w 1"],
    fused: Float[np.ndarray, "h w 1"],
    config: EvalConfig,
) -> dict[str, Any]:
    row: dict[str, Any] = {"index": int(example.index), "name": example.name, "valid_pixels": 0}
    row["ground_truth"] = example.depth_source or "depth as stored in the data set"
    row["input"] = "whole picture"
    if example.box is not None:
        height, width = example.box.shape
        row["input"] = f"{height}x{width} from row {example.box.top}, column {example.box.left}"
    if example.depth is None:
        return row | dict.fromkeys(MODES)
    found = _metrics_in_all_modes(
        raw[..., 0],
        fused[..., 0],
        example.depth,
        crop=config.crop,
        min_depth=config.min_depth,
        max_depth=config.max_depth,
        scale_output=config.scale_output,
    )
    found = jax.tree.map(np.asarray, found)
    row["valid_pixels"] = int(found["depth"].num_valid)
    for mode in MODES:
        values = dict(zip(METRIC_NAMES, found[mode].values.tolist(), strict=True))
        row[mode] = values if row["valid_pixels"] else None
    row["median_ratio"] = float(found["depth_pp_gt"].scale) if row["valid_pixels"] else None
    return row


@partial(jax.jit, static_argnames=("crop", "min_depth", "max_depth", "scale_output"))
def _metrics_in_all_modes(
    raw: Float[Array, "h w"],
    fused: Float[Array, "h w"],
    ground_truth: Float[Array, "H W"],
    *,
    crop: Literal["garg", ""],
    min_depth: float,
    max_depth: float,
    scale_output: Literal["resize", "top-center"],
) -> dict[str, DepthMetrics]:
    return {
        mode: depth_metrics(
            inv_depth_to_depth(fused if "_pp" in mode else raw),
            ground_truth,
            min_depth=min_depth,
            max_depth=max_depth,
            crop=crop,
            scale_output=scale_output,
            median_scaling=mode.endswith("_gt"),
        )
        for mode in MODES
    }
