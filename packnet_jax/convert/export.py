"""A checkpoint of ours as a file that the original loads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from packnet_jax import checkpoint, sharding
from packnet_jax.checkpoint import StoredRun
from packnet_jax.config import NETWORK_KINDS, NetworkConfig, NetworkKind
from packnet_jax.convert.inverse import to_state_dict
from packnet_jax.convert.original import template_of, title_of
from packnet_jax.convert.rules import RULES
from packnet_jax.convert.torch_writer import cfg_node, ordered_dict, write_torch_file
from packnet_jax.convert.yacs_config import to_yacs
from packnet_jax.errors import CheckpointError

SUFFIX = ".ckpt"
"""Of the files that the original's scripts take."""


def export_checkpoint(source: Path, path: Path, *, only: NetworkKind | None = None) -> str:
    """Writes a checkpoint for the original; whole or not at all.

    There is no optimiser state in it: the original starts with a fresh one. Its epoch is that of
    the file the weights were imported from, and 0 for weights that were trained here.

    Args:
        source: a run's workdir, one step's folder, or a converted checkpoint.
        path: of the new file.
        only: the network to export.

    Returns:
        What was written, in lines for the terminal.

    Raises:
        CheckpointError: there is no such checkpoint or network, the file is there already, is not
            named .ckpt, or can not be written.
    """
    if path.suffix != SUFFIX or path.exists():
        reason = "is there already" if path.exists() else f"does not end in {SUFFIX}"
        raise CheckpointError(f"--output: {path} {reason}; choose another name")
    stored = checkpoint.read_config(source)
    origin = checkpoint.read_origin(stored.folder)
    settings = to_yacs(stored.config, origin.get("config", {}))
    exported = {kind: _state_dict(stored, kind, settings) for kind in _kinds(stored, only)}
    state_dict = {
        f"model.{kind}.{name}": tensor
        for kind, tensors in exported.items()
        for name, tensor in tensors.items()
    }
    content = {
        "config": cfg_node(settings),
        "epoch": origin.get("epoch") or 0,
        "state_dict": ordered_dict(state_dict),
    }
    try:
        write_torch_file(path, content)
    except OSError as error:
        raise CheckpointError(f"--output: {path} can not be written ({error})") from error
    titles = [
        f"{kind} = {title_of(getattr(stored.config.model, kind))}: {len(tensors)} tensors"
        for kind, tensors in exported.items()
    ]
    return "\n".join([f"{stored.folder}", *titles, f"Written to {path}"])


def _kinds(stored: StoredRun, only: NetworkKind | None) -> list[NetworkKind]:
    """The networks to export."""
    held: list[NetworkKind] = [
        kind for kind in NETWORK_KINDS if getattr(stored.config.model, kind).name
    ]
    if only is not None and only not in held:
        raise CheckpointError(f"{stored.folder} holds no {only}")
    return [kind for kind in held if only in (None, kind)]


def _state_dict(
    stored: StoredRun, kind: NetworkKind, settings: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """One network under the names of the original, without prefix."""
    network: NetworkConfig = getattr(stored.config.model, kind)
    data = stored.config.data
    template = template_of(kind, network, num_context=data.back_context + data.forward_context)
    return to_state_dict(
        _read(stored.folder, kind, template),
        RULES[network.name],
        with_optional=bool(settings["model"][kind]["dropout"]),
    )


def _read(folder: Path, kind: NetworkKind, template: dict[str, Any]) -> dict[str, Any]:
    """The variables of one network."""
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    expected = {collection: {kind: tree} for collection, tree in template.items()}
    variables = checkpoint.read_variables(folder, sharding.abstract(expected, device))
    return {collection: networks[kind] for collection, networks in variables.items()}
