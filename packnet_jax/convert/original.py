"""Whole checkpoints of the original, turned into the variables and the configuration of ours."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from packnet_jax.config import NETWORK_KINDS, Config, ModelConfig, NetworkConfig, NetworkKind
from packnet_jax.convert.rules import RULES, reads_all
from packnet_jax.convert.state_dict import Fit, fit_state_dict
from packnet_jax.convert.torch_file import read_torch_file
from packnet_jax.convert.yacs_config import Translation, translate
from packnet_jax.errors import CheckpointError, ConfigError
from packnet_jax.networks import (
    DEPTH_NETS,
    POSE_NETS,
    init_depth_net,
    init_pose_net,
    make_depth_net,
    make_pose_net,
)

NETWORKS = {"depth_net": DEPTH_NETS, "pose_net": POSE_NETS}

STATE = ("optimizer", "scheduler")
"""Entries of a checkpoint that only the original can go on from."""

_NAME = re.compile(r"(?:model\.)*(?:(?P<depth>depth_net|disp_network)|pose_net(?:work)?)\.(.+)")
"""Tensors of the two networks, also as the first release (.pth.tar) named them."""

_SHAPE = (64, 64)
"""Of the pictures that networks are built with: no variable depends on it."""


class Original(NamedTuple):
    """What a file holds, under the original's names."""

    networks: dict[NetworkKind, dict[str, np.ndarray]]
    """State dicts; names without the prefix of their network."""
    config: Mapping[str, Any]
    """The yacs tree; {} where there is none."""
    epoch: int | None
    """The last one that was finished."""
    left: tuple[str, ...]
    """What else there is, such as the optimiser's state."""


class ImportedNetwork(NamedTuple):
    """A network with weights of the original."""

    network: NetworkConfig
    fit: Fit


class Imported(NamedTuple):
    """A checkpoint of the original as one of ours."""

    networks: dict[NetworkKind, ImportedNetwork]
    config: Config
    """Names the networks that were imported, and no others."""
    translation: Translation
    settings: Mapping[str, Any]
    """The original's own configuration; {} where the file carries none."""
    epoch: int | None
    left: tuple[str, ...]
    """What was not imported: entries of the file, or a whole network."""

    @property
    def variables(self) -> dict[str, Any]:
        """`params` and `batch_stats`, each with the networks that were imported."""
        return {
            collection: {
                kind: network.fit.variables.get(collection, {})
                for kind, network in self.networks.items()
            }
            for collection in ("params", "batch_stats")
        }


def import_original(path: Path, *, only: NetworkKind | None = None) -> Imported:
    """Reads a checkpoint of the original: every tensor once, every variable once, or an error.

    The configuration in the file names the networks; without one they are known by their weights.

    Args:
        path: a .ckpt or .pth.tar file, or a state dict alone.
        only: the network to import; the other one may then be missing or not fit.

    Raises:
        CheckpointError: the file can not be read, is of networks that are not known, or its tensors
            and the networks' variables do not match; all of these are in the message.
    """
    original = read_original(path)
    try:
        translation = translate(original.config)
        networks = _import_networks(original, translation.config, only)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Imported(
        networks,
        _with_networks(translation.config, networks),
        translation,
        original.config,
        original.epoch,
        original.left + tuple(kind for kind in original.networks if kind not in networks),
    )


def read_original(path: Path) -> Original:
    """Reads a checkpoint and tells its networks apart.

    Raises:
        CheckpointError: the file can not be read, or is no checkpoint of the original.
    """
    content = read_torch_file(path, skip=STATE)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: it holds a {type(content).__name__}, and no checkpoint")
    state_dict = content.get("state_dict", content)  # or a state dict alone
    config, epoch = content.get("config", {}), content.get("epoch")
    if not isinstance(config, dict):
        raise CheckpointError(
            f"{path}: its configuration is a {type(config).__name__}, and no tree"
        )
    networks: dict[NetworkKind, dict[str, np.ndarray]] = {}
    strange = []
    for name, tensor in state_dict.items() if isinstance(state_dict, dict) else ():
        match = _NAME.fullmatch(name) if isinstance(name, str) else None
        if match is None or not isinstance(tensor, np.ndarray):
            strange.append(str(name))
        else:
            kind = "depth_net" if match["depth"] else "pose_net"
            networks.setdefault(kind, {})[match[2]] = tensor
    if strange or not networks:
        raise CheckpointError(
            f"{path}: {len(strange)} entries are no tensors of a depth or pose network "
            f"({', '.join(strange)}), and {sum(map(len, networks.values()))} are; expected a "
            "checkpoint of packnet-sfm, whose tensors are named model.depth_net.* and "
            "model.pose_net.*. (Encoders of image classifiers and of monodepth2 are read by "
            "config.model.depth_net.imagenet_weights.)"
        )
    left = [str(key) for key in content if key not in ("state_dict", "config", "epoch")]
    return Original(
        networks,
        config,
        epoch if type(epoch) is int else None,
        tuple(left) if state_dict is not content else (),
    )


def import_network(
    kind: NetworkKind,
    state_dict: Mapping[str, np.ndarray],
    network: NetworkConfig,
    *,
    num_context: int,
) -> ImportedNetwork:
    """The variables of one network.

    Args:
        kind: which of the two.
        state_dict: tensors without their network's prefix.
        network: name and version; without a name the network is known by its weights.
        num_context: context images of the pose network.

    Raises:
        CheckpointError: the network is not known, or the tensors are not its own.
    """
    if not network.name:
        return _recognised(kind, state_dict, num_context)
    try:
        template = template_of(kind, network, num_context=num_context)
    except ConfigError as error:
        raise CheckpointError(f"its configuration names none that is known: {error}") from error
    try:
        return ImportedNetwork(network, fit_state_dict(state_dict, RULES[network.name], template))
    except CheckpointError as error:
        other = next(_fitting(kind, state_dict, num_context), None)
        hint = f" (they are those of {title_of(other.network)})" if other else ""
        raise CheckpointError(f"not the weights of {title_of(network)}{hint}: {error}") from error


def template_of(
    kind: NetworkKind, network: NetworkConfig, *, num_context: int = 2
) -> dict[str, Any]:
    """The shapes of a network's variables.

    Raises:
        ConfigError: there is no such network.
    """
    make = make_depth_net if kind == "depth_net" else make_pose_net
    module = make(network.name, network.version)

    def init(key: jax.Array) -> dict[str, Any]:
        if kind == "depth_net":
            return init_depth_net(module, key, _SHAPE)
        return init_pose_net(module, key, _SHAPE, num_context)

    return jax.eval_shape(init, jax.random.key(0))


def title_of(network: NetworkConfig) -> str:
    """A network's name for people."""
    return f"{network.name} {network.version}".strip()


def _import_networks(
    original: Original, config: Config, only: NetworkKind | None
) -> dict[NetworkKind, ImportedNetwork]:
    """Each wanted network, or one error about them all."""
    networks: dict[NetworkKind, ImportedNetwork] = {}
    problems = []
    num_context = config.data.back_context + config.data.forward_context
    for kind in _kinds(original, config.model, only):
        named: NetworkConfig = getattr(config.model, kind)
        try:
            networks[kind] = import_network(
                kind, original.networks[kind], named, num_context=num_context
            )
        except CheckpointError as error:
            problems.append(f"{kind}: {error}")
    if problems:
        raise CheckpointError("\n".join(problems))
    return networks


def _with_networks(config: Config, networks: Mapping[NetworkKind, ImportedNetwork]) -> Config:
    """The configuration with the networks that were imported, and no others."""
    chosen = {
        kind: networks[kind].network if kind in networks else NetworkConfig()
        for kind in NETWORK_KINDS
    }
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **chosen))


def _kinds(
    original: Original, model: ModelConfig, only: NetworkKind | None
) -> tuple[NetworkKind, ...]:
    """The networks to import."""
    wanted = (only,) if only else [k for k in NETWORK_KINDS if getattr(model, k).name]
    for kind in wanted:
        if kind not in original.networks:
            (other,) = original.networks
            raise CheckpointError(
                f"it holds no {kind}, only a {other}"
                + ("" if only else f", which --only={other} imports alone")
            )
    return (only,) if only else tuple(k for k in NETWORK_KINDS if k in original.networks)


def _recognised(
    kind: NetworkKind, state_dict: Mapping[str, np.ndarray], num_context: int
) -> ImportedNetwork:
    found = next(_fitting(kind, state_dict, num_context), None)
    if found is None:
        raise CheckpointError(
            f"the file does not say what network it is, and its {len(state_dict)} tensors are "
            f"those of none that is known here ({', '.join(NETWORKS[kind])}); the first are "
            f"{', '.join(list(state_dict)[:5])}"
        )
    return found


def _fitting(
    kind: NetworkKind, state_dict: Mapping[str, np.ndarray], num_context: int
) -> Iterator[ImportedNetwork]:
    """The networks that these are the weights of: one, or none."""
    for name, versions in NETWORKS[kind].items():
        if not reads_all(RULES[name], state_dict):
            continue
        for version in versions:
            if version.endswith("pt"):  # the same network as without
                continue
            network = NetworkConfig(name, version)
            template = template_of(kind, network, num_context=num_context)
            try:
                yield ImportedNetwork(network, fit_state_dict(state_dict, RULES[name], template))
            except CheckpointError:
                continue
