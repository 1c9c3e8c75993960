"""A trained depth or pose network, read back from a checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import logging
from flax import linen as nn
from jaxtyping import Array

from packnet_jax import checkpoint, sharding
from packnet_jax.config import Config, NetworkKind
from packnet_jax.convert.original import import_original
from packnet_jax.convert.report import report
from packnet_jax.convert.yacs_config import translate
from packnet_jax.errors import CheckpointError
from packnet_jax.eval_config import DECIDED_FOR
from packnet_jax.networks import init_depth_net, init_pose_net, make_depth_net, make_pose_net
from packnet_jax.sfm import Variables


class TrainedNetwork(NamedTuple):
    """Everything that inference needs."""

    network: nn.Module
    variables: Variables
    """`params` and `batch_stats`, each with `depth_net` or `pose_net`, on the first device."""
    config: Config
    """Of the training run."""
    step: int
    """How many steps of ours have changed the weights; 0 for weights of the original."""
    folder: Path
    """The step's folder, or the original's file, that the weights came from."""
    unsaid: tuple[str, ...] = ()
    """Fields of `eval_config.DECIDED_FOR` that the file says nothing of; `config` has defaults."""


def load_depth_network(path: Path) -> TrainedNetwork:
    """Reads the depth network of a checkpoint.

    Args:
        path: a run's workdir (its newest checkpoint is taken), one step's folder, or a checkpoint
            of the original (.ckpt, .pth.tar), which is converted on the fly.

    Raises:
        CheckpointError: there is none, it is damaged, or it holds no depth network.
    """
    return _load(path.expanduser(), "depth_net")


def load_pose_network(path: Path) -> TrainedNetwork:
    """Reads the pose network of a checkpoint.

    Args:
        path: as for `load_depth_network`.

    Raises:
        CheckpointError: there is none, it is damaged, or it holds no pose network.
    """
    return _load(path.expanduser(), "pose_net")


def _load(path: Path, kind: NetworkKind) -> TrainedNetwork:
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    if path.is_file():
        imported = import_original(path, only=kind)
        logging.info("%s", report(imported, path))
        variables = jax.device_put(imported.variables, device)
        network = _network(kind, imported.config, path)
        unsaid = _unsaid(imported.settings, kind)
        return TrainedNetwork(network, variables, imported.config, 0, path, unsaid)
    stored = checkpoint.read_config(path)
    network = _network(kind, stored.config, stored.folder)
    abstract = jax.eval_shape(
        lambda key: _init(kind, network, key, stored.config), jax.random.key(0)
    )
    expected = {name: {kind: abstract.get(name, {})} for name in ("params", "batch_stats")}
    variables = checkpoint.read_variables(stored.folder, sharding.abstract(expected, device))
    origin = checkpoint.read_origin(stored.folder)
    unsaid = _unsaid(origin.get("config", {}), kind) if origin else ()
    return TrainedNetwork(network, variables, stored.config, stored.step, stored.folder, unsaid)


def _unsaid(settings: Mapping[str, Any], kind: NetworkKind) -> tuple[str, ...]:
    """What the original's settings leave open."""
    if not settings:
        return DECIDED_FOR[kind]
    if "datasets.augmentation.image_shape" in translate(settings).without_place:
        return ("data.image_shape",)
    return ()


def _network(kind: NetworkKind, config: Config, path: Path) -> nn.Module:
    named = getattr(config.model, kind)
    if not named.name:
        what = "depth network" if kind == "depth_net" else "pose network"
        raise CheckpointError(f"{path} holds no {what}; it was converted or trained without one")
    return (make_depth_net if kind == "depth_net" else make_pose_net)(named.name, named.version)


def _init(kind: NetworkKind, network: nn.Module, key: Array, config: Config) -> dict[str, Any]:
    data = config.data
    if kind == "depth_net":
        return init_depth_net(network, key, data.image_shape)
    return init_pose_net(network, key, data.image_shape, data.back_context + data.forward_context)
