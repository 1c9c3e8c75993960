"""The original's configuration, translated into ours and back.

A checkpoint of the original carries the yacs tree it was trained with. `SAME` lists what both sides
hold under two names; what takes more than a copy has a function of its own below. Nothing is
dropped unseen: what has no place here is in the result, beside the configuration.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flax.traverse_util import flatten_dict, unflatten_dict

from packnet_jax import config as config_lib
from packnet_jax.config import NETWORK_KINDS, Config
from packnet_jax.convert.yacs_defaults import DEFAULTS
from packnet_jax.data_config import DATASETS as OUR_DATASETS
from packnet_jax.data_config import SourceConfig
from packnet_jax.errors import CheckpointError, ConfigError
from packnet_jax.loss_config import ObjectiveName

SAME: Mapping[str, str] = {
    "arch.seed": "seed",
    "arch.max_epochs": "train.num_epochs",
    "model.optimizer.depth.lr": "optim.depth.lr",
    "model.optimizer.depth.weight_decay": "optim.depth.weight_decay",
    "model.optimizer.pose.lr": "optim.pose.lr",
    "model.optimizer.pose.weight_decay": "optim.pose.weight_decay",
    "model.scheduler.name": "optim.scheduler",
    "model.scheduler.step_size": "optim.step_size",
    "model.scheduler.gamma": "optim.gamma",
    "model.scheduler.T_max": "optim.T_max",
    "model.depth_net.dropout": "model.depth_net.dropout",
    "model.params.crop": "eval.crop",
    "model.params.min_depth": "eval.min_depth",
    "model.params.max_depth": "eval.max_depth",
    "model.params.scale_output": "eval.scale_output",
    "model.loss.num_scales": "loss.num_scales",
    "model.loss.progressive_scaling": "loss.progressive_scaling",
    "model.loss.flip_lr_prob": "loss.flip_lr_prob",
    "model.loss.upsample_depth_maps": "loss.upsample_depth_maps",
    "model.loss.ssim_loss_weight": "loss.ssim_loss_weight",
    "model.loss.smooth_loss_weight": "loss.smooth_loss_weight",
    "model.loss.C1": "loss.C1",
    "model.loss.C2": "loss.C2",
    "model.loss.automask_loss": "loss.automask_loss",
    "model.loss.photometric_reduce_op": "loss.photometric_reduce_op",
    "model.loss.clip_loss": "loss.clip_loss",
    "model.loss.padding_mode": "loss.padding_mode",
    "model.loss.velocity_loss_weight": "loss.velocity_loss_weight",
    "model.loss.supervised_method": "loss.supervised_method",
    "model.loss.supervised_num_scales": "loss.supervised_num_scales",
    "model.loss.supervised_loss_weight": "loss.supervised_loss_weight",
    "datasets.augmentation.jittering": "data.jittering",
    "datasets.augmentation.crop_train_borders": "data.crop_train_borders",
    "datasets.augmentation.crop_eval_borders": "data.crop_eval_borders",
    "datasets.train.batch_size": "train.batch_size",
    "datasets.train.back_context": "data.back_context",
    "datasets.train.forward_context": "data.forward_context",
    "datasets.test.batch_size": "eval.batch_size",
}
"""Our name for the original's, where the value is the same."""

OBJECTIVES: Mapping[str, ObjectiveName] = {
    "": "self_supervised",
    "SelfSupModel": "self_supervised",
    "VelSupModel": "velocity",
    "SemiSupModel": "semi_supervised",
    "SemiSupCompletionModel": "completion",
    "GenericSelfSupModel": "ray_surface",
}
"""Our objectives by the original's `model.name`."""

MODEL_NAMES: Mapping[ObjectiveName, str] = {
    "self_supervised": "SelfSupModel",
    "velocity": "SelfSupModel",
    "semi_supervised": "SemiSupModel",
    "reprojected": "SelfSupModel",
    "completion": "SemiSupCompletionModel",
    "ray_surface": "GenericSelfSupModel",
}
"""The way back, to what can be loaded: its VelSupModel can not even be built, and it never had
reprojected distances. Both hold a SelfSupModel's networks."""

BUILT_IN: Mapping[str, str] = {
    "model.optimizer.name": "Adam",
    "model.loss.rotation_mode": "euler",
}
"""Choices of the original of which there is one here."""

DECIDED_BY_TRAINING = (
    "seed",
    "train.",
    "optim.",
    "loss.",
    "data.jittering",
    "data.crop_train",
    "data.forward_context",  # without any context there is no pose network
)
"""Settings that do not change what a trained network predicts or how it is scored. Those that do
not hold here are left out, and named."""

DATASETS: Mapping[str, str] = {"KITTI": "kitti_raw", "DGP": "ddad"}
"""Our data sets by the original's names."""

_SOURCE_FIELDS = {
    "name": "dataset",
    "root": "path",
    "split": "split",
    "cameras": "cameras",
    "depth_type": "depth_type",
    "input_depth_type": "input_depth_type",
    "repeat": "repeat",
}
"""The original's lists, with an entry for each data set, by our fields of one."""
_SETS = {f"data.{name}" for name in (*_SOURCE_FIELDS, "eval_split", "more_train", "more_eval")}
_KNOWN = flatten_dict(DEFAULTS, sep=".")
_SPLIT_FILE = re.compile(r"data_splits/(\w+)_files\.txt")
_SPLIT_PATH = "data_splits/{}_files.txt"
_NETWORK_FIELDS = [
    f"model.{network}.{field}" for network in NETWORK_KINDS for field in ("name", "version")
]
"""The same on both sides, but for "pt": where a network started from matters no more."""


class Translation(NamedTuple):
    """Our configuration, and what found no place in it; keys are dotted names of the original."""

    config: Config
    unknown: dict[str, Any]
    """Settings that the original does not have."""
    without_place: dict[str, Any]
    """Settings of the original that mean nothing here, or nothing yet, where they are not at their
    defaults."""


class _Part(NamedTuple):
    ours: dict[str, Any]
    """Values by our dotted names."""
    used: set[str]
    """The original's names that these stand for."""


def translate(tree: Mapping[str, Any]) -> Translation:
    """Our configuration for the one in a checkpoint; {} where it carries none.

    Raises:
        CheckpointError: the picture size or the evaluation protocol can not be had here.
    """
    given = _flat(tree)
    unknown = {key: value for key, value in given.items() if key not in _KNOWN}
    theirs = {key: given.get(key, default) for key, default in _KNOWN.items()}
    parts = [_networks(theirs), _image_shape(theirs), _sets(theirs)]
    parts.append(_objective(theirs, _together(parts)))
    parts.append(_same(theirs, _together(parts)))
    ours = _together(parts)
    used = {key for part in parts for key in part.used}
    used |= {key for key, value in BUILT_IN.items() if theirs[key] == value}
    try:
        config = _resolve(ours)
    except ConfigError as error:
        raise CheckpointError(f"its settings can not be used here: {error}") from error
    left = {k: v for k, v in theirs.items() if k not in used and not _is_default(k, v)}
    if "data.image_shape" not in ours:
        left["datasets.augmentation.image_shape"] = "the picture's own size"
    return Translation(config, unknown, left)


def to_yacs(config: Config, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The tree that a checkpoint for the original carries, of all settings that it has.

    Args:
        config: ours.
        settings: the tree of the checkpoint that the weights were imported from, {} for none. What
            has not changed since stays as it is there.
    """
    ours = _flat(config_lib.to_json_dict(config))
    imported = _flat(config_lib.to_json_dict(translate(settings).config)) if settings else {}
    changed = {
        name for name, value in ours.items() if name not in imported or value != imported[name]
    }
    stored = _flat(settings)
    theirs = {key: stored.get(key, default) for key, default in _KNOWN.items()}
    if "objective" in changed or not theirs["model.name"]:
        theirs["model.name"] = MODEL_NAMES[config.objective]
    theirs |= {key: ours[key].removesuffix("pt") for key in _NETWORK_FIELDS}
    theirs |= {key: ours[name] for key, name in SAME.items() if name in changed}
    if "data.image_shape" in changed:
        theirs["datasets.augmentation.image_shape"] = config.data.image_shape
    if changed & _SETS and config.data.name in DATASETS.values():
        theirs |= _lists("train", config.data.train_sources, theirs)
        for part in ("validation", "test"):
            theirs |= _lists(part, config.data.eval_sources, theirs)
    theirs["prepared"] = True  # as are those that the original saves: lists have their lengths
    return unflatten_dict({key: _as(_KNOWN[key], theirs[key]) for key in theirs}, sep=".")


def _together(parts: Sequence[_Part]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.ours.items()}


def _objective(theirs: Mapping[str, Any], others: Mapping[str, Any]) -> _Part:
    """What was learnt, where that holds beside the networks and sets."""
    name = OBJECTIVES.get(str(theirs["model.name"]))
    if name is None or not _holds({**others, "objective": name}):
        return _Part({}, set())
    return _Part({"objective": name}, {"model.name"})


def _same(theirs: Mapping[str, Any], others: Mapping[str, Any]) -> _Part:
    ours: dict[str, Any] = {}
    used = set()
    for key, name in SAME.items():
        is_optional = name.startswith(DECIDED_BY_TRAINING)
        if not is_optional or _holds({**others, **ours, name: theirs[key]}):
            ours[name] = theirs[key]
            used.add(key)
    return _Part(ours, used)


def _networks(theirs: Mapping[str, Any]) -> _Part:
    ours = {key: theirs[key] for key in _NETWORK_FIELDS}
    for key, value in ours.items():
        if isinstance(value, str):  # else an error to come
            ours[key] = value.removesuffix("pt")
    return _Part(ours, set(_NETWORK_FIELDS))


def _image_shape(theirs: Mapping[str, Any]) -> _Part:
    """The size that the network sees; that of the crop where pictures are not resized."""
    key = "datasets.augmentation.image_shape"
    crop = theirs["datasets.augmentation.crop_eval_borders"]
    if shape := theirs[key]:
        return _Part({"data.image_shape": shape}, {key})
    if isinstance(crop, list | tuple) and len(crop) == 4:
        sizes = [_size(*crop[:2]), _size(*crop[2:])]
        if None not in sizes:
            return _Part({"data.image_shape": sizes}, {key})
    return _Part({}, {key})


def _size(start: Any, length: Any) -> int | None:
    """What a crop keeps of one axis; None where that depends on the picture.

    A length that is not positive counts from the far end, as a negative start does.
    """
    if type(length) is int and length > 0:
        return length
    return length - start if type(start) is type(length) is int and start < 0 else None


def _sets(theirs: Mapping[str, Any]) -> _Part:
    """Data sets: those of training, and those of the test or else of validation.

    The first sets of both share all but their splits here; where the original's differ, what is
    evaluated decides.
    """
    tested = "test" if theirs["datasets.test.path"] else "validation"
    trained_on, evaluated = _sources(theirs, "train"), _sources(theirs, tested)
    ours: dict[str, Any] = {"data.name": ""}
    used = trained_on.used | evaluated.used
    if trained_on.sources:
        first, *more = trained_on.sources
        ours |= {f"data.{field}": value for field, value in first.items()}
        ours["data.more_train"] = more
    if evaluated.sources:
        first, *more = evaluated.sources
        for field in ("name", "root", "cameras", "depth_type", "input_depth_type"):
            if trained_on.sources and ours[f"data.{field}"] != first[field]:
                used.discard(f"datasets.train.{_SOURCE_FIELDS[field]}")
            ours[f"data.{field}"] = first[field]
        ours["data.eval_split"] = first["split"]
        ours["data.more_eval"] = more
    return _Part(ours, used)


class _Sources(NamedTuple):
    sources: list[dict[str, Any]]
    """Fields of `SourceConfig`."""
    used: set[str]


def _sources(theirs: Mapping[str, Any], part: str) -> _Sources:
    """The sets of "train", "validation" or "test" that exist here, each once."""
    keys = {ours: f"datasets.{part}.{their}" for ours, their in _SOURCE_FIELDS.items()}
    keys = {ours: key for ours, key in keys.items() if key in theirs}
    columns = {ours: _as_list(theirs[key]) for ours, key in keys.items()}
    if not columns["root"]:
        return _Sources([], set())
    length = max(map(len, columns.values()))  # lists of one stand for as many as there are splits
    rows = zip(*(c * length if len(c) == 1 else c for c in columns.values()), strict=False)
    sources: list[dict[str, Any]] = []
    all_known = True
    for row in rows:
        source = dict(zip(columns, row, strict=True))
        source["name"] = DATASETS.get(str(source["name"]), "")
        if match := _SPLIT_FILE.fullmatch(str(source["split"])):
            source["split"] = match[1]
        fits = source["name"] and _holds({"data.more_train": [source]})
        if not fits or (part != "train" and not source["depth_type"]):
            all_known = False
        elif source not in sources:
            sources.append(source)
    return _Sources(sources, set(keys.values()) if all_known else set())


def _lists(
    part: str, sources: Sequence[SourceConfig], theirs: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """The settings of "train", "validation" or "test", with an entry for each set.

    Sets that the original does not have are left out.
    """
    names = {ours: their for their, ours in DATASETS.items()}
    known = [source for source in sources if source.name in names]
    columns = {their: [getattr(s, ours) for s in known] for ours, their in _SOURCE_FIELDS.items()}
    columns["dataset"] = [names[name] for name in columns["dataset"]]
    columns["split"] = [
        s.split
        if s.split.endswith(".txt") or OUR_DATASETS[s.name].splits
        else _SPLIT_PATH.format(s.split)
        for s in known
    ]
    columns["cameras"] = [list(cameras) for cameras in columns["cameras"]]
    lists = {f"datasets.{part}.{field}": column for field, column in columns.items()}
    return {key: column for key, column in lists.items() if key in _KNOWN}


def _as(default: Any, value: Any) -> Any:
    """The value as a list where the original has a list, and as a tuple where it has one."""
    return type(default)(_as_list(value)) if isinstance(default, list | tuple) else value


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _holds(ours: Mapping[str, Any]) -> bool:
    """Whether fields can have these values."""
    try:
        _resolve(ours)
    except ConfigError:
        return False
    return True


def _resolve(flat: Mapping[str, Any]) -> Config:
    return config_lib.resolve(unflatten_dict({"data.name": "", **flat}, sep="."))


def _is_default(key: str, value: Any) -> bool:
    default = _KNOWN[key]
    if isinstance(default, list | tuple):
        value, default = _as_list(value), list(default)
        # Lists with an entry for each data set.
        return value == default or (len(default) == 1 and value == default * len(value))
    return value == default


def _flat(tree: Any) -> dict[str, Any]:
    try:
        flat = flatten_dict(tree, sep=".")
    except (AssertionError, TypeError) as error:
        raise CheckpointError(f"its configuration is no tree of named settings: {error}") from error
    strange = [key for key, value in flat.items() if not _is_plain(value)]
    if strange:
        raise CheckpointError(f"its configuration holds more than settings: {', '.join(strange)}")
    return flat


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | dict)
