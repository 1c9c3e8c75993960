"""A trained depth network, read back from a checkpoint."""

from pathlib import Path
from typing import NamedTuple

import jax
from flax import linen as nn

from packnet_jax import checkpoint
from packnet_jax.config import Config
from packnet_jax.sfm import Networks, Variables


class TrainedDepthNetwork(NamedTuple):
    """Everything that inference needs."""

    network: nn.Module
    variables: Variables
    """`params` and `batch_stats`, each with `depth_net`, on the first device."""
    config: Config
    """Of the training run."""
    step: int
    folder: Path
    """The step's folder the weights came from."""


def load_depth_network(path: Path) -> TrainedDepthNetwork:
    """Reads the depth network of a checkpoint.

    Args:
        path: a run's workdir (its newest checkpoint is taken) or one step's folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    stored = checkpoint.read_config(path)
    networks = Networks.from_config(stored.config.model)
    data = stored.config.data
    num_context = data.back_context + data.forward_context
    abstract = jax.eval_shape(
        lambda key: networks.init(key, data.image_shape, num_context), jax.random.key(0)
    )
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    variables = checkpoint.read_variables(stored.folder, checkpoint.abstract_like(abstract, device))
    own = {name: {"depth_net": collection["depth_net"]} for name, collection in variables.items()}
    return TrainedDepthNetwork(networks.depth_net, own, stored.config, stored.step, stored.folder)
