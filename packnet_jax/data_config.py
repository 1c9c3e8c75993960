"""Which data a run reads, how samples are made of them, and what must hold of both."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from packnet_jax.typed_config import within

SHAPE_MULTIPLE = 32  # the encoders halve an image five times

Rule = tuple[bool, str]
"""Whether something holds, and what to say if it does not: fields, values and remedy."""


class DatasetKind(NamedTuple):
    """What a data set offers."""

    depth_types: tuple[str, ...]
    """Ground truth that can be asked for; "" for none."""
    input_depth_types: tuple[str, ...]
    """Sparse depth that a network can be given; "" for none."""
    splits: tuple[str, ...] = ()
    """All splits there are; () where a split is a file or a folder."""
    needs_root: bool = True
    """Whether it lies in a folder of the user's."""
    can_store_resized: bool = False
    """Whether `store_resized` is possible."""


DATASETS = {
    "kitti_raw": DatasetKind(
        depth_types=("velodyne", "groundtruth", ""),
        input_depth_types=("velodyne", "groundtruth", ""),
        can_store_resized=True,
    ),
    "synthetic_drive": DatasetKind(
        depth_types=("dense", "lidar", ""),
        input_depth_types=("lidar", ""),
        splits=("train", "test"),
        needs_root=False,
    ),
    "image_folder": DatasetKind(
        depth_types=("", "files"),
        input_depth_types=("",),
        splits=("train", "val", "all"),
        can_store_resized=True,
    ),
}
DatasetName = Literal["kitti_raw", "synthetic_drive", "image_folder", ""]


@dataclass(frozen=True)
class SyntheticConfig:
    """The rendered streets of `synthetic_drive` (read only where `name` is that)."""

    num_streets: int = within(40, 1)
    num_test_streets: int = within(10, 1)
    frames_per_street: int = within(12, 1)
    focal_ratio: float = within(0.58, 0.1, 10)
    """Focal length over image width; 0.58 is close to KITTI's."""
    moving_cars: bool = True


@dataclass(frozen=True)
class FolderConfig:
    """The frames of `image_folder` (read only where `name` is that); `root` is a folder of pictures
    with all that is below it, or a video."""

    pattern: str = ""
    """Which files: '' for all pictures in natural order, '*.png' for some, '*.mp4' for the videos
    of a folder, or a number in braces, '{:09}', which then says what follows what."""
    stride: int = within(1, 1)
    """Keep one picture of so many: where the camera moves slowly, or a video has many a second."""
    intrinsics: str = "auto"
    """The camera: fx,fy,cx,cy in pixels of the pictures as they are, the path of a file (see
    `tfds_builders.calibration`), or 'auto' for a guess."""
    mask: str = ""
    """Path of a picture of the same size; where it is 0 (a bonnet, a mirror's ring), pixels count
    neither in losses nor in metrics."""
    static_threshold: float = within(0.0, 0, 255)
    """Leave out frames whose mean difference to the last one kept is less, in levels of 0 to 255;
    0 keeps all, 1 or 2 drop those of a standing camera."""
    val_fraction: float = within(0.1, 0, 1)
    """Share at the end of every stream that is the split 'val', and not in 'train'."""
    depth_root: str = ""
    """Folder with a depth map under the name of each frame that has one, for depth_type 'files':
    .npz with `depth` in metres, or 16-bit .png in 1/256 metre; 0 where there is none."""


@dataclass(frozen=True)
class SourceConfig:
    """One split of one data set; what differs between sets that are used together."""

    name: DatasetName = "kitti_raw"
    """'' chooses none: recipes for data that nothing here reads leave the choice to the user."""
    root: str = ""
    """Folder of the raw data (the one that holds 2011_09_26/ and so on), or of pictures, or a video
    (image_folder)."""
    split: str = "eigen_zhou"
    """A known name or the path of a split file; of image_folder 'train', 'val' or 'all'."""
    depth_type: str = "velodyne"
    """Ground truth: 'velodyne' or 'groundtruth' (the improved one; kitti_raw), 'dense' or 'lidar'
    (synthetic_drive), 'files' (image_folder), '' for none: training then evaluates nothing, and
    shows pictures alone."""
    input_depth_type: str = ""
    """Sparse depth that the network gets beside the picture in evaluation (PackNetSAN01):
    'velodyne' or 'groundtruth' (kitti_raw), 'lidar' (synthetic_drive), '' for none."""
    repeat: int = within(1, 1)
    """How often an epoch of training goes through the split."""
    synthetic: SyntheticConfig = SyntheticConfig()
    frames: FolderConfig = FolderConfig()

    @property
    def title(self) -> str:
        """`<dataset>-<split>`, and `-with_<input_depth_type>` where the network sees that."""
        name = f"{self.name or 'none'}-{Path(self.split).stem}"
        return f"{name}-with_{self.input_depth_type}" if self.input_depth_type else name


@dataclass(frozen=True)
class DataConfig(SourceConfig):
    """Where samples come from and how they are prepared.

    The fields of a source describe the first set of training and, with `eval_split`, of evaluation;
    usually it is the only one.
    """

    tfds_dir: str = "tfds"
    """Where built sets live; made on first use."""
    eval_split: str = "eigen_test"
    more_train: tuple[SourceConfig, ...] = ()
    """Sets that are mixed into training, each `repeat` times an epoch; see `source`."""
    more_eval: tuple[SourceConfig, ...] = ()
    """Sets that are evaluated after the first, each on its own; the first chooses checkpoints."""
    image_shape: tuple[int, int] = (192, 640)
    """Height and width that the networks see."""
    crop_train_borders: tuple[int | float, ...] = ()
    """What is cut off the pictures before resizing: () for nothing, (y, height, x, width), or
    (y, x); see `tfds_builders.pictures.crop_box`. An integer is pixels, a float a fraction."""
    crop_eval_borders: tuple[int | float, ...] = ()
    """The same for evaluation, where the ground truth stays whole."""
    input_depth_resize: Literal["keep_points", "nearest"] = "keep_points"
    """How input depth comes to `image_shape`: every point is moved, as the original does for its
    validation, or pixels are picked, which loses most points, as for its test."""
    jittering: tuple[float, ...] = (0.2, 0.2, 0.2, 0.05)
    """Brightness, contrast, saturation, hue; () switches jitter off."""
    back_context: int = within(1, 0)
    forward_context: int = within(1, 0)
    strides: tuple[int, ...] = (1,)
    shuffle: bool = True
    cache_resized: bool = False
    """Keep resized images in memory: for sets small enough, such as KITTI_tiny."""
    store_resized: bool = False
    """Build sets whose pictures are cropped and resized to `image_shape` already: for long runs,
    where decoding full pictures would hold up the accelerator (kitti_raw, image_folder)."""
    num_threads: int = within(4, 1)
    prefetch: int = within(8, 1)

    @property
    def train_sources(self) -> tuple[SourceConfig, ...]:
        """What training mixes."""
        return (self._first(self.split), *self.more_train)

    @property
    def eval_sources(self) -> tuple[SourceConfig, ...]:
        """What is evaluated, one after the other."""
        return (self._first(self.eval_split), *self.more_eval)

    @property
    def eval_names(self) -> tuple[str, ...]:
        """Names of the reports: `<dataset>-<split>`, and `-<depth_type>` where that is taken."""
        names: list[str] = []
        for source in self.eval_sources:
            taken = source.title in names
            names.append(f"{source.title}-{source.depth_type}" if taken else source.title)
        return tuple(names)

    def _first(self, split: str) -> SourceConfig:
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(SourceConfig)}
        return dataclasses.replace(SourceConfig(**own), split=split)


def data_rules(data: DataConfig) -> list[Rule]:
    """What no single field's type and range say of the data."""
    nearest = tuple(max(1, round(v / SHAPE_MULTIPLE)) * SHAPE_MULTIPLE for v in data.image_shape)
    more_train = [(s, f"data.more_train[{i}]") for i, s in enumerate(data.more_train)]
    more_eval = [(s, f"data.more_eval[{i}]") for i, s in enumerate(data.more_eval)]
    return [
        (
            all(v > 0 and v % SHAPE_MULTIPLE == 0 for v in data.image_shape),
            f"data.image_shape: given {data.image_shape}, but height and width must be positive "
            f"multiples of {SHAPE_MULTIPLE}; nearest: {nearest}",
        ),
        (
            len(data.jittering) in (0, 4) and all(v >= 0 for v in data.jittering),
            f"data.jittering: given {data.jittering}, expected () or four values >= 0",
        ),
        (
            _is_crop(data.crop_train_borders) and _is_crop(data.crop_eval_borders),
            f"data.crop_train_borders, data.crop_eval_borders: given {data.crop_train_borders} and "
            f"{data.crop_eval_borders}, expected (), (y, height, x, width) with integer height and "
            "width, or (y, x) with integers",
        ),
        (
            not data.store_resized or not data.name or DATASETS[data.name].can_store_resized,
            f"data.store_resized: given True, but {data.name} has no resized variant; set False",
        ),
        (
            data.back_context + data.forward_context >= 1,
            "data.back_context, data.forward_context: both 0, but self-supervision compares a "
            "frame with its neighbours; set one of them to 1",
        ),
        (
            len(data.strides) > 0 and all(s >= 1 for s in data.strides),
            f"data.strides: given {data.strides}, expected at least one stride >= 1",
        ),
        *(
            rule
            for s, at in ((data, "data"), *more_train, *more_eval)
            for rule in _source_rules(s, at)
        ),
        _split_rule(data.name, data.eval_split, "data.eval_split"),
        *(rule for s, at in more_eval for rule in _eval_rules(s, at)),
        (
            len(set(data.eval_names)) == len(data.eval_names),
            f"data.more_eval: the reports would be named {', '.join(data.eval_names)}, but each "
            "needs a name of its own; give sets another depth_type, or a copy of the split file "
            "under another name",
        ),
    ]


def _source_rules(s: SourceConfig, at: str) -> list[Rule]:
    if not s.name:
        return []
    kind = DATASETS[s.name]
    return [
        (
            bool(s.root) or not kind.needs_root,
            f"{at}.root: empty; give the folder of the raw data: --config.{at}.root=DIR",
        ),
        _split_rule(s.name, s.split, f"{at}.split"),
        (
            s.depth_type in kind.depth_types,
            f"{at}.depth_type: given {s.depth_type!r}, but {s.name} has "
            f"{', '.join(map(repr, kind.depth_types))}",
        ),
        (
            s.input_depth_type in kind.input_depth_types,
            f"{at}.input_depth_type: given {s.input_depth_type!r}, but {s.name} has "
            f"{', '.join(map(repr, kind.input_depth_types))}",
        ),
        (
            s.name != "image_folder" or bool(s.frames.depth_root) == (s.depth_type == "files"),
            f"{at}.depth_type, {at}.frames.depth_root: given {s.depth_type!r} and "
            f"{s.frames.depth_root!r}; depth maps need both, 'files' and their folder",
        ),
    ]


def _eval_rules(s: SourceConfig, at: str) -> list[Rule]:
    """What holds for evaluation besides `_source_rules`."""
    return [
        (bool(s.depth_type), f"{at}.depth_type: empty, but an evaluation needs depth"),
        (s.repeat == 1, f"{at}.repeat: given {s.repeat}, but an evaluation sees a set once; set 1"),
    ]


def _split_rule(name: str, split: str, at: str) -> Rule:
    splits = DATASETS[name].splits if name else ()
    return (
        not splits or split in splits,
        f"{at}: given {split!r}, but the splits of {name} are {' and '.join(map(repr, splits))}",
    )


def _is_crop(borders: tuple[int | float, ...]) -> bool:
    whole = borders[1::2] if len(borders) == 4 else borders
    return len(borders) in (0, 2, 4) and all(type(value) is int for value in whole)
