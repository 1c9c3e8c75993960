"""The device mesh, and where arrays live on it: the only place that chooses.

The mesh has two axes. All devices share a batch, along both. Parameters and the optimiser's state
are whole on every device, unless the axis `fsdp` has several: then these share them. Statistics of
a batch (batch normalisation, `clip_loss`), losses and gradients are those of the whole batch in
any case: the compiler sums over devices.
"""

import functools
import importlib.metadata
import importlib.util
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from packnet_jax.errors import ConfigError

DATA_AXIS, FSDP_AXIS = "data", "fsdp"

MIN_SHARDED_SIZE = 2**14
"""Smaller arrays stay whole: they save nothing, and each costs a message of its own."""


def make_mesh(num_devices: int | None = None, *, fsdp: int = 1) -> Mesh:
    """A mesh `(data, fsdp)` over all devices of all processes, or over the first `num_devices`.

    Warns if these are CPUs although jax was installed for something faster.

    Args:
        fsdp: how many devices, next to each other, share parameters and optimiser state.

    Raises:
        ConfigError: the devices do not fall into groups of `fsdp`.
    """
    devices = np.array(jax.devices()[:num_devices])
    _warn_of_missing_accelerator(devices.flat[0].platform)
    if devices.size % fsdp:
        raise ConfigError(
            f"config.train.fsdp: given {fsdp}, but {devices.size} devices can not be split into "
            "groups of as many; use a divisor"
        )
    axis_types = (AxisType.Auto, AxisType.Auto)
    return Mesh(devices.reshape(-1, fsdp), (DATA_AXIS, FSDP_AXIS), axis_types=axis_types)


def _warn_of_missing_accelerator(platform: str) -> None:
    """jax goes on with CPUs where it finds no other device, and says nothing."""
    plugins = [plugin.name for plugin in importlib.metadata.entry_points(group="jax_plugins")]
    if importlib.util.find_spec("libtpu") is not None:
        plugins.append("libtpu")
    chosen = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
    if platform == "cpu" and plugins and not chosen:
        logging.warning(
            "This runs on the CPU: %s is installed, but jax finds no device for it. Look whether "
            "the driver sees one (nvidia-smi), and whether the container was given it. "
            "JAX_PLATFORMS=cuda,cpu or tpu,cpu makes that an error, JAX_PLATFORMS=cpu says that it "
            "is meant",
            " and ".join(plugins),
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array: metrics, and without `fsdp` the state."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Each device holds its share of the leading axis: batches."""
    return NamedSharding(mesh, PartitionSpec((DATA_AXIS, FSDP_AXIS)))


def state_sharding(tree: Any, mesh: Mesh) -> Any:
    """Where each array of parameters or optimiser state lives, as a tree of shardings.

    Devices of a group hold a slice each of the longest axis that falls into as many equal ones;
    arrays that are small, or have no such axis, stay whole.

    Args:
        tree: arrays, or their shapes as `jax.eval_shape` gives them.
    """
    return jax.tree.map(lambda array: NamedSharding(mesh, _spec(array.shape, mesh)), tree)


def _spec(shape: Sequence[int], mesh: Mesh) -> PartitionSpec:
    parts = mesh.shape[FSDP_AXIS]
    axes = [axis for axis, length in enumerate(shape) if length % parts == 0]
    if parts == 1 or not axes or math.prod(shape) < MIN_SHARDED_SIZE:
        return PartitionSpec()
    longest = max(axes, key=lambda axis: shape[axis])
    return PartitionSpec(*[None] * longest, FSDP_AXIS)


def abstract(tree: Any, shardings: Any) -> Any:
    """The tree's shapes and dtypes, to be restored with these shardings.

    Args:
        shardings: a tree of them, or one for all.
    """
    if isinstance(shardings, Sharding):
        return jax.tree.map(lambda x: _abstract_one(x, shardings), tree)
    return jax.tree.map(_abstract_one, tree, shardings)


def _abstract_one(array: Any, where: Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=where)


def bytes_per_device(tree: Any, mesh: Mesh) -> int:
    """What each device holds of parameters or optimiser state.

    Args:
        tree: arrays or their shapes.
    """
    where = jax.tree.leaves(state_sharding(tree, mesh))
    shares = zip(jax.tree.leaves(tree), where, strict=True)
    return sum(math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize for x, s in shares)


def whole(tree: Any, mesh: Mesh) -> Any:
    """The same arrays, whole on every device."""
    arrays = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    if all(array.is_fully_replicated for array in arrays):
        return tree
    return _copy_to(replicated(mesh))(tree)


@functools.cache
def _copy_to(where: NamedSharding) -> Callable[[Any], Any]:
    """The same function for the same sharding: jax keeps what it has compiled by function."""
    return jax.jit(lambda arrays: arrays, out_shardings=where)


def readable(tree: Any, mesh: Mesh) -> Any:
    """The same arrays, such that this process can read all of them."""
    if all(array.is_fully_addressable for array in jax.tree.leaves(tree)):
        return tree
    return whole(tree, mesh)


def spread(tree: Any, shardings: Any) -> Any:
    """Places arrays that every process has, the same in each.

    Args:
        shardings: a tree of them, or one for all.
    """
    if isinstance(shardings, NamedSharding):
        return jax.tree.map(lambda array: _spread_one(array, shardings), tree)
    return jax.tree.map(_spread_one, tree, shardings)


def _spread_one(array: Any, where: NamedSharding) -> jax.Array:
    is_global = isinstance(array, jax.Array) and not array.is_fully_addressable
    if where.is_fully_addressable or is_global:
        return jax.device_put(array, where)
    host = np.asarray(array)  # jax does not send one process's array to others' devices
    return jax.make_array_from_callback(host.shape, where, lambda index: host[index])


def local_rows(mesh: Mesh, batch_size: int) -> tuple[int, ...]:
    """Which rows of a batch this process's devices hold; those of all processes are the batch.

    Args:
        batch_size: a multiple of the number of devices.
    """
    places = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
    where = [index[0] for index in places.values() if index is not None]
    return tuple(sorted({row for rows in where for row in range(batch_size)[rows]}))


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
    """Moves a host batch, of which this process has its `local_rows`, onto the mesh as global
    arrays."""
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
