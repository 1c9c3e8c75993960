"""Typed configuration: every default lives here, once.

A file in `configs/` calls `default()`, sets its few fields, and returns the `ConfigDict`; flags may
override any of them. `resolve()` rebuilds the frozen dataclasses, checks every value, and is the
last place that sees a `ConfigDict`.
"""

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict

from packnet_jax.errors import ConfigError

DATASETS = ("kitti_raw", "synthetic_drive")
DEPTH_TYPES = {"kitti_raw": ("velodyne", ""), "synthetic_drive": ("dense", "lidar", "")}
SHAPE_MULTIPLE = 32  # the encoders halve an image five times


@dataclass(frozen=True)
class NetworkConfig:
    """A network by its name and version in the original: ('DepthResNet', '18')."""

    name: str = ""
    version: str = ""


@dataclass(frozen=True)
class ModelConfig:
    """Which networks are trained."""

    depth_net: NetworkConfig = NetworkConfig("DepthResNet", "18")
    pose_net: NetworkConfig = NetworkConfig("PoseResNet", "18")


@dataclass(frozen=True)
class LossConfig:
    """The self-supervised objective, under the original's names and with its defaults."""

    num_scales: int = 4
    progressive_scaling: float = 0.0
    flip_lr_prob: float = 0.5
    upsample_depth_maps: bool = True
    ssim_loss_weight: float = 0.85
    smooth_loss_weight: float = 0.001
    C1: float = 1e-4
    C2: float = 9e-4
    photometric_reduce_op: str = "min"
    clip_loss: float = 0.0
    padding_mode: str = "zeros"
    automask_loss: bool = True


@dataclass(frozen=True)
class LearningRateConfig:
    """Adam's learning rate for one network."""

    lr: float = 2e-4


@dataclass(frozen=True)
class OptimConfig:
    """Adam with StepLR: each rate is multiplied by `gamma` every `step_size` epochs."""

    depth: LearningRateConfig = LearningRateConfig()
    pose: LearningRateConfig = LearningRateConfig()
    step_size: int = 30
    gamma: float = 0.5
    clip_norm: float = 0.0
    """Largest L2 norm of the gradient of both networks together; 0 leaves it alone."""
    max_nonfinite_steps: int = 10
    """This many steps in a row without a finite loss and gradient end the run."""


@dataclass(frozen=True)
class SyntheticConfig:
    """The rendered streets of `synthetic_drive` (read only when `data.name` is that)."""

    num_streets: int = 40
    num_test_streets: int = 10
    frames_per_street: int = 12
    moving_cars: bool = True


@dataclass(frozen=True)
class DataConfig:
    """Where samples come from and how they are prepared."""

    name: str = "kitti_raw"
    root: str = ""
    """Folder of the raw data (the one that holds 2011_09_26/ and so on)."""
    tfds_dir: str = "tfds"
    """Where built sets live; made on first use."""
    split: str = "eigen_zhou_train"
    """A known name or the path of a split file."""
    eval_split: str = "eigen_test"
    image_shape: tuple[int, int] = (192, 640)
    jittering: tuple[float, ...] = (0.2, 0.2, 0.2, 0.05)
    """Brightness, contrast, saturation, hue; () switches jitter off."""
    back_context: int = 1
    forward_context: int = 1
    strides: tuple[int, ...] = (1,)
    depth_type: str = "velodyne"
    repeat: int = 1
    """How often the split is gone through in one epoch."""
    shuffle: bool = True
    cache_resized: bool = False
    """Keep resized images in memory: for sets small enough, such as KITTI_tiny."""
    num_threads: int = 4
    prefetch: int = 8
    synthetic: SyntheticConfig = SyntheticConfig()


@dataclass(frozen=True)
class TrainConfig:
    """How long to train, and how often to look."""

    batch_size: int = 4
    """Over all devices together."""
    num_steps: int = 0
    """Wins over `num_epochs` where it is not 0."""
    num_epochs: int = 50
    log_every_steps: int = 50
    image_every_steps: int = 500
    eval_every_steps: int = 0
    """0 evaluates after every epoch."""
    checkpoint_every_steps: int = 500
    keep_latest: int = 2
    keep_best: int = 3
    monitor: str = "depth_pp_gt/abs_rel"
    """`mode/metric` that says which checkpoints are best; smaller is better but for a1, a2, a3."""


@dataclass(frozen=True)
class EvalConfig:
    """The evaluation protocol."""

    batch_size: int = 1
    crop: str = "garg"
    min_depth: float = 0.0
    max_depth: float = 80.0
    scale_output: str = "resize"
    num_pictures: int = 5
    """How many pictures with their inverse depth each evaluation writes."""
    median_baseline: bool = False
    """Also score the training set's per-pixel median depth map, which has learnt nothing."""


@dataclass(frozen=True)
class Config:
    """One experiment."""

    seed: int = 42
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = field(default_factory=EvalConfig)


def default() -> ConfigDict:
    """Every default, as a locked `ConfigDict`: a misspelt field fails where it is written."""
    return ConfigDict(_fields_of(Config())).lock()


def resolve(config: ConfigDict | dict[str, Any]) -> Config:
    """Rebuilds and checks the typed configuration.

    Raises:
        ConfigError: an unknown or missing field, a wrong type, a value out of range. All findings
            are in one message.
    """
    raw = config.to_dict() if isinstance(config, ConfigDict) else config
    problems: list[str] = []
    resolved = _build(Config, raw, "config", problems)
    if not problems:
        problems = _violations(resolved)
    if problems:
        raise ConfigError("the configuration does not hold:\n  " + "\n  ".join(problems))
    return resolved


def to_json_dict(config: Config) -> dict[str, Any]:
    """The configuration as plain dictionaries, ready for JSON; `resolve` reads it back."""
    return dataclasses.asdict(config)


def _fields_of(node: Any) -> dict[str, Any]:
    values = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}
    return {k: _fields_of(v) if dataclasses.is_dataclass(v) else v for k, v in values.items()}


def _build(cls: type, raw: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(raw, dict):
        problems.append(f"{path}: given {raw!r}, expected a group of fields")
        return None
    hints = typing.get_type_hints(cls)
    problems += [
        f"{path}.{key}: unknown field; known: {', '.join(hints)}" for key in raw if key not in hints
    ]
    values = {}
    for name, hint in hints.items():
        where = f"{path}.{name}"
        if name not in raw:
            problems.append(f"{where}: missing")
        elif dataclasses.is_dataclass(hint):
            values[name] = _build(typing.cast(type, hint), raw[name], where, problems)
        else:
            values[name] = _coerce(hint, raw[name], where, problems)
    return None if problems else cls(**values)


def _coerce(hint: Any, value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(hint, types.GenericAlias):  # tuple[int, int] or tuple[float, ...]
        element, *rest = typing.get_args(hint)
        open_ended = rest == [Ellipsis]
        length_fits = open_ended or (
            isinstance(value, (tuple, list)) and len(value) == len(typing.get_args(hint))
        )
        if isinstance(value, (tuple, list)) and length_fits:
            items = enumerate(value)
            return tuple(_coerce(element, v, f"{path}[{i}]", problems) for i, v in items)
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif type(value) is hint:
        return value
    wanted = hint if isinstance(hint, types.GenericAlias) else hint.__name__
    problems.append(f"{path}: given {value!r} ({type(value).__name__}), expected {wanted}")
    return None


def _violations(c: Config) -> list[str]:
    """What the types alone do not say; each entry names field, value and remedy."""
    height, width = c.data.image_shape
    modes = ("depth", "depth_pp", "depth_gt", "depth_pp_gt")
    metrics = ("abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3")
    monitors = [f"{mode}/{metric}" for mode in modes for metric in metrics]
    rules = [
        (
            height > 0 and width > 0 and height % SHAPE_MULTIPLE == width % SHAPE_MULTIPLE == 0,
            f"data.image_shape: given {c.data.image_shape}, but height and width must be positive "
            f"multiples of {SHAPE_MULTIPLE}; nearest: "
            f"{tuple(max(1, round(v / SHAPE_MULTIPLE)) * SHAPE_MULTIPLE for v in (height, width))}",
        ),
        _one_of("data.name", c.data.name, DATASETS),
        (
            len(c.data.jittering) in (0, 4) and all(v >= 0 for v in c.data.jittering),
            f"data.jittering: given {c.data.jittering}, expected () or four values >= 0",
        ),
        (
            c.data.back_context + c.data.forward_context >= 1,
            "data.back_context + data.forward_context: no context frame at all, but "
            "self-supervision compares frames; set one of them to 1",
        ),
        (
            len(c.data.strides) > 0 and all(s >= 1 for s in c.data.strides),
            f"data.strides: given {c.data.strides}, expected at least one stride >= 1",
        ),
        (
            c.data.name != "kitti_raw" or bool(c.data.root),
            "data.root: empty; give the folder of the raw data: --config.data.root=DIR",
        ),
        _one_of("data.depth_type", c.data.depth_type, DEPTH_TYPES.get(c.data.name, ())),
        (
            1 <= c.loss.num_scales <= 4,
            f"loss.num_scales: given {c.loss.num_scales}, expected 1 to 4",
        ),
        (
            0 <= c.loss.progressive_scaling <= 1,
            f"loss.progressive_scaling: given {c.loss.progressive_scaling}, expected 0 to 1",
        ),
        (
            0 <= c.loss.flip_lr_prob <= 1,
            f"loss.flip_lr_prob: given {c.loss.flip_lr_prob}, expected a probability",
        ),
        (
            0 <= c.loss.ssim_loss_weight <= 1,
            f"loss.ssim_loss_weight: given {c.loss.ssim_loss_weight}, expected 0 to 1",
        ),
        _one_of("loss.photometric_reduce_op", c.loss.photometric_reduce_op, ("min", "mean")),
        (
            c.loss.photometric_reduce_op == "min" or not c.loss.automask_loss,
            "loss.automask_loss: automasking compares minima; with loss.photometric_reduce_op="
            "'mean' set loss.automask_loss=False",
        ),
        _one_of("loss.padding_mode", c.loss.padding_mode, ("zeros", "border", "reflection")),
        _one_of("eval.crop", c.eval.crop, ("", "garg")),
        _one_of("eval.scale_output", c.eval.scale_output, ("resize", "top-center")),
        (
            0 <= c.eval.min_depth < c.eval.max_depth,
            f"eval.min_depth, eval.max_depth: given {c.eval.min_depth} and {c.eval.max_depth}, "
            "expected 0 <= min < max",
        ),
        _one_of("train.monitor", c.train.monitor, monitors),
        (
            c.train.num_steps > 0 or c.train.num_epochs > 0,
            "train.num_steps, train.num_epochs: both 0; set one",
        ),
        (0 < c.optim.gamma <= 1, f"optim.gamma: given {c.optim.gamma}, expected in (0, 1]"),
    ]
    at_least: list[tuple[str, float, float]] = [
        ("seed", c.seed, 0),
        ("data.back_context", c.data.back_context, 0),
        ("data.forward_context", c.data.forward_context, 0),
        ("data.repeat", c.data.repeat, 1),
        ("data.num_threads", c.data.num_threads, 1),
        ("data.prefetch", c.data.prefetch, 1),
        ("data.synthetic.num_streets", c.data.synthetic.num_streets, 1),
        ("data.synthetic.num_test_streets", c.data.synthetic.num_test_streets, 1),
        ("data.synthetic.frames_per_street", c.data.synthetic.frames_per_street, 1),
        ("loss.smooth_loss_weight", c.loss.smooth_loss_weight, 0),
        ("loss.clip_loss", c.loss.clip_loss, 0),
        ("optim.depth.lr", c.optim.depth.lr, 0),
        ("optim.pose.lr", c.optim.pose.lr, 0),
        ("optim.step_size", c.optim.step_size, 1),
        ("optim.clip_norm", c.optim.clip_norm, 0),
        ("optim.max_nonfinite_steps", c.optim.max_nonfinite_steps, 1),
        ("train.batch_size", c.train.batch_size, 1),
        ("train.num_steps", c.train.num_steps, 0),
        ("train.num_epochs", c.train.num_epochs, 0),
        ("train.log_every_steps", c.train.log_every_steps, 1),
        ("train.image_every_steps", c.train.image_every_steps, 1),
        ("train.eval_every_steps", c.train.eval_every_steps, 0),
        ("train.checkpoint_every_steps", c.train.checkpoint_every_steps, 1),
        ("train.keep_latest", c.train.keep_latest, 1),
        ("train.keep_best", c.train.keep_best, 0),
        ("eval.batch_size", c.eval.batch_size, 1),
        ("eval.num_pictures", c.eval.num_pictures, 0),
    ]
    rules += [
        (v >= low, f"{name}: given {v}, expected at least {low}") for name, v, low in at_least
    ]
    return [f"config.{message}" for holds, message in rules if not holds]


def _one_of(name: str, value: str, allowed: tuple[str, ...] | list[str]) -> tuple[bool, str]:
    return (
        value in allowed,
        f"{name}: given {value!r}, expected one of {', '.join(map(repr, allowed))}",
    )
