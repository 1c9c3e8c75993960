"""Depth evaluation: seven metrics in four modes, per image and mean, with the protocol named."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import jax
import numpy as np
from absl import logging
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float
from tqdm import tqdm

from packnet_jax import distributed, sharding
from packnet_jax.config import EvalConfig
from packnet_jax.data.examples import EvalExample, EvalPipeline
from packnet_jax.data.open import EvalSet
from packnet_jax.depth_maps import inv_depth_to_depth
from packnet_jax.depth_pair import predict_pair
from packnet_jax.eval_files import DepthFiles, Observer, depth_writer, picture_writer, shown_indices
from packnet_jax.metrics.depth import METRIC_NAMES, DepthMetrics, depth_metrics
from packnet_jax.report import Report, Row, listed, summarize
from packnet_jax.sfm import Variables, fold_for_evaluation
from tfds_builders.pictures import Box

MODES = ("depth", "depth_pp", "depth_gt", "depth_pp_gt")
"""As predicted; fused with the mirror image's; each scaled by the ratio of medians or not."""


class Examples(Protocol):
    """What is evaluated: an `EvalPipeline`, or a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> EvalExample: ...


class Predicted(NamedTuple):
    """What the network says of one example."""

    place: int
    """Of the example among all."""
    example: EvalExample | None
    """None where another process has read it."""
    raw: np.ndarray
    """Inverse depth [h, w, 1]."""
    fused: np.ndarray
    """The same with the mirror image's."""


def evaluate(
    depth_net: nn.Module,
    variables: Variables,
    examples: Examples,
    *,
    dataset: str,
    step: int,
    config: EvalConfig,
    mesh: Mesh,
    observers: Sequence[Observer] = (),
    observed: Collection[int] | None = None,
    before_batch: Callable[[], None] | None = None,
) -> Report:
    """Evaluates a depth network on every example.

    Images without a valid pixel have no metrics: they are counted as `skipped` in the protocol and
    carry null in `per_image`, and the means are over the others.

    Several processes read and measure their share each, and all of them return the same report.

    Args:
        variables: with or without the pose network's.
        observers: called for one example after the other, by the first process alone.
        observed: which examples they want to see; None for all.
        before_batch: called by every process; what it raises ends the evaluation.

    Raises:
        DataError: no example has a valid pixel.
    """
    rows: list[Row] = []
    indices = range(len(examples))
    wanted = set(indices if observed is None else observed) if observers else set()
    for found in _predictions(depth_net, variables, examples, indices, config, mesh, before_batch):
        if found.example is not None:
            if not rows:
                _warn_if_misplaced(found.example, found.raw.shape[:2], config.scale_output)
            rows.append(_row(found.example, found.raw, found.fused, config))
        if found.place in wanted and distributed.is_first():
            example = found.example or examples[found.place]
            for observe in observers:
                observe(example, found.fused[..., 0])
    return _summary(_of_all_processes(rows), dataset=dataset, step=step, config=config)


def evaluate_sets(
    depth_net: nn.Module,
    variables: Variables,
    sets: Iterable[EvalSet],
    *,
    step: int,
    config: EvalConfig,
    mesh: Mesh,
    folder: Path,
    save: DepthFiles | None = None,
    before_batch: Callable[[], None] | None = None,
) -> Iterator[Report]:
    """Evaluates each set on its own; `<name>.json` and pictures in `<name>/` are in the folder.

    Args:
        sets: with ground truth.
        save: which further files to write of every picture, and where.
        before_batch: called by every process; what it raises ends the evaluation.
    """
    for evaluation in sets:
        examples, name = evaluation.examples, evaluation.name
        observers: list[Observer] = [
            picture_writer(folder / name, len(examples), config.num_pictures)
        ]
        observed = shown_indices(len(examples), config.num_pictures)
        if save is not None:
            observers.append(depth_writer(save, name, evaluation.split))
            observed = None
        report = evaluate(
            depth_net,
            variables,
            examples,
            dataset=name,
            step=step,
            config=config,
            mesh=mesh,
            observers=observers,
            observed=observed,
            before_batch=before_batch,
        )
        if evaluation.notes:
            report.protocol["notes"] = list(evaluation.notes)
        if distributed.is_first():
            report.write(folder)
        yield report


def show_sets(
    depth_net: nn.Module,
    variables: Variables,
    sets: Iterable[EvalSet],
    *,
    config: EvalConfig,
    mesh: Mesh,
    folder: Path,
) -> None:
    """Writes pictures of a few predictions of each set into `<name>/`; needs no ground truth."""
    for evaluation in sets:
        examples = evaluation.examples
        shown = shown_indices(len(examples), config.num_pictures)
        write = picture_writer(folder / evaluation.name, len(examples), config.num_pictures)
        for found in _predictions(depth_net, variables, examples, shown, config, mesh):
            if distributed.is_first():
                write(found.example or examples[found.place], found.fused[..., 0])


def evaluate_constant(
    inv_depth: Float[np.ndarray, "h w"],
    examples: Examples,
    *,
    dataset: str,
    step: int | None,
    config: EvalConfig,
) -> Report:
    """Scores one and the same inverse depth map on every example, by the same protocol."""
    mine = range(jax.process_index(), len(examples), jax.process_count())
    inv_depth = inv_depth[..., None]
    rows = [_row(example, inv_depth, inv_depth, config) for example in _read(examples, mine)]
    return _summary(_of_all_processes(rows), dataset=dataset, step=step, config=config)


def _of_all_processes(rows: list[Row]) -> list[Row]:
    if jax.process_count() == 1:
        return rows
    return sorted(distributed.gathered(rows), key=lambda row: row["index"])


def _summary(rows: list[Row], *, dataset: str, step: int | None, config: EvalConfig) -> Report:
    counted = [row for row in rows if row["valid_pixels"] > 0]
    protocol = {
        "ground_truth": listed(row["ground_truth"] for row in counted),
        "input": listed(row["input"] for row in counted),
        "input_depth": listed(row["input_depth"] for row in counted),
        "crop": config.crop or "none",
        "mask": listed(row["mask"] for row in counted),
        "min_depth": config.min_depth,
        "max_depth": config.max_depth,
        "scale_output": config.scale_output,
        "compute_dtype": config.compute_dtype,
        "scaling": "*_gt modes: median of the ground truth / median of the prediction, per image",
        "flip": "*_pp modes: mean of the prediction and the mirror image's, borders from one side",
    }
    remedy = "config.data.eval_split, config.data.depth_type and config.eval"
    return summarize(rows, MODES, protocol, dataset=dataset, step=step, remedy=remedy)


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
    examples: Examples,
    indices: Sequence[int],
    config: EvalConfig,
    mesh: Mesh,
    before_batch: Callable[[], None] | None = None,
) -> Iterator[Predicted]:
    """The maps of these examples, on every process; each reads its rows of every batch.

    The last, short batch is filled up with pictures whose maps nobody gets to see.
    """
    batch_size = -(-config.batch_size // mesh.size) * mesh.size  # the devices share it equally
    rows, count = sharding.local_rows(mesh, batch_size), len(indices)
    starts = range(0, count, batch_size)
    own = fold_for_evaluation(
        depth_net, sharding.whole(variables, mesh), compute_dtype=config.compute_dtype
    )
    own = sharding.spread(own, sharding.replicated(mesh))
    mine = _read(examples, [indices[s + row] for s in starts for row in rows if s + row < count])
    is_quiet = not distributed.is_first()
    with tqdm(total=count, desc="evaluate", unit="image", leave=False, disable=is_quiet) as bar:
        for start in starts:
            if before_batch is not None:
                before_batch()
            real = [row for row in rows if start + row < count]
            group = list(islice(mine, len(real)))
            filling = group[-1:] or [examples[indices[-1]]]
            filled = group + filling * (len(rows) - len(group))
            rgb = np.stack([e.rgb for e in filled])
            sparse = [e.input_depth[..., None] for e in filled if e.input_depth is not None]
            input_depth = np.stack(sparse) if sparse else None
            placed = sharding.place_batch((rgb, input_depth), mesh)
            pair = predict_pair(depth_net, own, *placed, compute_dtype=config.compute_dtype)
            raw, fused = map(np.asarray, sharding.readable((pair.raw, pair.fused), mesh))
            read = dict(zip(real, group, strict=True))
            for row in range(min(batch_size, count - start)):
                yield Predicted(indices[start + row], read.get(row), raw[row], fused[row])
                bar.update()


def _read(examples: Examples, indices: Sequence[int]) -> Iterator[EvalExample]:
    """These examples; a pipeline reads them ahead."""
    if isinstance(examples, EvalPipeline):
        return examples.at(indices)
    return (examples[index] for index in indices)


def _row(
    example: EvalExample,
    raw: Float[np.ndarray, "h w 1"],
    fused: Float[np.ndarray, "h w 1"],
    config: EvalConfig,
) -> Row:
    row: Row = {"index": int(example.index), "name": example.name, "valid_pixels": 0}
    row["ground_truth"] = example.depth_source or "depth as stored in the data set"
    row["input_depth"] = example.input_depth_source or "none"
    row["input"] = "whole picture"
    row["mask"] = "none" if example.mask is None else "pixels outside the set's mask do not count"
    if example.box is not None:
        height, width = example.box.shape
        row["input"] = f"{height}x{width} from row {example.box.top}, column {example.box.left}"
    if example.depth is None:
        return row | dict.fromkeys(MODES)
    found = _metrics_in_all_modes(
        raw[..., 0],
        fused[..., 0],
        example.depth,
        example.mask,
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
    mask: Bool[Array, "H W"] | None,
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
            mask=mask,
        )
        for mode in MODES
    }
