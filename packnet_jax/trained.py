"""A trained depth network, read back from a checkpoint."""

from pathlib import Path
from typing import NamedTuple

import jax
from absl import logging
from flax import linen as nn

from packnet_jax import checkpoint
from packnet_jax.config import Config, NetworkConfig
from packnet_jax.convert.original import import_original
from packnet_jax.convert.report import report
from packnet_jax.errors import CheckpointError
from packnet_jax.networks import init_depth_net, make_depth_net
from packnet_jax.sfm import Variables


class TrainedDepthNetwork(NamedTuple):
    """Everything that inference needs."""

    network: nn.Module
    variables: Variables
    """`params` and `batch_stats`, each with `depth_net`, on the first device."""
    config: Config
    """Of the training run."""
    step: int
    """How many steps of ours have changed the weights; 0 for weights of the original."""
    folder: Path
    """The step's folder, or the original's file, that the weights came from."""
    has_config: bool = True
    """Whether picture size and protocol are the checkpoint's own. Files of the original's first
    release carry weights alone; their `config` then says no more than the network."""


def load_depth_network(path: Path) -> TrainedDepthNetwork:
    """Reads the depth network of a checkpoint.

    Args:
        path: a run's workdir (its newest checkpoint is taken), one step's folder, or a checkpoint
            of the original (.ckpt, .pth.tar), which is converted on the fly.

    Raises:
        CheckpointError: there is none, it is damaged, or it holds no depth network.
    """
    path = path.expanduser()
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    if path.is_file():
        imported = import_original(path, only="depth_net")
        logging.info("%s", report(imported, path))
        variables = jax.device_put(imported.variables, device)
        network = _depth_net(imported.config.model.depth_net, path)
        has_config = bool(imported.settings)
        return TrainedDepthNetwork(network, variables, imported.config, 0, path, has_config)
    stored = checkpoint.read_config(path)
    network = _depth_net(stored.config.model.depth_net, stored.folder)
    abstract = jax.eval_shape(
        lambda key: init_depth_net(network, key, stored.config.data.image_shape), jax.random.key(0)
    )
    expected = {name: {"depth_net": abstract.get(name, {})} for name in ("params", "batch_stats")}
    variables = checkpoint.read_variables(stored.folder, checkpoint.abstract_like(expected, device))
    return TrainedDepthNetwork(network, variables, stored.config, stored.step, stored.folder)


def _depth_net(network: NetworkConfig, path: Path) -> nn.Module:
    if not network.name:
        raise CheckpointError(f"{path} holds no depth network; it was converted without")
    return make_depth_net(network.name, network.version)
