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
    has_beams: bool = False
    """Whether the beams of its laser scanner can be told apart."""
    has_cameras: bool = False
    """Whether it has several cameras to choose from."""


DATASETS = {
    "kitti_raw": DatasetKind(
        depth_types=("velodyne", "groundtruth", ""),
        input_depth_types=("velodyne", "groundtruth", ""),
        can_store_resized=True,
        has_beams=True,
    ),
    "kitti_odometry": DatasetKind(
        depth_types=("velodyne", ""),
        input_depth_types=("",),
    ),
    "synthetic_drive": DatasetKind(
        depth_types=("dense", "lidar", ""),
        input_depth_types=("lidar", ""),
        splits=("train", "test"),
        needs_root=False,
        has_cameras=True,
        has_beams=True,
    ),
    "ddad": DatasetKind(
        depth_types=("lidar", ""),
        input_depth_types=("lidar", ""),
        splits=("train", "val", "test", "train_overfit"),
        can_store_resized=True,
        has_cameras=True,
    ),
    "cityscapes": DatasetKind(
        depth_types=("",),
        input_depth_types=("",),
        splits=("train", "val", "test"),
        can_store_resized=True,
    ),
    "image_folder": DatasetKind(
        depth_types=("", "files"),
        input_depth_types=("",),
        splits=("train", "val", "all"),
        can_store_resized=True,
    ),
}
SCANNED = ("velodyne", "lidar")
"""Depth types that a laser scanner's beams are told apart in."""
DatasetName = Literal[
    "kitti_raw", "kitti_odometry", "synthetic_drive", "ddad", "cityscapes", "image_folder", ""
]


@dataclass(frozen=True)
class SyntheticConfig:
    """The rendered streets of `synthetic_drive` (read only where `name` is that)."""

    num_streets: int = within(40, 1)
    num_test_streets: int = within(10, 1)
    frames_per_street: int = within(12, 1)
    focal_ratio: float = within(0.58, 0.1, 10)
    """Focal length over image width; 0.58 is close to KITTI's."""
    moving_cars: bool = True
    camera: Literal["pinhole", "fisheye", "catadioptric"] = "pinhole"
    """The last two have depth along the ray, and rays instead of a focal length; see
    `tfds_builders.synthetic_drive`."""
    rig: Literal["single", "six"] = "single"
    """One camera, or six around the car, named as DDAD's: each a stream of its own."""


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
    """Folder of the raw data: the one that holds 2011_09_26/ and so on (kitti_raw), or
    leftImg8bit_sequence/ (cityscapes). For ddad the JSON that lists the scenes, such as ddad.json,
    or its folder; for image_folder a folder of pictures, or a video."""
    split: str = "eigen_zhou"
    """A known name; for kitti_raw also the path of a split file, for kitti_odometry sequences, such
    as '09' or '00-08', of image_folder 'train', 'val' or 'all'."""
    cameras: tuple[str, ...] = ()
    """Cameras of a rig (ddad, synthetic_drive), such as ('camera_01', 'camera_05'): each picture is
    a sample of its own. () for all there are."""
    depth_type: str = "velodyne"
    """Ground truth: 'velodyne' or 'groundtruth' (the improved one; kitti_raw), 'velodyne'
    (kitti_odometry), 'dense' or 'lidar' (synthetic_drive), 'lidar' (ddad), 'files'
    (image_folder), '' for none: training then evaluates nothing, and shows pictures alone."""
    input_depth_type: str = ""
    """Sparse depth that the network gets beside the picture (PackNetSAN01): 'velodyne' or
    'groundtruth' (kitti_raw), 'lidar' (synthetic_drive, ddad), '' for none."""
    beams: Literal[0, 1, 2, 4, 8, 16, 32] = 0
    """How many of the laser scanner's 64 beams 'velodyne' and 'lidar' keep, where they are trained
    with or given to a network; 0 for all. The depth that an evaluation compares with is whole."""
    repeat: int = within(1, 1)
    """How often an epoch of training goes through the split."""
    allow_missing: float = within(0.01, 0, 1)
    """Share of the split's pictures that may be missing or damaged; they are skipped and counted.
    More of them are an error when the set is built. A single one is always let go."""
    synthetic: SyntheticConfig = SyntheticConfig()
    frames: FolderConfig = FolderConfig()

    @property
    def title(self) -> str:
        """`<dataset>-<split>[-<cameras>][-with_<input_depth_type>[_<beams>]]`."""
        name = "-".join([self.name or "none", Path(self.split).stem, *map(str.lower, self.cameras)])
        beams = f"_{self.beams}" if self.beams and self.input_depth_type in SCANNED else ""
        return f"{name}-with_{self.input_depth_type}{beams}" if self.input_depth_type else name


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
    """Sets that are evaluated after the first, or, if that has no depth, instead of it; each on its
    own. The first of those evaluated chooses checkpoints."""
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
    input_depth_keep: tuple[float, float] = (1.0, 1.0)
    """Training draws for each sample which share of its input depth's points is kept, from this
    range, and then the points; (1, 1) keeps them all."""
    jittering: tuple[float, ...] = (0.2, 0.2, 0.2, 0.05)
    """Brightness, contrast, saturation, hue; () switches jitter off."""
    back_context: int = within(1, 0)
    forward_context: int = within(1, 0)
    strides: tuple[int, ...] = (1,)
    shuffle: bool = True
    stack_cameras: bool = False
    """Keep what the cameras of a rig took at one moment together: one after the other, in the order
    of `cameras`, in the same batch (ddad). Moments that lack a camera are left out."""
    cache_resized: bool = False
    """Keep resized images in memory: for sets small enough, such as KITTI_tiny."""
    store_resized: bool = False
    """Build sets whose pictures are cropped and resized to `image_shape` already: for long runs,
    where decoding full pictures would hold up the accelerator (all but synthetic_drive)."""
    num_threads: int = within(4, 1)
    prefetch: int = within(8, 1)

    @property
    def train_sources(self) -> tuple[SourceConfig, ...]:
        """What training mixes."""
        return (self._first(self.split), *self.more_train)

    @property
    def eval_sources(self) -> tuple[SourceConfig, ...]:
        """What is evaluated, one after the other: without depth, the first set only if alone."""
        first = (self._first(self.eval_split),)
        return self.more_eval if self.more_eval and not self.depth_type else first + self.more_eval

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
            0 <= data.input_depth_keep[0] <= data.input_depth_keep[1] <= 1,
            f"data.input_depth_keep: given {data.input_depth_keep}, expected (lowest, "
            "highest) with 0 <= lowest <= highest <= 1",
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
            not data.stack_cameras
            or all(s.name and DATASETS[s.name].has_cameras for s in data.train_sources),
            "data.stack_cameras: given True, but only "
            f"{', '.join(name for name, kind in DATASETS.items() if kind.has_cameras)} has rigs of "
            "cameras; set False, or train on that alone",
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
            kind.has_cameras or not s.cameras,
            f"{at}.cameras: given {s.cameras}, but {s.name} has one camera; leave it ()",
        ),
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
            not s.beams or kind.has_beams,
            f"{at}.beams: given {s.beams}, but the beams of {s.name} can not be told apart; set 0",
        ),
        (
            not s.beams or not {s.depth_type, s.input_depth_type}.isdisjoint(SCANNED),
            f"{at}.beams: given {s.beams}, but neither depth_type nor input_depth_type is "
            f"{' or '.join(map(repr, SCANNED))}; set 0",
        ),
        (
            s.name != "image_folder" or bool(s.frames.depth_root) == (s.depth_type == "files"),
            f"{at}.depth_type, {at}.frames.depth_root: given {s.depth_type!r} and "
            f"{s.frames.depth_root!r}; depth maps need both, 'files' and their folder",
        ),
        *(_synthetic_rules(s, at) if s.name == "synthetic_drive" else ()),
    ]


def _synthetic_rules(s: SourceConfig, at: str) -> list[Rule]:
    streets = s.synthetic
    return [
        (
            streets.rig == "single" or streets.camera != "catadioptric",
            f"{at}.synthetic.rig: given 'six', but each catadioptric camera sees all round; set "
            "'single'",
        ),
        (
            streets.rig == "six" or not s.cameras,
            f"{at}.cameras: given {s.cameras}, but a single camera is all there is; leave it (), "
            f"or set {at}.synthetic.rig to 'six'",
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
