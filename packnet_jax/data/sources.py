"""From a source in the configuration to the frames of its set: one opener for each data set."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from packnet_jax.data.store import FrameStore, open_store
from packnet_jax.data_config import DATASETS, SCANNED, DataConfig, FolderConfig, SourceConfig
from packnet_jax.errors import ConfigError
from packnet_jax.visualize import read_depth
from tfds_builders.calibration import Calibration
from tfds_builders.frames import ALLOW_MISSING
from tfds_builders.pictures import CropBorders


def open_source(source: SourceConfig, data: DataConfig, *, for_training: bool) -> FrameStore:
    """The frames of a source, built on first use.

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
    depth_beams: int = 0,
    input_beams: int = 0,
    allow_missing: float = ALLOW_MISSING,
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
        depth_beams: how many of the scanner's beams velodyne depth keeps; 0 for all.
        input_beams: the same for input depth.
        allow_missing: share of the targets that may be missing or damaged.

    Raises:
        DataError: the split is not found, or too much of it is missing.
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
            depth_beams=depth_beams,
            input_beams=input_beams,
        ),
        allow_missing=allow_missing,
    )


def open_kitti_odometry(
    *, root: str, tfds_dir: str, split: str, depth_type: str = ""
) -> FrameStore:
    """Whole sequences of the KITTI odometry benchmark; see `tfds_builders.kitti_odometry`.

    Args:
        root: the folder that holds `sequences` and `poses`.
        tfds_dir: where built sets are kept.
        split: which sequences, such as '09' or '00-08'.
        depth_type: 'velodyne' or '' for none.

    Raises:
        DataError: the split names none, or their files are missing or damaged.
    """
    from tfds_builders.kitti_odometry import KittiOdometry

    return open_store(
        partial(
            KittiOdometry.from_options,
            data_dir=str(Path(tfds_dir).expanduser()),
            root=root,
            split=split,
            depth_type=depth_type,
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
    camera: Literal["pinhole", "fisheye", "catadioptric"] = "pinhole",
    rig: Literal["single", "six"] = "single",
    cameras: Sequence[str] = (),
    depth_beams: int = 0,
    input_beams: int = 0,
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
        camera: the lens; of all but 'pinhole', `FrameStore.ray_template` holds the rays.
        rig: 'single', or 'six' cameras around the car, each a stream.
        cameras: which of the six; () for all.
        depth_beams: how many of the scanner's beams the depth type 'lidar' keeps; 0 for all.
        input_beams: the same for the feature `lidar`.

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
            camera=camera,
            rig=rig,
            cameras=cameras,
            depth_beams=depth_beams,
            input_beams=input_beams,
        )
    )


def open_ddad(
    *,
    root: str,
    tfds_dir: str,
    split: str,
    cameras: Sequence[str] = (),
    depth_type: str = "lidar",
    input_depth_type: str = "",
    stored_shape: tuple[int, int] | None = None,
    stored_crop: CropBorders = (),
    allow_missing: float = ALLOW_MISSING,
) -> FrameStore:
    """The frames of DDAD, or of other scenes in DGP's format; see `tfds_builders.ddad`.

    Args:
        root: the JSON that lists the scenes, or its folder.
        tfds_dir: where built sets are kept.
        split: 'train', 'val', 'test' or 'train_overfit'.
        cameras: names such as 'camera_01'; () for all.
        depth_type: 'lidar' or '' for none.
        input_depth_type: which to store besides, for networks that take depth.
        stored_shape: height and width to store pictures at; None for the files as they are.
        stored_crop: what to cut off before, with `stored_shape`.
        allow_missing: share of the targets that may be missing or damaged.

    Raises:
        DataError: the data set, split or a camera is not found, or too much is missing.
    """
    from tfds_builders.ddad import Ddad

    return open_store(
        partial(
            Ddad.from_options,
            data_dir=str(Path(tfds_dir).expanduser()),
            root=root,
            split=split,
            cameras=cameras,
            depth_type=depth_type,
            input_depth_type=input_depth_type,
            stored_shape=stored_shape,
            stored_crop=stored_crop,
        ),
        allow_missing=allow_missing,
    )


def open_cityscapes(
    *,
    root: str,
    tfds_dir: str,
    split: str,
    stored_shape: tuple[int, int] | None = None,
    stored_crop: CropBorders = (),
    allow_missing: float = ALLOW_MISSING,
) -> FrameStore:
    """The snippets of Cityscapes, without depth or poses; see `tfds_builders.cityscapes`.

    Args:
        root: the folder that holds `leftImg8bit_sequence` and `camera`.
        tfds_dir: where built sets are kept.
        split: 'train', 'val' or 'test'.
        stored_shape: height and width to store pictures at; None for the files as they are.
        stored_crop: what to cut off before, with `stored_shape`.
        allow_missing: share of the targets that may be missing or damaged.

    Raises:
        DataError: folders are not found, or too much is missing.
    """
    from tfds_builders.cityscapes import Cityscapes

    return open_store(
        partial(
            Cityscapes.from_options,
            data_dir=str(Path(tfds_dir).expanduser()),
            root=root,
            split=split,
            stored_shape=stored_shape,
            stored_crop=stored_crop,
        ),
        allow_missing=allow_missing,
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
    allow_missing: float = ALLOW_MISSING,
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
        allow_missing: share of the targets that may be damaged.

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
        ),
        allow_missing=allow_missing,
    )


def _kitti_raw(source: SourceConfig, data: DataConfig, for_training: bool) -> FrameStore:
    return open_kitti_raw(
        root=source.root,
        tfds_dir=data.tfds_dir,
        split=source.split,
        depth_type=source.depth_type,
        input_depth_type=source.input_depth_type,
        back_context=data.back_context if for_training else 0,
        forward_context=data.forward_context if for_training else 0,
        strides=data.strides,
        stored_shape=data.image_shape if data.store_resized else None,
        stored_crop=_crop(data, for_training) if data.store_resized else (),
        depth_beams=_beams(source, source.depth_type) if for_training else 0,
        input_beams=_beams(source, source.input_depth_type),
        allow_missing=source.allow_missing,
    )


def _kitti_odometry(source: SourceConfig, data: DataConfig, for_training: bool) -> FrameStore:
    del for_training  # whole sequences hold the context of their frames
    return open_kitti_odometry(
        root=source.root,
        tfds_dir=data.tfds_dir,
        split=source.split,
        depth_type=source.depth_type,
    )


def _crop(data: DataConfig, for_training: bool) -> CropBorders:
    return data.crop_train_borders if for_training else data.crop_eval_borders


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
        camera=streets.camera,
        rig=streets.rig,
        cameras=source.cameras,
        depth_beams=_beams(source, source.depth_type) if for_training else 0,
        input_beams=_beams(source, source.input_depth_type),
    )


def _beams(source: SourceConfig, depth_type: str) -> int:
    return source.beams if depth_type in SCANNED else 0


def _ddad(source: SourceConfig, data: DataConfig, for_training: bool) -> FrameStore:
    return open_ddad(
        root=source.root,
        tfds_dir=data.tfds_dir,
        split=source.split,
        cameras=source.cameras,
        depth_type=source.depth_type,
        input_depth_type=source.input_depth_type,
        stored_shape=data.image_shape if data.store_resized else None,
        stored_crop=_crop(data, for_training) if data.store_resized else (),
        allow_missing=source.allow_missing,
    )


def _cityscapes(source: SourceConfig, data: DataConfig, for_training: bool) -> FrameStore:
    return open_cityscapes(
        root=source.root,
        tfds_dir=data.tfds_dir,
        split=source.split,
        stored_shape=data.image_shape if data.store_resized else None,
        stored_crop=_crop(data, for_training) if data.store_resized else (),
        allow_missing=source.allow_missing,
    )


def _image_folder(source: SourceConfig, data: DataConfig, for_training: bool) -> FrameStore:
    return open_image_folder(
        root=source.root,
        tfds_dir=data.tfds_dir,
        split=source.split,
        frames=source.frames,
        needs_depth=bool(source.depth_type) and not for_training,
        stored_shape=data.image_shape if data.store_resized else None,
        stored_crop=_crop(data, for_training) if data.store_resized else (),
        allow_missing=source.allow_missing,
    )


_OPENERS: Mapping[str, Callable[[SourceConfig, DataConfig, bool], FrameStore]] = {
    "kitti_raw": _kitti_raw,
    "kitti_odometry": _kitti_odometry,
    "synthetic_drive": _synthetic_drive,
    "ddad": _ddad,
    "cityscapes": _cityscapes,
    "image_folder": _image_folder,
}
