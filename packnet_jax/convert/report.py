"""What an import found: a table for the terminal, and everything that was left by name."""

import math
from collections.abc import Sequence
from pathlib import Path

from packnet_jax.convert.original import Imported, title_of
from packnet_jax.convert.state_dict import Placed

COUNTERS = ".num_batches_tracked"
"""How update counters of batch normalisation end, of which there are many."""


def report(imported: Imported, path: Path) -> str:
    """What was imported, as a table, and what was not, by name."""
    lines = [f"{path}" + ("" if imported.epoch is None else f", after epoch {imported.epoch}")]
    for kind, network in imported.networks.items():
        placed = network.fit.placed
        lines.append(_row(f"{kind} = {title_of(network.network)}", "", len(placed), _size(placed)))
        modules: dict[tuple[str, str], list[Placed]] = {}
        for tensor in placed:
            modules.setdefault(_modules_of(tensor), []).append(tensor)
        for (source, target), tensors in modules.items():
            lines.append(_row(f"  {source}", target, len(tensors), _size(tensors)))
    unused = [
        f"{kind}.{name}"
        for kind, network in imported.networks.items()
        for name in network.fit.unused
    ]
    counters = [name for name in unused if name.endswith(COUNTERS)]
    left = [name for name in unused if name not in counters] + list(imported.left)
    if counters:
        left.insert(0, f"{len(counters)} x *{COUNTERS}")
    if left:
        lines.append(f"Not needed: {', '.join(left)}")
    return "\n".join(lines + _settings(imported))


def _settings(imported: Imported) -> list[str]:
    """What became of the configuration."""
    if not imported.settings:
        height, width = imported.config.data.image_shape
        return [
            f"It carries no configuration: pictures of {height}x{width} and the original's "
            "defaults are assumed"
        ]
    groups = {
        "Settings that the original does not know": imported.translation.unknown,
        "Settings without a place here": imported.translation.without_place,
    }
    return [
        f"{title}: {', '.join(f'{key}={value!r}' for key, value in settings.items())}"
        for title, settings in groups.items()
        if settings
    ]


def _row(source: str, target: str, num_tensors: int, num_values: int) -> str:
    return f"{source:<32} {target:<24} {num_tensors:>5} tensors {num_values:>13,}"


def _size(tensors: Sequence[Placed]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors)


def _modules_of(tensor: Placed) -> tuple[str, str]:
    """The outermost modules that hold a tensor and its variable."""
    _, *ours = tensor.target.split("/")
    return tensor.source.split(".")[0], ours[0]
