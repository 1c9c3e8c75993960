"""From a source in the configuration to the frames of its set: one opener for each data set."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from packnet_jax.data.store import FrameStore, open_store
from packnet_jax.data_config import DATASETS, DataConfig, FolderConfig, SourceConfig
from packnet_jax.errors import ConfigError
from packnet_jax.visualize import read_depth
from tfds_builders.calibration import Calibration
from tfds_builders.pictures import CropBorders


def open_source(source: SourceConfig, data: DataConfig, *, for_training: bool) -> FrameStore:
    """The frames of a source, built on first use.

    Args:
        source: which set, split and depth.
        data: how samples are made: what has to be stored for them.
        for_training: whether context is needed, rather than input depth.

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
    return _OPENERS[source.name](source, data, for_training)


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


def open_image_folder(
    *,
    root: str,
    tfds_dir: str,
    split: str,
    frames: FolderConfig,
    needs_depth: bool = False,
    stored_shape: tuple[int, int] | None = None,
    stored_crop: CropBorders = (),
) -> FrameStore:
    """The frames of a folder or video; see `tfds_builders.image_folder`.

    Args:
        root: the folder or video.
        tfds_dir: where built sets are kept.
        split: 'train', 'val' or 'all'.
        frames: which files, which camera, what is left out.
        needs_depth: whether frames without depth are no targets.
        stored_shape: height and width to store pictures at; None for the files as they are.
        stored_crop: what to cut off before, with `stored_shape`.

    Raises:
        ConfigError: the intrinsics are neither numbers nor a file.
        DataError: there are no such pictures, or files beside them do not fit.
    """
    from tfds_builders.image_folder import ImageFolder

    return open_store(
        partial(
            ImageFolder.from_options,
            data_dir=str(Path(tfds_dir).expanduser()),
            root=root,
            split=split,
            pattern=frames.pattern,
            stride=frames.stride,
            calibration=Calibration.parse(
                frames.intrinsics, setting="config.data.frames.intrinsics"
            ),
            mask=frames.mask,
            static_threshold=frames.static_threshold,
            val_fraction=frames.val_fraction,
            depth_root=frames.depth_root,
            read_depth=read_depth,
            needs_depth=needs_depth,
            stored_shape=stored_shape,
            stored_crop=stored_crop,
        )
    )


def _kitti_raw(source: SourceConfig, data: DataConfig, for_training: bool) -> FrameStore:
    crop = data.crop_train_borders if for_training else data.crop_eval_borders
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


def _synthetic_drive(source: SourceConfig, data: DataConfig, for_training: bool) -> FrameStore:
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


def _image_folder(source: SourceConfig, data: DataConfig, for_training: bool) -> FrameStore:
    crop = data.crop_train_borders if for_training else data.crop_eval_borders
    return open_image_folder(
        root=source.root,
        tfds_dir=data.tfds_dir,
        split=source.split,
        frames=source.frames,
        needs_depth=bool(source.depth_type) and not for_training,
        stored_shape=data.image_shape if data.store_resized else None,
        stored_crop=crop if data.store_resized else (),
    )


_OPENERS: Mapping[str, Callable[[SourceConfig, DataConfig, bool], FrameStore]] = {
    "kitti_raw": _kitti_raw,
    "synthetic_drive": _synthetic_drive,
    "image_folder": _image_folder,
}
