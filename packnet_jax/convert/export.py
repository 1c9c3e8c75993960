"""A checkpoint of ours as a file that the original loads."""

from pathlib import Path
from typing import Any

import jax

from packnet_jax import checkpoint
from packnet_jax.config import NETWORK_KINDS, NetworkKind
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
    model = stored.config.model
    named = {kind: getattr(model, kind) for kind in NETWORK_KINDS if getattr(model, kind).name}
    if only is not None and only not in named:
        raise CheckpointError(f"{stored.folder} holds no {only}")
    origin = checkpoint.read_origin(stored.folder)
    settings = to_yacs(stored.config, origin.get("config", {}))
    data = stored.config.data
    state_dict: dict[str, Any] = {}
    lines = [f"{stored.folder}"]
    for kind, network in named.items() if only is None else [(only, named[only])]:
        num_context = data.back_context + data.forward_context
        template = template_of(kind, network.name, network.version, num_context=num_context)
        tensors = to_state_dict(
            _read(stored.folder, kind, template),
            RULES[network.name],
            with_optional=settings["model"][kind]["dropout"] > 0,
        )
        state_dict |= {f"model.{kind}.{name}": tensor for name, tensor in tensors.items()}
        lines.append(f"{kind} = {title_of(network.name, network.version)}: {len(tensors)} tensors")
    content = {
        "config": cfg_node(settings),
        "epoch": origin.get("epoch") or 0,
        "state_dict": ordered_dict(state_dict),
    }
    try:
        write_torch_file(path, content)
    except OSError as error:
        raise CheckpointError(f"--output: {path} can not be written ({error})") from error
    return "\n".join([*lines, f"Written to {path}"])


def _read(folder: Path, kind: NetworkKind, template: dict[str, Any]) -> dict[str, Any]:
    """The variables of one network."""
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    expected = {collection: {kind: tree} for collection, tree in template.items()}
    variables = checkpoint.read_variables(folder, checkpoint.abstract_like(expected, device))
    return {collection: networks[kind] for collection, networks in variables.items()}
