"""Typed configuration: every default lives here, once.

A file in `configs/` calls `default()`, sets its few fields, and returns the `ConfigDict`; flags may
override any of them. `resolve()` rebuilds the frozen dataclasses, checks every value, and is the
last place that sees a `ConfigDict`.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from ml_collections import ConfigDict

from packnet_jax.data_config import DataConfig, SourceConfig
from packnet_jax.data_rules import Rule, data_rules
from packnet_jax.errors import ConfigError
from packnet_jax.loss_config import LossConfig, Needs, ObjectiveName, needs_of
from packnet_jax.typed_config import build, fields_of, within

NetworkKind = Literal["depth_net", "pose_net"]
NETWORK_KINDS: tuple[NetworkKind, ...] = ("depth_net", "pose_net")
ComputeDtype = Literal["float32", "bfloat16"]
"""What a network computes in; "float32" leaves its parameters' own type."""
MonitoredMode = Literal["depth", "depth_pp", "depth_gt", "depth_pp_gt"]
MonitoredMetric = Literal["abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3"]


@dataclass(frozen=True)
class NetworkConfig:
    """A network by its name and version in the original: ('DepthResNet', '18')."""

    name: str = ""
    version: str = ""
    imagenet_weights: str = ""
    """torchvision's .pth file of the same ResNet, or monodepth2's encoder.pth or pose_encoder.pth;
    for versions in "pt", such as "18pt", only."""
    dropout: float = within(0.0, 0, 1)
    """Share of channels that training drops from residual shortcuts, below 1; PackNets only."""


@dataclass(frozen=True)
class ModelConfig:
    """Which networks are trained."""

    depth_net: NetworkConfig = NetworkConfig("DepthResNet", "18")
    pose_net: NetworkConfig = NetworkConfig("PoseResNet", "18")
    initial_inv_depth: float = within(0.0, 0)
    """The inverse depth that fresh weights start near; 0 for the original's: 5 (DepthResNet) or 1.
    Motion and depth share one scale, which this sets. Where it is large, near pixels run into the
    largest inverse depth that the network has (10 or 2) and can not be learnt."""
    packing: Literal["fused", "reference"] = "fused"
    """How PackNet's packing blocks compute: both of their convolutions as one wherever that costs
    less, or as the paper writes them. Weights and depth are the same, up to rounding."""
    compute_dtype: ComputeDtype = "float32"
    """What the networks compute in while training. With bfloat16 the parameters, their updates,
    normalisation statistics, the last layers, the loss and all evaluation stay in float32."""
    batch_norm_groups: int = within(1, 1)
    """Into how many runs of samples batch normalisation splits a batch (with `train.accumulate`,
    each part of it) in training, each normalised by its own statistics. 1: those of all. The
    original's 8 workers had those of 4 samples each: 8 with a batch of 32, on any devices."""


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
class TrainConfig:
    """How long to train, and how often to look."""

    batch_size: int = within(4, 1)
    """Samples of one update, over all devices of all processes together: a multiple of their
    number times `accumulate`. Learning rates belong to it, however many devices there are."""
    accumulate: int = within(1, 1)
    """Into how many parts a batch is split, whose gradients are averaged before one update: less
    memory, the same batch. Batch normalisation sees each part on its own."""
    fsdp: int = within(1, 1)
    """How many devices share parameters and Adam's state between them; a divisor of their number.
    Less memory, more to send, the same numbers up to rounding. 1: each device holds all of it."""
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
    compute_dtype: ComputeDtype = "float32"
    """What the network computes in. With bfloat16 its normalisations and last layers, and the
    metrics, stay in float32; meant for accelerators (`--half` in the original)."""
    snippet_frames: int = within(5, 2)
    """Camera motion (`--mode=eval_pose`) is also scored over snippets of so many frames."""
    num_pictures: int = within(5, 0)
    """How many pictures with their inverse depth each evaluation writes."""
    median_baseline: bool = False
    """Also score the training set's per-pixel median depth map, which has learnt nothing."""


@dataclass(frozen=True)
class SaveDepthConfig:
    """What is written of each picture, under the original's names."""

    rgb: bool = True
    """The picture as the network sees it."""
    viz: bool = True
    """Inverse depth in colours."""
    npz: bool = True
    """`depth` as predicted, exact (metres if the network learned metres), and `intrinsics`."""
    png: bool = True
    """The same depth times 256, 16 bit."""


@dataclass(frozen=True)
class SaveConfig:
    """What `--mode=eval` writes beside its reports."""

    folder: str = ""
    """'' for nothing."""
    depth: SaveDepthConfig = SaveDepthConfig()


@dataclass(frozen=True)
class Config:
    """One experiment."""

    seed: int = within(42, 0)
    objective: ObjectiveName = "self_supervised"
    """What is learnt from a batch; its settings are in `loss`."""
    model: ModelConfig = ModelConfig()
    init: InitConfig = InitConfig()
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optim: OptimConfig = OptimConfig()
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    save: SaveConfig = SaveConfig()

    @property
    def needs(self) -> Needs:
        """What the objective asks of networks and data."""
        return needs_of(self.objective, self.loss)


def default() -> Any:
    """Every default, as a locked `ConfigDict`: a misspelt field fails where it is written."""
    return ConfigDict(fields_of(Config())).lock()


def source(**fields: Any) -> Any:
    """A further set for `data.more_train` or `data.more_eval`; fields of `SourceConfig`.

    `c.data.more_train = (config.source(name="kitti_raw", root="DIR", split="eigen_zhou"),)`; the
    command line overrides it with `--config.data.more_train[0].root=DIR`, quoted for the shell.
    """
    return ConfigDict(fields_of(SourceConfig(**fields))).lock()


def resolve(config: ConfigDict | dict[str, Any], *, to_train: bool = True) -> Config:
    """Rebuilds and checks the typed configuration.

    Args:
        to_train: whether what the objective asks for must hold, too; an evaluation learns nothing.

    Raises:
        ConfigError: an unknown field, a wrong type, a value out of range. All findings
            are in one message.
    """
    resolved = check_fields(config)
    _raise_any(_violations(resolved, to_train=to_train))
    return resolved


def check_fields(config: ConfigDict | dict[str, Any]) -> Config:
    """Rebuilds the typed configuration, and checks each field on its own: that it is known, its
    type and its range.

    Raises:
        ConfigError: as `resolve`.
    """
    problems: list[str] = []
    built = build(Config, config, "config", problems)
    _raise_any(problems)
    return built


def _raise_any(problems: list[str]) -> None:
    if problems:
        raise ConfigError("the configuration does not hold:\n  " + "\n  ".join(problems))


def to_json_dict(config: Config) -> dict[str, Any]:
    """The configuration as plain dictionaries, ready for JSON; `resolve` reads it back."""
    return dataclasses.asdict(config)


def _violations(c: Config, *, to_train: bool) -> list[str]:
    """What no single field's type and range say; each entry names fields, values and remedy."""
    data, evaluation = c.data, c.eval
    rules = [
        *(
            rule
            for field, network in (("depth_net", c.model.depth_net), ("pose_net", c.model.pose_net))
            for rule in (_imagenet_rule(field, network), _init_rule(field, network, c.init))
        ),
        (
            c.model.depth_net.dropout < 1,
            "model.depth_net.dropout: given 1.0, which would drop everything; choose less than 1",
        ),
        (
            c.model.pose_net.dropout == 0,
            f"model.pose_net.dropout: given {c.model.pose_net.dropout}, but no pose network has "
            "dropout; leave it 0",
        ),
        (
            data.crop_train_borders == data.crop_eval_borders or not evaluation.median_baseline,
            "data.crop_train_borders, data.crop_eval_borders, eval.median_baseline: the training "
            "set's median depth map can not stand in for pictures that are cropped differently; "
            "crop alike or set eval.median_baseline=False",
        ),
        *data_rules(data),
        *(_objective_rules(c) if to_train else ()),
        (
            bool(data.depth_type) or not evaluation.median_baseline,
            "data.depth_type, eval.median_baseline: given '' and True, but a median of depth needs "
            "depth; set eval.median_baseline=False",
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
            c.train.batch_size % (c.model.batch_norm_groups * c.train.accumulate) == 0,
            f"model.batch_norm_groups: given {c.model.batch_norm_groups} with train.batch_size="
            f"{c.train.batch_size} and train.accumulate={c.train.accumulate}, but the groups must "
            f"be equal; use a divisor of {c.train.batch_size // c.train.accumulate}",
        ),
        (
            c.train.num_steps + c.train.num_epochs > 0,
            "train.num_steps, train.num_epochs: both 0; set one",
        ),
    ]
    return [f"config.{message}" for holds, message in rules if not holds]


def _objective_rules(c: Config) -> list[Rule]:
    """What the objective asks for."""
    data, needs, weight = c.data, c.needs, c.loss.supervised_loss_weight
    sources = [
        (data, "data"),
        *((s, f"data.more_train[{i}]") for i, s in enumerate(data.more_train)),
    ]
    return [
        (
            data.back_context + data.forward_context >= 1 or not needs.motion,
            "data.back_context, data.forward_context: both 0, but self-supervision compares a "
            "frame with its neighbours; set one of them to 1",
        ),
        (
            weight > 0 or c.objective not in ("semi_supervised", "completion"),
            f"loss.supervised_loss_weight: given 0, but {c.objective} is about measured depth; "
            "choose a weight in (0, 1], or objective='self_supervised'",
        ),
        (
            needs.motion or not c.init.pose_net,
            f"init.pose_net: given {c.init.pose_net!r}, but objective={c.objective!r} with "
            "loss.supervised_loss_weight=1 has no pose network; leave it empty",
        ),
        *(
            (
                bool(s.depth_type) or not s.name or not needs.depth,
                f"{at}.depth_type: empty, but objective={c.objective!r} learns from measured depth",
            )
            for s, at in sources
        ),
        *(
            (
                bool(s.input_depth_type) or not s.name or not needs.input_depth,
                f"{at}.input_depth_type: empty, but objective={c.objective!r} learns from sparse "
                "depth beside the picture",
            )
            for s, at in sources
        ),
    ]


def _imagenet_rule(field: str, network: NetworkConfig) -> Rule:
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


def _init_rule(field: str, network: NetworkConfig, init: InitConfig) -> Rule:
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
