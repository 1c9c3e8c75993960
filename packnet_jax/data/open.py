"""From a configuration to pipelines: which store, which split, which size."""

from pathlib import Path
from typing import NamedTuple

import jax

from packnet_jax.config import Config
from packnet_jax.data.pipeline import EvalPipeline, TrainPipeline
from packnet_jax.data.store import FrameStore, open_store


class DataSets(NamedTuple):
    """What a training run reads."""

    train: TrainPipeline
    train_examples: EvalPipeline
    """The training targets one by one, without jitter, with depth."""
    train_name: str
    evaluation: EvalPipeline
    eval_name: str
    num_context: int


def open_data_sets(config: Config) -> DataSets:
    """Opens (and on first use builds) the training and evaluation sets.

    Raises:
        DataError: files or splits are missing.
    """
    data = config.data
    store = _open(config, data.split, for_training=True)
    train = TrainPipeline(
        store,
        image_shape=data.image_shape,
        batch_size=config.train.batch_size,
        back_context=data.back_context,
        forward_context=data.forward_context,
        strides=data.strides,
        jittering=data.jittering,
        shuffle=data.shuffle,
        repeat=data.repeat,
        num_threads=data.num_threads,
        prefetch=data.prefetch,
        cache_resized=data.cache_resized,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    evaluation, eval_name = open_evaluation(config)
    return DataSets(
        train=train,
        train_examples=_examples(store, config),
        train_name=_name(config, data.split),
        evaluation=evaluation,
        eval_name=eval_name,
        num_context=data.back_context + data.forward_context,
    )


def open_evaluation(config: Config) -> tuple[EvalPipeline, str]:
    """The evaluation set and the name its report gets.

    Raises:
        DataError: files or the split are missing, or it has no depth.
    """
    store = _open(config, config.data.eval_split, for_training=False)
    return _examples(store, config), _name(config, config.data.eval_split)


def _open(config: Config, split: str, *, for_training: bool) -> FrameStore:
    data = config.data
    return open_store(
        data.name,
        root=data.root,
        tfds_dir=data.tfds_dir,
        split=split,
        depth_type=data.depth_type,
        back_context=data.back_context if for_training else 0,
        forward_context=data.forward_context if for_training else 0,
        strides=data.strides,
    )


def _examples(store: FrameStore, config: Config) -> EvalPipeline:
    data = config.data
    return EvalPipeline(
        store,
        image_shape=data.image_shape,
        num_threads=data.num_threads,
        prefetch=data.prefetch,
    )


def _name(config: Config, split: str) -> str:
    return f"{config.data.name}-{Path(split).stem}"
