"""From a configuration to pipelines: which stores, which splits, which size."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from packnet_jax.config import Config
from packnet_jax.data.examples import EvalPipeline
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.samples import InputDepth
from packnet_jax.data.sources import open_source
from packnet_jax.data.store import FrameStore
from packnet_jax.data.transforms import resize_depth, resize_depth_nearest
from packnet_jax.data_config import DataConfig, SourceConfig
from packnet_jax.errors import ConfigError
from packnet_jax.geometry.ray_surface import dummy_template
from packnet_jax.ray_template import RayTemplate, load_template
from tfds_builders.pictures import CropBorders

INPUT_DEPTH_FEATURES = {
    "": "",
    "velodyne": "input_depth",
    "groundtruth": "input_depth",
    "lidar": "lidar",  # rendered streets hold it in any case
}
"""Features of the stores by `input_depth_type`."""

INPUT_DEPTH_RESIZING = {"keep_points": resize_depth, "nearest": resize_depth_nearest}
"""By `data.input_depth_resize`."""


class EvalSet(NamedTuple):
    """A set that is evaluated on its own."""

    examples: EvalPipeline
    name: str
    """Of its report."""
    split: str
    """Of its pictures' files."""
    has_depth: bool = True
    """Without ground truth, pictures of a few predictions are all that can be had."""
    notes: tuple[str, ...] = ()
    """What people should know of the set, in words."""


class DataSets(NamedTuple):
    """What a training run reads."""

    train: TrainPipeline
    train_examples: tuple[EvalPipeline, ...]
    """The targets of each training set one by one, without jitter, with depth."""
    train_name: str
    evaluations: tuple[EvalSet, ...]
    """The first that has depth chooses which checkpoints are the best."""
    num_context: int
    notes: tuple[str, ...] = ()
    """What people should know of the training sets, in words."""
    ray_template: RayTemplate | None = None
    """The camera that a ray surface starts from, where the objective learns one."""

    def fingerprints(self) -> dict[str, Any]:
        """Of the sets: those of training in order, those of evaluations by name."""
        evaluations = {e.name: e.examples.fingerprint() for e in self.evaluations}
        training = [examples.fingerprint() for examples in self.train_examples]
        return {"train": training, "eval": evaluations}

    @property
    def scored(self) -> tuple[EvalSet, ...]:
        """The evaluations with ground truth."""
        return tuple(e for e in self.evaluations if e.has_depth)

    @property
    def shown(self) -> tuple[EvalSet, ...]:
        """Those without."""
        return tuple(e for e in self.evaluations if not e.has_depth)


def open_data_sets(config: Config, *, rows: Sequence[int] | None = None) -> DataSets:
    """Opens (and on first use builds) the training and evaluation sets.

    Args:
        rows: which rows of each training batch this process makes; None for all.

    Raises:
        ConfigError: no data set is chosen, or a ray surface fits no camera of the data.
        DataError: files or splits are missing.
    """
    data = config.data
    sources = data.train_sources
    if not config.needs.input_depth:  # which is then for evaluation alone
        sources = [dataclasses.replace(source, input_depth_type="") for source in sources]
    input_depths = _input_depths(data) if config.needs.input_depth else []
    stores = [open_source(source, data, for_training=True) for source in sources]
    train = TrainPipeline(
        *stores,
        image_shape=data.image_shape,
        crop=data.crop_train_borders,
        batch_size=config.train.batch_size,
        back_context=data.back_context,
        forward_context=data.forward_context,
        strides=data.strides,
        jittering=data.jittering,
        jitter_on=data.jitter_on,
        shuffle=data.shuffle,
        repeats=[source.repeat for source in data.train_sources],
        with_depth=config.needs.depth,
        with_pose=config.needs.pose,
        input_depths=input_depths,
        num_threads=data.num_threads,
        prefetch=data.prefetch,
        cache_resized=data.cache_resized,
        stack_cameras=data.stack_cameras,
        rows=rows,
    )
    return DataSets(
        train=train,
        train_examples=tuple(_examples(data, store, data.crop_train_borders) for store in stores),
        train_name=_train_name(data.train_sources),
        evaluations=open_evaluations(config),
        num_context=data.back_context + data.forward_context,
        notes=tuple(
            f"{source.title}, {note}"
            for source, store in zip(data.train_sources, stores, strict=True)
            for note in store.notes
        ),
        ray_template=_ray_template(config, stores) if config.needs.ray_surface else None,
    )


def open_evaluations(config: Config) -> tuple[EvalSet, ...]:
    """The evaluation sets, in the configuration's order.

    Raises:
        ConfigError: no data set is chosen.
        DataError: files or a split are missing.
    """
    data = config.data
    stores = [open_source(source, data, for_training=False) for source in data.eval_sources]
    return tuple(
        EvalSet(
            _examples(
                data, store, data.crop_eval_borders, INPUT_DEPTH_FEATURES[source.input_depth_type]
            ),
            name,
            Path(source.split).stem,
            has_depth=bool(source.depth_type),
            notes=tuple(store.notes),
        )
        for source, store, name in zip(data.eval_sources, stores, data.eval_names, strict=True)
    )


def _ray_template(config: Config, stores: Sequence[FrameStore]) -> RayTemplate:
    """That of the file or else of the data, whose cameras are then alike; else a pinhole's."""
    shape = config.data.image_shape
    if config.loss.ray_template:
        return load_template(Path(config.loss.ray_template).expanduser(), shape)
    own = [store.ray_template for store in stores]
    first = own[0]
    if first is None and all(template is None for template in own):
        return RayTemplate(np.asarray(dummy_template(*shape)), np.ones(shape, bool))
    if first is None or any(t is None or not np.array_equal(t, first) for t in own):
        raise ConfigError(
            "config.data.more_train: a ray surface is learnt of one camera, but these sets have "
            "several; train on those of one, or give config.loss.ray_template"
        )
    rays = np.moveaxis(first[0], 0, -1)
    if rays.shape[:2] != shape:
        raise ConfigError(
            f"config.data.image_shape: given {shape}, but the set's rays are those of "
            f"{rays.shape[0]}x{rays.shape[1]}; choose that, or give config.loss.ray_template"
        )
    mask = stores[0].mask
    return RayTemplate(rays, np.ones(shape, bool) if mask is None else mask)


def _input_depths(data: DataConfig) -> list[InputDepth]:
    """What each training set gives its networks beside pictures."""
    resize, keep = INPUT_DEPTH_RESIZING[data.input_depth_resize], data.input_depth_keep
    return [
        InputDepth(INPUT_DEPTH_FEATURES[source.input_depth_type], resize, keep)
        for source in data.train_sources
    ]


def _examples(
    data: DataConfig, store: FrameStore, crop: CropBorders, input_depth_feature: str = ""
) -> EvalPipeline:
    return EvalPipeline(
        store,
        image_shape=data.image_shape,
        crop=crop,
        input_depth_feature=input_depth_feature,
        resize_input_depth=INPUT_DEPTH_RESIZING[data.input_depth_resize],
        num_threads=data.num_threads,
        prefetch=data.prefetch,
    )


def _train_name(sources: Sequence[SourceConfig]) -> str:
    if len(sources) == 1:
        return sources[0].title
    return " + ".join(f"{source.title} (x{source.repeat})" for source in sources)
