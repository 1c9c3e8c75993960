"""Files written by `torch.save`, read without torch.

Two containers exist, both of them a pickle that refers to storages, which are runs of numbers:

- since torch 1.6 a zip archive: `NAME/data.pkl`, and each storage as `NAME/data/KEY`, uncompressed;
- before it pickles one after the other (magic number, protocol, machine, the object, the storages'
  keys), and then for each key the number of elements in eight bytes, and the elements.

No more is read than the pickle and the storages that tensors use, so memory stays within the size
of the file, whatever the file says. The zip archive has a check sum for each entry; the older
container has none, so that only damage to its structure can be seen.
"""

import mmap
import zipfile
from collections.abc import Callable, Collection, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from packnet_jax.convert.safe_pickle import (
    StorageRef,
    TensorRef,
    Unpickled,
    is_plain,
    shown,
    unpickle,
)
from packnet_jax.errors import CheckpointError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
PICKLE_START = b"\x80"
ZIP_START = b"PK\x03\x04"
COUNT_BYTES = 8
CHUNK_BYTES = 2**20
MAX_VALUES = 2**22
"""In a file's containers, those that are shared counted wherever they stand."""

ReadStorage = Callable[[StorageRef], np.ndarray]


def read_torch_file(path: Path, *, skip: Collection[str] = ()) -> Any:
    """What `torch.save` stored: dictionaries, lists, tuples, plain values and numpy arrays.

    Tensors and parameters become read-only arrays, those that share a storage views of one buffer;
    `OrderedDict` and yacs' `CfgNode` become dictionaries. bfloat16 keeps its type.

    Args:
      path: the file.
      skip: entries of the dictionary in the file that are not wanted: they are None, and their
        tensors take no memory. Check sums, where the file has them, are looked at all the same.

    Raises:
      CheckpointError: no file, not torch's, damaged, or in need of a class that is not known here.
        Nothing in a file can run code.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(ZIP_START))
        if start == ZIP_START:
            return _read_zip(path, skip)
        if start[:1] == PICKLE_START:
            return _read_legacy(path, skip)
        raise CheckpointError(
            f"it starts with {start!r}, which torch.save does not write; is it a complete download "
            "of a .pth, .ckpt or .tar file?"
        )
    except OSError as error:
        raise CheckpointError(f"{path}: can not be read ({error.strerror or error})") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _read_zip(path: Path, skip: Collection[str]) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _zip_entries(archive, path.stat().st_size)
            root = _zip_root(entries)
            byteorder = entries.get(f"{root}/byteorder")
            if byteorder is not None and archive.read(byteorder) != b"little":
                raise CheckpointError("written on a big-endian machine, which is not supported")
            unread = dict(entries)

            def read_storage(storage: StorageRef) -> np.ndarray:
                entry = unread.pop(f"{root}/data/{storage.key}", None)
                if entry is None:
                    raise CheckpointError(f"damaged: storage {storage.key!r} is missing")
                return _numbers(archive.read(entry), storage)

            found = unpickle(BytesIO(archive.read(unread.pop(f"{root}/data.pkl"))))
            arrays = _with_arrays(_without(found.root, skip), read_storage)
            for entry in unread.values():
                _check_sum(archive, entry)
            return arrays
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(
            f"damaged zip archive ({error}); download or copy the file again"
        ) from error


def _zip_entries(archive: zipfile.ZipFile, file_size: int) -> Mapping[str, zipfile.ZipInfo]:
    """The archive's entries by name, after a look at their sizes."""
    infos = archive.infolist()
    entries = {info.filename: info for info in infos}
    if len(entries) != len(infos):
        raise CheckpointError("damaged zip archive: two entries have the same name")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise CheckpointError(
                f"its entry {info.filename!r} is compressed, and torch stores them as they are; "
                "is it damaged, or was it packed again?"
            )
    if sum(info.file_size for info in infos) > file_size:
        raise CheckpointError("damaged zip archive: its entries are larger than the file")
    return entries


def _zip_root(entries: Mapping[str, zipfile.ZipInfo]) -> str:
    """The folder in the archive that holds everything."""
    roots = [name.removesuffix("/data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise CheckpointError(f"a zip archive with {len(roots)} entries */data.pkl, expected one")
    if f"{roots[0]}/constants.pkl" in entries:
        raise CheckpointError(
            "a TorchScript program; save its state dict alone: torch.save(model.state_dict(), path)"
        )
    return roots[0]


def _check_sum(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Reads through an entry, which raises BadZipFile where its check sum does not hold."""
    with archive.open(entry) as file:
        while file.read(CHUNK_BYTES):
            pass


def _read_legacy(path: Path, skip: Collection[str]) -> Any:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if unpickle(data).root != MAGIC_NUMBER:
            raise CheckpointError("a pickle, but none that torch.save wrote")
        protocol, machine = unpickle(data).root, unpickle(data).root
        if protocol != PROTOCOL_VERSION:
            raise CheckpointError(f"protocol {shown(protocol)}, expected {PROTOCOL_VERSION}")
        if not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise CheckpointError("written on a big-endian machine, which is not supported")
        found, keys = unpickle(data), unpickle(data).root
        starts = _legacy_storages(data, found, keys)

        def read_storage(storage: StorageRef) -> np.ndarray:
            start = starts[storage.key]
            return _numbers(data[start : start + _num_bytes(storage)], storage)

        return _with_arrays(_without(found.root, skip), read_storage)


def _legacy_storages(data: mmap.mmap, found: Unpickled, keys: Any) -> Mapping[str, int]:
    """Where the elements of each storage start; they follow each other to the end of the file."""
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise CheckpointError("damaged: the list of storages holds something else than their names")
    if sorted(keys) != sorted(found.storages):
        raise CheckpointError("damaged: the list of storages does not fit the tensors")
    starts, position = {}, data.tell()
    for key in keys:
        storage = found.storages[key]
        count = int.from_bytes(data[position : position + COUNT_BYTES], "little")
        starts[key] = position + COUNT_BYTES
        position = starts[key] + _num_bytes(storage)
        if position > len(data):
            raise CheckpointError(
                f"cut off: storage {key!r} would end at byte {position}, and the file has "
                f"{len(data)}; download or copy it again"
            )
        if count != storage.count:
            raise CheckpointError(
                f"damaged: storage {key!r} has {count} elements, expected {storage.count}"
            )
    if position != len(data):
        raise CheckpointError(f"damaged: {len(data) - position} bytes follow the last storage")
    return starts


def _num_bytes(storage: StorageRef) -> int:
    return storage.count * storage.dtype.itemsize


def _numbers(content: bytes, storage: StorageRef) -> np.ndarray:
    if len(content) != _num_bytes(storage):
        raise CheckpointError(
            f"damaged: storage {storage.key!r} has {len(content)} bytes, expected "
            f"{_num_bytes(storage)}"
        )
    if storage.dtype == np.bool_:  # any byte but 0 is true
        return np.frombuffer(content, np.uint8) != 0
    return np.frombuffer(content, storage.dtype)


def _without(root: Any, skip: Collection[str]) -> Any:
    if not isinstance(root, dict):
        return root
    return {key: None if key in skip else value for key, value in root.items()}


def _with_arrays(root: Any, read_storage: ReadStorage) -> Any:
    try:
        return _Resolver(read_storage).resolve(root)
    except RecursionError:
        raise CheckpointError("its containers are nested too deeply to be a checkpoint") from None


class _Resolver:
    """Replaces every reference to a tensor by its array, in plain containers.

    What the pickle holds twice is one object in the result, too.
    """

    def __init__(self, read_storage: ReadStorage):
        self._read_storage = read_storage
        self._storages: dict[str, np.ndarray] = {}
        self._done: dict[int, Any] = {}
        self._num_values: dict[int, int] = {}
        self._unfinished: set[int] = set()

    def resolve(self, node: Any) -> Any:
        """The node with arrays.

        Raises:
          CheckpointError: it holds something that is no data, or itself.
        """
        if is_plain(node):
            return node
        if id(node) in self._done:
            return self._done[id(node)]
        if id(node) in self._unfinished:
            raise CheckpointError("a container that holds itself")
        self._unfinished.add(id(node))
        result = self._done[id(node)] = self._rebuild(node)
        self._unfinished.remove(id(node))
        count = self._num_values[id(node)] = self._count(node)
        if count > MAX_VALUES:
            raise CheckpointError(
                f"its containers hold more than {MAX_VALUES} values, most of them shared; that is "
                "no checkpoint"
            )
        return result

    def _count(self, node: Any) -> int:
        """Values in a node whose parts are done, each as often as it stands there."""
        parts = node.values() if isinstance(node, dict) else node
        if isinstance(node, TensorRef | set):
            return 1
        return 1 + sum(self._num_values.get(id(p), 1) for p in parts if not is_plain(p))

    def _rebuild(self, node: Any) -> Any:
        if isinstance(node, TensorRef):
            return self._array(node)
        if isinstance(node, dict) and all(map(is_plain, node)):
            return {key: self.resolve(value) for key, value in node.items()}
        if type(node) in (list, tuple):
            return type(node)(map(self.resolve, node))
        if type(node) is set and all(map(is_plain, node)):
            return set(node)
        raise CheckpointError(f"it holds {shown(node)}, which is no plain data")

    def _array(self, tensor: TensorRef) -> np.ndarray:
        key = tensor.storage.key
        if key not in self._storages:
            self._storages[key] = self._read_storage(tensor.storage)
        numbers = self._storages[key]
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, numbers.dtype)
        axes = zip(tensor.shape, tensor.strides, strict=True)
        strides = [numbers.itemsize * (stride if n > 1 else 1) for n, stride in axes]
        return np.lib.stride_tricks.as_strided(
            numbers[tensor.offset :], tensor.shape, strides, writeable=False
        )
