"""The configuration of an evaluation: from its checkpoint, the file of --config, and flags."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from packnet_jax import config as config_lib
from packnet_jax.config import Config, NetworkKind
from packnet_jax.errors import ConfigError

SHAPE_AND_PROTOCOL = (
    "data.image_shape",
    "data.crop_eval_borders",
    "eval.crop",
    "eval.min_depth",
    "eval.max_depth",
    "eval.scale_output",
)
DECIDED_FOR: Mapping[NetworkKind, tuple[str, ...]] = {
    "depth_net": SHAPE_AND_PROTOCOL,
    "pose_net": (
        "data.image_shape",
        "data.crop_train_borders",
        "data.back_context",
        "data.forward_context",
    ),
}
"""What the checkpoint decides beside its networks, by the one that is evaluated: what a depth
network is scored by, or what a pose network sees."""
MODEL = ("model", "init")
"""A name stands for all fields below it; `init`, which only training reads, goes with `model`."""


class Given(NamedTuple):
    """What the command line gives."""

    file: str | None
    """The path that --config names; None without one."""
    fields: ConfigDict
    """Of that file, or the defaults, with `explicit` set already."""
    explicit: Mapping[str, Any]
    """The values of fields that have a flag of their own, by dotted name."""


class EvaluationConfig(NamedTuple):
    """A configuration, and where it is from."""

    config: Config
    origin: str
    """Which source decides what, in lines for the terminal."""


def for_evaluation(
    stored: Config,
    given: Given,
    *,
    unsaid: Collection[str] = (),
    kind: NetworkKind = "depth_net",
) -> EvaluationConfig:
    """Puts the three sources together.

    Fields that have a flag are the flag's. Of the others, network, shape and protocol are those of
    the checkpoint, all else is that of the file, or without a file the checkpoint's, too.

    Args:
        stored: the configuration in the checkpoint.
        unsaid: fields that the checkpoint says nothing of, and `stored` has the defaults of.
        kind: the network that is evaluated.

    Raises:
        ConfigError: the result does not hold, or a flag asks for another network.
    """
    of_checkpoint = _flat(config_lib.to_json_dict(stored))
    of_flags_and_file = _flat(given.fields.to_dict())
    explicit = _among(of_flags_and_file, given.explicit)
    undecided = {*explicit, *unsaid}
    decided = [n for n in _among(of_checkpoint, (*MODEL, *DECIDED_FOR[kind])) if n not in undecided]
    base = of_checkpoint if given.file is None else of_flags_and_file
    values = (
        base
        | {name: of_checkpoint[name] for name in decided}
        | {name: of_flags_and_file[name] for name in explicit}
    )
    _check_network(of_checkpoint, values, kind)
    config = config_lib.resolve(unflatten_dict(values, sep="."), to_train=False)
    left = [name for name in unsaid if name not in explicit]
    shown = [name for name in decided if name in (*_names(kind), *DECIDED_FOR[kind])]
    return EvaluationConfig(config, _origin(config, given, shown, left))


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    return flatten_dict(tree, sep=".")


def _among(names: Iterable[str], groups: Collection[str]) -> list[str]:
    """The fields that are, or lie below, one of the groups."""
    return [n for n in names if any(n == g or n.startswith(f"{g}.") for g in groups)]


def _names(kind: NetworkKind) -> tuple[str, str]:
    """The fields that say which network it is."""
    return f"model.{kind}.name", f"model.{kind}.version"


def _check_network(
    of_checkpoint: Mapping[str, Any], values: Mapping[str, Any], kind: NetworkKind
) -> None:
    for name in _names(kind):
        if values[name].removesuffix("pt") != of_checkpoint[name].removesuffix("pt"):
            raise ConfigError(
                f"--config.{name}={values[name]}: the checkpoint holds "
                f"{' '.join(of_checkpoint[n] for n in _names(kind))}; leave the flag out, or give "
                "a checkpoint of that network"
            )


def _origin(config: Config, given: Given, shown: Iterable[str], unsaid: Iterable[str]) -> str:
    values, written = _flat(config_lib.to_json_dict(config)), _flat(given.fields.to_dict())

    def decided_line(name: str) -> str:
        differs = given.file is not None and written[name] != values[name]
        passed_over = f"  (and not {written[name]!r}, as in {given.file})" if differs else ""
        return f"    {name} = {values[name]!r}{passed_over}"

    sets = [
        f"    {name}: depth {source.depth_type!r}, input depth {source.input_depth_type!r}"
        + (f", in {source.root}" if source.root else "")
        for name, source in zip(config.data.eval_names, config.data.eval_sources, strict=True)
    ]
    missing = [
        f"    {name} = {values[name]!r}, which the checkpoint does not say"
        + ("" if given.file else ": the default; a flag may set it")
        for name in unsaid
    ]
    flags = [f"    {name} = {value!r}" for name, value in given.explicit.items()]
    return "\n".join(
        [
            "  The checkpoint decides",
            *map(decided_line, shown),
            f"  {given.file or 'Its configuration, as there is no --config,'} gives all else: data",
            *sets,
            *missing,
            "  The command line sets" if flags else "  The command line sets nothing",
            *flags,
        ]
    )
