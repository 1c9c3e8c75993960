"""Typed configuration: every default lives here, once.

A file in `configs/` calls `default()`, sets its few fields, and returns the `ConfigDict`; flags may
override any of them. `resolve()` rebuilds the frozen dataclasses, checks every value, and is the
last place that sees a `ConfigDict`.
"""

import dataclasses
import math
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ml_collections import ConfigDict

from packnet_jax.errors import ConfigError

SHAPE_MULTIPLE = 32  # the encoders halve an image five times
DEPTH_TYPES = {
    "kitti_raw": ("velodyne", "groundtruth", ""),
    "synthetic_drive": ("dense", "lidar", ""),
}

NetworkKind = Literal["depth_net", "pose_net"]
NETWORK_KINDS: tuple[NetworkKind, ...] = ("depth_net", "pose_net")
DatasetName = Literal["kitti_raw", "synthetic_drive", ""]
MonitoredMode = Literal["depth", "depth_pp", "depth_gt", "depth_pp_gt"]
MonitoredMetric = Literal["abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3"]


def within(default: Any, low: float, high: float = math.inf) -> Any:
    """A field whose value lies in [low, high]."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class NetworkConfig:
    """A network by its name and version in the original: ('DepthResNet', '18')."""

    name: str = ""
    version: str = ""
    imagenet_weights: str = ""
    """torchvision's .pth file of the same ResNet, or monodepth2's encoder.pth or pose_encoder.pth;
    for versions in "pt", such as "18pt", only."""


@dataclass(frozen=True)
class ModelConfig:
    """Which networks are trained."""

    depth_net: NetworkConfig = NetworkConfig("DepthResNet", "18")
    pose_net: NetworkConfig = NetworkConfig("PoseResNet", "18")
    initial_inv_depth: float = within(0.0, 0)
    """The inverse depth that fresh weights start near; 0 for the original's: 5 (DepthResNet) or 1.
    Motion and depth share one scale, which this sets. Where it is large, near pixels run into the
    largest inverse depth that the network has (10 or 2) and can not be learnt."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """What the networks compute in while training. With bfloat16 the parameters, their updates,
    normalisation statistics, the last layers, the loss and all evaluation stay in float32."""


@dataclass(frozen=True)
class InitConfig:
    """Weights that a fresh run starts from; a resumed run does not look at them.

    Each is a checkpoint of the original (.ckpt, .pth.tar), a run's workdir, one step's folder, or
    what `packnet_jax.convert` wrote.
    """

    model: str = ""
    """For both networks."""
    depth_net: str = ""
    pose_net: str = ""

    @property
    def paths(self) -> dict[NetworkKind, str]:
        """Path by network, for the networks that have one."""
        paths: dict[NetworkKind, str] = {
            "depth_net": self.depth_net or self.model,
            "pose_net": self.pose_net or self.model,
        }
        return {kind: path for kind, path in paths.items() if path}


@dataclass(frozen=True)
class LossConfig:
    """The self-supervised objective, under the original's names and with its defaults."""

    num_scales: int = within(4, 1, 4)
    progressive_scaling: float = within(0.0, 0, 1)
    flip_lr_prob: float = within(0.5, 0, 1)
    upsample_depth_maps: bool = True
    ssim_loss_weight: float = within(0.85, 0, 1)
    smooth_loss_weight: float = within(0.001, 0)
    C1: float = within(1e-4, 0)
    C2: float = within(9e-4, 0)
    photometric_reduce_op: Literal["min", "mean"] = "min"
    clip_loss: float = within(0.0, 0)
    padding_mode: Literal["zeros", "border", "reflection"] = "zeros"
    automask_loss: bool = True


@dataclass(frozen=True)
class AdamConfig:
    """Adam for one network."""

    lr: float = within(2e-4, 0)
    warmup_steps: int = within(0, 0)
    """The rate rises linearly over so many first steps. Where networks start from random weights, a
    depth network that moves before the pose network has learnt anything easily ends in a constant.
    """
    weight_decay: float = within(0.0, 0)
    """Added to the gradient, times the parameter, before Adam scales it: torch's, not AdamW's."""


@dataclass(frozen=True)
class OptimConfig:
    """Adam, and the schedule of its rates by epoch."""

    depth: AdamConfig = AdamConfig()
    pose: AdamConfig = AdamConfig()
    scheduler: Literal["StepLR", "CosineAnnealingLR", "ExponentialLR"] = "StepLR"
    step_size: int = within(30, 1)
    """StepLR: epochs between two multiplications of each rate by `gamma`."""
    gamma: float = within(0.5, 0, 1)
    """StepLR, ExponentialLR."""
    T_max: int = within(20, 1)
    """CosineAnnealingLR: the epoch at which the rate reaches 0; after it the rate rises again."""
    clip_norm: float = within(0.0, 0)
    """Largest L2 norm of the gradient of both networks together; 0 leaves it alone."""
    max_nonfinite_steps: int = within(10, 1)
    """This many steps in a row without a finite loss and gradient end the run."""


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
class SourceConfig:
    """One split of one data set; what differs between sets that are used together."""

    name: DatasetName = "kitti_raw"
    """'' chooses none: recipes for data that nothing here reads leave the choice to the user."""
    root: str = ""
    """Folder of the raw data (the one that holds 2011_09_26/ and so on)."""
    split: str = "eigen_zhou"
    """A known name or the path of a split file."""
    depth_type: str = "velodyne"
    """Ground truth: 'velodyne' or 'groundtruth' (the improved one; kitti_raw), 'dense' or 'lidar'
    (synthetic_drive), '' for none."""
    repeat: int = within(1, 1)
    """How often an epoch of training goes through the split."""
    synthetic: SyntheticConfig = SyntheticConfig()

    @property
    def title(self) -> str:
        """`<dataset>-<split>`."""
        return f"{self.name}-{Path(self.split).stem}"


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
    where decoding full pictures would hold up the accelerator (kitti_raw)."""
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


@dataclass(frozen=True)
class TrainConfig:
    """How long to train, and how often to look."""

    batch_size: int = within(4, 1)
    """Samples of one update, over all devices together."""
    accumulate: int = within(1, 1)
    """Into how many parts a batch is split, whose gradients are averaged before one update: less
    memory, the same batch. Batch normalisation sees each part on its own."""
    num_steps: int = within(0, 0)
    """Wins over `num_epochs` where it is not 0."""
    num_epochs: int = within(50, 0)
    log_every_steps: int = within(50, 1)
    image_every_steps: int = within(500, 1)
    eval_every_steps: int = within(0, 0)
    """0 evaluates after every epoch."""
    checkpoint_every_steps: int = within(500, 1)
    keep_latest: int = within(2, 1)
    keep_best: int = within(3, 0)
    monitor_mode: MonitoredMode = "depth_pp_gt"
    monitor_metric: MonitoredMetric = "abs_rel"
    """The evaluation result that says which checkpoints are the best."""


@dataclass(frozen=True)
class EvalConfig:
    """The evaluation protocol."""

    batch_size: int = within(1, 1)
    crop: Literal["garg", ""] = "garg"
    min_depth: float = within(0.0, 0)
    max_depth: float = within(80.0, 0)
    scale_output: Literal["resize", "top-center"] = "resize"
    num_pictures: int = within(5, 0)
    """How many pictures with their inverse depth each evaluation writes."""
    median_baseline: bool = False
    """Also score the training set's per-pixel median depth map, which has learnt nothing."""


@dataclass(frozen=True)
class Config:
    """One experiment."""

    seed: int = within(42, 0)
    model: ModelConfig = ModelConfig()
    init: InitConfig = InitConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()


def default() -> Any:
    """Every default, as a locked `ConfigDict`: a misspelt field fails where it is written."""
    return ConfigDict(_fields_of(Config())).lock()


def source(**fields: Any) -> Any:
    """A further set for `data.more_train` or `data.more_eval`; fields of `SourceConfig`.

    `c.data.more_train = (config.source(name="kitti_raw", root="DIR", split="eigen_zhou"),)`; the
    command line overrides it with `--config.data.more_train[0].root=DIR`, quoted for the shell.
    """
    return ConfigDict(_fields_of(SourceConfig(**fields))).lock()


def resolve(config: ConfigDict | dict[str, Any]) -> Config:
    """Rebuilds and checks the typed configuration.

    Raises:
        ConfigError: an unknown field, a wrong type, a value out of range. All findings
            are in one message.
    """
    problems: list[str] = []
    resolved = _build(Config, config, "config", problems)
    if not problems:
        problems += _violations(resolved)
    if problems:
        raise ConfigError("the configuration does not hold:\n  " + "\n  ".join(problems))
    return resolved


def to_json_dict(config: Config) -> dict[str, Any]:
    """The configuration as plain dictionaries, ready for JSON; `resolve` reads it back."""
    return dataclasses.asdict(config)


def _fields_of(node: Any) -> dict[str, Any]:
    values = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}
    return {k: _fields_of(v) if dataclasses.is_dataclass(v) else v for k, v in values.items()}


def _build(cls: Any, raw: Any, path: str, problems: list[str]) -> Any:
    if isinstance(raw, ConfigDict):  # at every level: its `to_dict` does not look into tuples
        raw = raw.to_dict()
    if not isinstance(raw, dict):
        problems.append(f"{path}: given {raw!r}, expected a group of fields")
        return None
    hints = typing.get_type_hints(cls)
    problems += [
        f"{path}.{key}: unknown field; known: {', '.join(hints)}" for key in raw if key not in hints
    ]
    values = {}
    for field in dataclasses.fields(cls):
        where, hint = f"{path}.{field.name}", hints[field.name]
        if field.name not in raw:
            continue  # stored before the field existed: its default says what was done then
        value = _coerce(hint, raw[field.name], where, problems)
        values[field.name] = value
        low, high = field.metadata.get("low"), field.metadata.get("high")
        if value is not None and low is not None and not low <= value <= high:
            wanted = f"at least {low}" if high == math.inf else f"{low} to {high}"
            problems.append(f"{where}: given {value!r}, expected {wanted}")
    return None if problems else cls(**values)


def _coerce(hint: Any, value: Any, path: str, problems: list[str]) -> Any:
    """The value in the type of the hint; otherwise None, and a problem more."""
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, path, problems)
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        if value in arguments:
            return value
        expected = "one of " + ", ".join(map(repr, arguments))
    elif typing.get_origin(hint) is tuple:
        length_fits = arguments[-1] is Ellipsis or (
            isinstance(value, (tuple, list)) and len(value) == len(arguments)
        )
        if isinstance(value, (tuple, list)) and length_fits:
            items = enumerate(value)
            return tuple(_coerce(arguments[0], v, f"{path}[{i}]", problems) for i, v in items)
        expected = str(hint)
    elif hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    elif hint == int | float:  # the two mean different things
        if type(value) in (int, float) and math.isfinite(value):
            return value
        expected = "a finite number"
    elif hint is not float and type(value) is hint:
        return value
    else:
        expected = "a finite number" if hint is float else hint.__name__
    problems.append(f"{path}: given {value!r} ({type(value).__name__}), expected {expected}")
    return None


def _violations(c: Config) -> list[str]:
    """What no single field's type and range say; each entry names fields, values and remedy."""
    data, evaluation = c.data, c.eval
    nearest = tuple(max(1, round(v / SHAPE_MULTIPLE)) * SHAPE_MULTIPLE for v in data.image_shape)
    more_train = [(s, f"data.more_train[{i}]") for i, s in enumerate(data.more_train)]
    more_eval = [(s, f"data.more_eval[{i}]") for i, s in enumerate(data.more_eval)]
    rules = [
        *(
            rule
            for field, network in (("depth_net", c.model.depth_net), ("pose_net", c.model.pose_net))
            for rule in (_imagenet_rule(field, network), _init_rule(field, network, c.init))
        ),
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
            data.crop_train_borders == data.crop_eval_borders or not evaluation.median_baseline,
            "data.crop_train_borders, data.crop_eval_borders, eval.median_baseline: the training "
            "set's median depth map can not stand in for pictures that are cropped differently; "
            "crop alike or set eval.median_baseline=False",
        ),
        (
            data.name == "kitti_raw" or not data.store_resized,
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
        (
            c.loss.photometric_reduce_op == "min" or not c.loss.automask_loss,
            "loss.photometric_reduce_op, loss.automask_loss: given 'mean' and True, but "
            "automasking compares minima; with 'mean' set loss.automask_loss=False",
        ),
        (
            evaluation.min_depth < evaluation.max_depth,
            f"eval.min_depth, eval.max_depth: given {evaluation.min_depth} and "
            f"{evaluation.max_depth}, expected min < max",
        ),
        (
            c.train.batch_size % c.train.accumulate == 0,
            f"train.accumulate: given {c.train.accumulate} with train.batch_size="
            f"{c.train.batch_size}, but the parts of a batch must be equal; use a divisor",
        ),
        (
            c.train.num_steps + c.train.num_epochs > 0,
            "train.num_steps, train.num_epochs: both 0; set one",
        ),
    ]
    return [f"config.{message}" for holds, message in rules if not holds]


def _source_rules(s: SourceConfig, at: str) -> list[tuple[bool, str]]:
    if not s.name:
        return []
    depth_types = DEPTH_TYPES[s.name]
    return [
        (
            s.name != "kitti_raw" or bool(s.root),
            f"{at}.root: empty; give the folder of the raw data: --config.{at}.root=DIR",
        ),
        _split_rule(s.name, s.split, f"{at}.split"),
        (
            s.depth_type in depth_types,
            f"{at}.depth_type: given {s.depth_type!r}, but {s.name} has "
            f"{', '.join(map(repr, depth_types))}",
        ),
    ]


def _eval_rules(s: SourceConfig, at: str) -> list[tuple[bool, str]]:
    """What holds for evaluation besides `_source_rules`."""
    return [
        (bool(s.depth_type), f"{at}.depth_type: empty, but an evaluation needs depth"),
        (s.repeat == 1, f"{at}.repeat: given {s.repeat}, but an evaluation sees a set once; set 1"),
    ]


def _split_rule(name: str, split: str, at: str) -> tuple[bool, str]:
    return (
        name != "synthetic_drive" or split in ("train", "test"),
        f"{at}: given {split!r}, but the splits of synthetic_drive are 'train' and 'test'",
    )


def _is_crop(borders: tuple[int | float, ...]) -> bool:
    whole = borders[1::2] if len(borders) == 4 else borders
    return len(borders) in (0, 2, 4) and all(type(value) is int for value in whole)


def _imagenet_rule(field: str, network: NetworkConfig) -> tuple[bool, str]:
    """A version that starts from ImageNet weights says where they are, and no other does."""
    wanted, plain = network.version.endswith("pt"), network.version.removesuffix("pt")
    given = network.imagenet_weights
    if wanted:
        problem = (
            f"empty, but version {network.version!r} starts from ImageNet weights; give the path "
            f"of torchvision's resnet{plain} .pth file, or take version {plain!r}"
        )
    else:
        problem = (
            f"given {given!r}, but version {network.version!r} does not start from ImageNet "
            "weights; leave it empty, or take a ResNet whose version ends in 'pt', such as '18pt'"
        )
    return wanted == bool(given), f"model.{field}.imagenet_weights: {problem}"


def _init_rule(field: str, network: NetworkConfig, init: InitConfig) -> tuple[bool, str]:
    """A network starts from one file."""
    given = {
        "init.model": init.model,
        f"init.{field}": getattr(init, field),
        f"model.{field}.imagenet_weights": network.imagenet_weights,
    }
    given = {name: value for name, value in given.items() if value}
    return len(given) <= 1, (
        f"{', '.join(given)}: given {', '.join(map(repr, given.values()))}, but a network starts "
        "from one file; empty the others (init.model is for both networks)"
    )
