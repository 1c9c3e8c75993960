"""Writes files as `torch.save` does, from numpy arrays and without torch; hostile ones, too."""

import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from packnet_jax.convert.torch_file import MAGIC_NUMBER, PROTOCOL_VERSION

STORAGE_NAMES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


class Global(NamedTuple):
    """A name that the reader is asked to look up."""

    module: str
    name: str


class Call(NamedTuple):
    """A call of such a name."""

    function: Global
    arguments: tuple


class Build(NamedTuple):
    """A state that is given to an object."""

    target: Any
    state: Any


class Raw(NamedTuple):
    """Instructions of a pickle as they are."""

    program: bytes


class Storage(NamedTuple):
    """A reference to a storage, which may lie about it."""

    key: str
    type_name: str
    count: int


class Tensor(NamedTuple):
    """A tensor as the file describes it; `data` is what lies in the storage."""

    storage: Storage
    data: np.ndarray
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Parameter(NamedTuple):
    """As torchvision's old files hold their weights."""

    data: np.ndarray


class Writer:
    """Pickles of protocol 2, and the storages they refer to."""

    def __init__(self):
        self.storages: dict[str, np.ndarray] = {}

    def pickle(self, root: Any) -> bytes:
        return b"\x80\x02" + self._program(root) + b"."

    def _program(self, node: Any) -> bytes:
        match node:
            case Raw():
                return node.program
            case Global():
                return f"c{node.module}\n{node.name}\n".encode()
            case Call():
                return self._program(node.function) + self._program(node.arguments) + b"R"
            case Build():
                return self._program(node.target) + self._program(node.state) + b"b"
            case Storage():
                kind = Global("torch", node.type_name)
                return self._program(("storage", kind, node.key, "cpu", node.count)) + b"Q"
            case Tensor():
                self.storages[node.storage.key] = node.data
                fields = (node.storage, node.offset, node.shape, node.strides, False, {})
                return self._program(Call(Global("torch._utils", "_rebuild_tensor_v2"), fields))
            case Parameter():
                parameter = Call(Global("torch.nn.parameter", "Parameter"), (node.data,))
                return self._program(Build(parameter, (True, False, {})))
            case np.ndarray():
                return self._program(self._tensor(node))
            case None | bool():
                return {None: b"N", True: b"\x88", False: b"\x89"}[node]
            case int():
                size = (node.bit_length() + 8) // 8
                return b"\x8a" + bytes([size]) + node.to_bytes(size, "little", signed=True)
            case float():
                return b"G" + struct.pack(">d", node)
            case str():
                return b"X" + struct.pack("<I", len(node.encode())) + node.encode()
            case tuple():
                return b"(" + b"".join(map(self._program, node)) + b"t"
            case list():
                return b"](" + b"".join(map(self._program, node)) + b"e"
            case dict():
                items = [self._program(part) for item in node.items() for part in item]
                return b"}(" + b"".join(items) + b"u"
        raise TypeError(f"no instruction for {node!r}")

    def _tensor(self, array: np.ndarray) -> Tensor:
        """The array in a storage of its own, or in that of its base, which views share."""
        base = array if array.base is None else array.base
        start = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        storage = Storage(str(id(base)), STORAGE_NAMES[array.dtype.name], base.size)
        strides = tuple(stride // array.itemsize for stride in array.strides)
        return Tensor(storage, base, start // array.itemsize, array.shape, strides)


def zip_bytes(root: Any, *, more: dict[str, bytes] | None = None) -> bytes:
    """The container of torch >= 1.6."""
    writer, buffer = Writer(), BytesIO()
    program = writer.pickle(root)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", program)
        for key, data in writer.storages.items():
            archive.writestr(f"archive/data/{key}", data.tobytes())
        archive.writestr("archive/version", b"3\n")
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def legacy_bytes(root: Any, *, little_endian: bool = True, protocol: int = PROTOCOL_VERSION):
    """The container of torch <= 1.5."""
    writer = Writer()
    machine = {"protocol_version": protocol, "little_endian": little_endian, "type_sizes": {}}
    pickles = [writer.pickle(part) for part in (MAGIC_NUMBER, protocol, machine, root)]
    keys = sorted(writer.storages)
    pickles.append(writer.pickle(keys))
    for key in keys:
        data = writer.storages[key]
        pickles.append(data.size.to_bytes(8, "little") + data.tobytes())
    return b"".join(pickles)


def write_legacy(path: Path, root: Any) -> Path:
    path.write_bytes(legacy_bytes(root))
    return path


def write_zip(path: Path, root: Any) -> Path:
    path.write_bytes(zip_bytes(root))
    return path


CONTAINERS = {"zip": zip_bytes, "legacy": legacy_bytes}
