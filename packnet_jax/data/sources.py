"""From a source in the configuration to the frames of its set: one maker for each data set."""

from collections.abc import Callable, Mapping
from functools import partial

from packnet_jax.data.buckets import disk_folder, is_bucket
from packnet_jax.data.store import FrameStore, open_store
from packnet_jax.data_config import DATASETS, SCANNED, DataConfig, SourceConfig
from packnet_jax.errors import ConfigError
from packnet_jax.visualize import read_depth
from tfds_builders.calibration import Calibration
from tfds_builders.frames import FramesBuilder
from tfds_builders.stored_size import FULL_SIZE, StoredSize

_Maker = Callable[..., FramesBuilder]
"""Makes a set's builder, given `data_dir` and `split`: all else is settled."""


def open_source(source: SourceConfig, data: DataConfig, *, for_training: bool) -> FrameStore:
    """The frames of a source, built on first use, or fetched if `tfds_dir` is a bucket's.

    Args:
        source: which set, split and depth.
        data: how samples are made: what has to be stored for them.
        for_training: whether context is needed, and depth of as many beams as the source says.

    Raises:
        ConfigError: no data set is chosen.
        DataError: files or splits are missing.
    """
    if not source.name:
        raise ConfigError(
            "config.data.name: empty, so no data set is chosen (some recipes and checkpoints are "
            "of data that can not be read here); take another file for --config, or one of "
            f"{', '.join(DATASETS)} for --config.data.name, with its root, split and depth_type"
        )
    make = partial(
        _MAKERS[source.name](source, data, for_training),
        data_dir=str(disk_folder(data.tfds_dir)),
        split=source.split,
    )
    bucket = data.tfds_dir if is_bucket(data.tfds_dir) else None
    return open_store(make, allow_missing=source.allow_missing, bucket=bucket)


# The builders' modules are imported where they are needed: a run reads one or two of them.


def _kitti_raw(source: SourceConfig, data: DataConfig, for_training: bool) -> _Maker:
    from tfds_builders.kitti_raw import KittiRaw

    context = max(data.back_context, data.forward_context) if for_training else 0
    return partial(
        KittiRaw.from_options,
        root=source.root,
        reach=context * max(data.strides),
        depth_type=source.depth_type,
        input_depth_type=source.input_depth_type,
        stored_size=_stored_size(data, for_training),
        depth_beams=_depth_beams(source, for_training),
        input_beams=_beams(source, source.input_depth_type),
    )


def _kitti_odometry(source: SourceConfig, data: DataConfig, for_training: bool) -> _Maker:
    from tfds_builders.kitti_odometry import KittiOdometry

    del data, for_training  # whole sequences hold the context of their frames
    return partial(KittiOdometry.from_options, root=source.root, depth_type=source.depth_type)


def _synthetic_drive(source: SourceConfig, data: DataConfig, for_training: bool) -> _Maker:
    from tfds_builders.synthetic_drive import SyntheticDrive

    streets = source.synthetic
    return partial(
        SyntheticDrive.from_options,
        image_shape=data.image_shape,
        num_streets=streets.num_test_streets if source.split == "test" else streets.num_streets,
        frames_per_street=streets.frames_per_street,
        moving_cars=streets.moving_cars,
        focal_ratio=streets.focal_ratio,
        depth_type=source.depth_type,
        camera=streets.camera,
        rig=streets.rig,
        cameras=source.cameras,
        depth_beams=_depth_beams(source, for_training),
        input_beams=_beams(source, source.input_depth_type),
    )


def _ddad(source: SourceConfig, data: DataConfig, for_training: bool) -> _Maker:
    from tfds_builders.ddad import Ddad

    return partial(
        Ddad.from_options,
        root=source.root,
        cameras=source.cameras,
        depth_type=source.depth_type,
        input_depth_type=source.input_depth_type,
        stored_size=_stored_size(data, for_training),
    )


def _cityscapes(source: SourceConfig, data: DataConfig, for_training: bool) -> _Maker:
    from tfds_builders.cityscapes import Cityscapes

    return partial(
        Cityscapes.from_options, root=source.root, stored_size=_stored_size(data, for_training)
    )


def _image_folder(source: SourceConfig, data: DataConfig, for_training: bool) -> _Maker:
    from tfds_builders.image_folder import ImageFolder

    frames = source.frames
    return partial(
        ImageFolder.from_options,
        root=source.root,
        pattern=frames.pattern,
        stride=frames.stride,
        calibration=Calibration.parse(frames.intrinsics, setting="config.data.frames.intrinsics"),
        mask=frames.mask,
        static_threshold=frames.static_threshold,
        val_fraction=frames.val_fraction,
        depth_root=frames.depth_root,
        read_depth=read_depth,
        needs_depth=bool(source.depth_type) and not for_training,
        stored_size=_stored_size(data, for_training),
    )


_MAKERS: Mapping[str, Callable[[SourceConfig, DataConfig, bool], _Maker]] = {
    "kitti_raw": _kitti_raw,
    "kitti_odometry": _kitti_odometry,
    "synthetic_drive": _synthetic_drive,
    "ddad": _ddad,
    "cityscapes": _cityscapes,
    "image_folder": _image_folder,
}


def _stored_size(data: DataConfig, for_training: bool) -> StoredSize:
    if not data.store_resized:
        return FULL_SIZE
    crop = data.crop_train_borders if for_training else data.crop_eval_borders
    return StoredSize(data.image_shape, crop)


def _depth_beams(source: SourceConfig, for_training: bool) -> int:
    """An evaluation compares with whole depth."""
    return _beams(source, source.depth_type) if for_training else 0


def _beams(source: SourceConfig, depth_type: str) -> int:
    return source.beams if depth_type in SCANNED else 0
