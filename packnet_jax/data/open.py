"""From a configuration to pipelines: which stores, which splits, which size."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax

from packnet_jax.config import DEPTH_TYPES, Config, DataConfig, SourceConfig
from packnet_jax.data.examples import EvalPipeline
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.store import FrameStore, open_store
from packnet_jax.data.transforms import resize_depth, resize_depth_nearest
from packnet_jax.errors import ConfigError
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


class DataSets(NamedTuple):
    """What a training run reads."""

    train: TrainPipeline
    train_examples: tuple[EvalPipeline, ...]
    """The targets of each training set one by one, without jitter, with depth."""
    train_name: str
    evaluations: tuple[EvalSet, ...]
    """At least one; the first chooses which checkpoints are the best."""
    num_context: int


def open_data_sets(config: Config) -> DataSets:
    """Opens (and on first use builds) the training and evaluation sets.

    Raises:
        ConfigError: no data set is chosen.
        DataError: files or splits are missing.
    """
    data = config.data
    stores = [_open(data, source, for_training=True) for source in data.train_sources]
    train = TrainPipeline(
        *stores,
        image_shape=data.image_shape,
        crop=data.crop_train_borders,
        batch_size=config.train.batch_size,
        back_context=data.back_context,
        forward_context=data.forward_context,
        strides=data.strides,
        jittering=data.jittering,
        shuffle=data.shuffle,
        repeats=[source.repeat for source in data.train_sources],
        num_threads=data.num_threads,
        prefetch=data.prefetch,
        cache_resized=data.cache_resized,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    return DataSets(
        train=train,
        train_examples=tuple(_examples(data, store, data.crop_train_borders) for store in stores),
        train_name=_train_name(data.train_sources),
        evaluations=open_evaluations(config),
        num_context=data.back_context + data.forward_context,
    )


def open_evaluations(config: Config) -> tuple[EvalSet, ...]:
    """The evaluation sets, in the configuration's order.

    Raises:
        ConfigError: no data set is chosen.
        DataError: files or a split are missing.
    """
    data = config.data
    stores = [_open(data, source, for_training=False) for source in data.eval_sources]
    return tuple(
        EvalSet(
            _examples(
                data, store, data.crop_eval_borders, INPUT_DEPTH_FEATURES[source.input_depth_type]
            ),
            name,
            Path(source.split).stem,
        )
        for source, store, name in zip(data.eval_sources, stores, data.eval_names, strict=True)
    )


def open_kitti_raw(
    *,
    root: str,
    tfds_dir: str,
    split: str,
    depth_type: str = "velodyne",
    input_depth_type: str = "",
    back_context: int = 0,
    forward_context: int = 0,
    strides: Sequence[int] = (1,),
    with_stereo: bool = False,
    stored_shape: tuple[int, int] | None = None,
    stored_crop: CropBorders = (),
) -> FrameStore:
    """The frames of a KITTI raw split, and as many neighbours as the context reaches.

    Args:
        root: folder of the raw data.
        tfds_dir: where built sets are kept.
        split: name or path of the list of target frames.
        depth_type: which depth to store: 'velodyne', 'groundtruth', or '' for none.
        input_depth_type: which to store besides, for networks that take depth.
        back_context: frames before the target that samples will need.
        forward_context: frames after it.
        strides: steps between these frames.
        with_stereo: whether to store the other eye's frames.
        stored_shape: height and width to store pictures at, for pipelines of that size alone;
            None for the files as they are.
        stored_crop: what to cut off before, with `stored_shape`.

    Raises:
        DataError: the split is not found, or nothing can be stored.
    """
    from tfds_builders.kitti_raw import KittiRaw

    return open_store(
        partial(
            KittiRaw.from_options,
            data_dir=str(Path(tfds_dir).expanduser()),
            root=root,
            split=split,
            reach=max(back_context, forward_context) * max(strides),
            depth_type=depth_type,
            input_depth_type=input_depth_type,
            with_stereo=with_stereo,
            stored_shape=stored_shape,
            stored_crop=stored_crop,
        )
    )


def open_synthetic_drive(
    *,
    tfds_dir: str,
    split: str,
    image_shape: tuple[int, int],
    num_streets: int,
    frames_per_street: int,
    moving_cars: bool = True,
    focal_ratio: float = 0.58,
    depth_type: str = "dense",
    with_stereo: bool = False,
) -> FrameStore:
    """Rendered streets; see `tfds_builders.synthetic_drive`.

    Args:
        tfds_dir: where built sets are kept.
        split: 'train' or 'test': they share no street.
        image_shape: height and width to render at.
        num_streets: how many streets.
        frames_per_street: length of each drive.
        moving_cars: whether other cars drive.
        focal_ratio: focal length over image width.
        depth_type: 'dense', 'lidar' or '' for none.
        with_stereo: whether to render the other eye's frames.

    Raises:
        DataError: an option is unknown or out of range.
    """
    from tfds_builders.synthetic_drive import SyntheticDrive

    return open_store(
        partial(
            SyntheticDrive.from_options,
            data_dir=str(Path(tfds_dir).expanduser()),
            split=split,
            image_shape=image_shape,
            num_streets=num_streets,
            frames_per_street=frames_per_street,
            moving_cars=moving_cars,
            focal_ratio=focal_ratio,
            depth_type=depth_type,
            with_stereo=with_stereo,
        )
    )


def _open(data: DataConfig, source: SourceConfig, *, for_training: bool) -> FrameStore:
    crop = data.crop_train_borders if for_training else data.crop_eval_borders
    if not source.name:
        raise ConfigError(
            "config.data.name: empty, so no data set is chosen (some recipes and checkpoints are "
            "of data that can not be read here); take another file for --config, or one of "
            f"{', '.join(DEPTH_TYPES)} for --config.data.name, with its root, split and depth_type"
        )
    if source.name == "kitti_raw":
        return open_kitti_raw(
            root=source.root,
            tfds_dir=data.tfds_dir,
            split=source.split,
            depth_type=source.depth_type,
            input_depth_type="" if for_training else source.input_depth_type,
            back_context=data.back_context if for_training else 0,
            forward_context=data.forward_context if for_training else 0,
            strides=data.strides,
            stored_shape=data.image_shape if data.store_resized else None,
            stored_crop=crop if data.store_resized else (),
        )
    streets = source.synthetic
    return open_synthetic_drive(
        tfds_dir=data.tfds_dir,
        split=source.split,
        image_shape=data.image_shape,
        num_streets=streets.num_test_streets if source.split == "test" else streets.num_streets,
        frames_per_street=streets.frames_per_street,
        moving_cars=streets.moving_cars,
        focal_ratio=streets.focal_ratio,
        depth_type=source.depth_type,
    )


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
