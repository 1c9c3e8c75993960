"""Which data sets there are, which of them a run reads, and how samples are made of them."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from packnet_jax.typed_config import within

JitterPlace = Literal["host", "device"]

SHAPE_MULTIPLE = 32  # the encoders halve an image five times


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
    """Where built sets live; made on first use. A URL such as gs://BUCKET/tfds is where they come
    from: each machine keeps a copy in its cache folder."""
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
    jitter_on: JitterPlace = "host"
    """Who jitters, by the same draws: 'host' with Pillow, as the original, or 'device', at most one
    of 256 levels away from that: on an accelerator, where the run waits for its input."""
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
    """Batches that are ready or at work ahead of the step; at least one for each thread."""

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
