"""What a fresh run starts from instead of random numbers: weights of other runs and programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from packnet_jax import checkpoint, sharding
from packnet_jax.config import Config, NetworkKind
from packnet_jax.convert.imagenet import with_imagenet_encoders
from packnet_jax.convert.original import import_network, read_original
from packnet_jax.errors import CheckpointError


def with_initial_weights(variables: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """The variables of both networks, with what the configuration gives files for.

    Those are the encoders of `config.model.*.imagenet_weights` and the networks of `config.init`.

    Args:
      variables: `params` and `batch_stats`, each with `depth_net` and `pose_net`: arrays or, from
        `jax.eval_shape`, their shapes, which is how files are checked before anything is computed.
      config: of the run.

    Raises:
      CheckpointError: a file can not be read, or is of another network.
    """
    started = with_imagenet_encoders(variables, config.model)
    for kind, path in config.init.paths.items():
        if not variables["params"][kind]:
            continue  # `init.model` of an objective that needs no pose network
        own = {collection: networks[kind] for collection, networks in variables.items()}
        try:
            weights = _weights(kind, Path(path).expanduser(), own, config)
        except CheckpointError as error:
            field = kind if getattr(config.init, kind) else "model"
            raise CheckpointError(f"config.init.{field}={path}: {error}") from error
        for collection, networks in started.items():
            networks[kind] = weights.get(collection, {})
    return started


def _weights(
    kind: NetworkKind, path: Path, variables: Mapping[str, Any], config: Config
) -> Mapping[str, Any]:
    """One network from a checkpoint of the original or of ours."""
    if path.is_file():
        original = read_original(path)
        if kind not in original.networks:
            raise CheckpointError(f"the file holds no {kind}")
        num_context = config.data.back_context + config.data.forward_context
        network = getattr(config.model, kind)
        return import_network(
            kind, original.networks[kind], network, num_context=num_context
        ).fit.variables
    stored = checkpoint.read_config(path)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    expected = {collection: {kind: tree} for collection, tree in variables.items()}
    read = checkpoint.read_variables(stored.folder, sharding.abstract(expected, device))
    return {collection: jax.device_get(networks[kind]) for collection, networks in read.items()}
