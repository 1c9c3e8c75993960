"""The device mesh, and where arrays live on it: the only place that chooses."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from packnet_jax.errors import ConfigError

DATA_AXIS = "data"


def make_mesh(num_devices: int | None = None) -> Mesh:
    """A mesh with one `data` axis over all devices, or over the first `num_devices`."""
    devices = jax.devices()[:num_devices]
    return Mesh(np.array(devices), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array: parameters, optimiser state, metrics."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Each device holds its share of the leading axis: batches."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def check_batch_size(batch_size: int, mesh: Mesh, *, accumulate: int = 1) -> None:
    """Raises ConfigError unless the devices share each of the batch's parts equally."""
    unit = mesh.size * accumulate
    if batch_size % unit:
        parts = f"each of its {accumulate} parts" if accumulate > 1 else "it"
        raise ConfigError(
            f"config.train.batch_size: given {batch_size}, but {mesh.size} devices must share "
            f"{parts} equally; use a multiple of {unit}"
        )


def place_batch(batch, mesh: Mesh):
    """Moves a host batch (this process's rows) onto the mesh as global arrays."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, a), batch)


def placed_ahead(batches: Iterable[Any], mesh: Mesh) -> Iterator[Any]:
    """`place_batch` of each, one ahead: the next one travels while the device works on this one.

    Placing returns before the transfer ends, and on CPU the arrays may even be shared: nobody may
    write to a batch afterwards.
    """
    placed: deque[Any] = deque()
    for batch in batches:
        placed.append(place_batch(batch, mesh))
        if len(placed) > 1:
            yield placed.popleft()
    yield from placed
