"""Files that `torch.load` reads, written without torch: the container of torch 1.6 and newer.

It is a zip archive, uncompressed: a pickle that refers to storages, and each storage as an entry,
whose numbers start at a multiple of 64 bytes as torch's own do.
"""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from packnet_jax.visualize import open_atomically

STORAGE_TYPES = {"float32": "FloatStorage", "int64": "LongStorage"}
ALIGNMENT = 64
LOCAL_HEADER_BYTES = 30
PADDING_ID = 0x4246
ROOT = "archive"


class Call(NamedTuple):
    """A call that reading the file makes, such as of a class in a library."""

    module: str
    name: str
    arguments: tuple[Any, ...]


def ordered_dict(items: Mapping[str, Any]) -> Call:
    """`collections.OrderedDict`, which torch's state dicts are."""
    return Call("collections", "OrderedDict", (list(items.items()),))


def cfg_node(tree: Mapping[str, Any]) -> Call:
    """yacs' `CfgNode`, which makes its own nodes of the groups inside."""
    return Call("yacs.config", "CfgNode", (dict(tree),))


def write_torch_file(path: Path, root: Any) -> None:
    """Writes dictionaries, lists, tuples, plain values, calls and numpy arrays; whole or not.

    Raises:
      OSError: the file can not be written.
      TypeError: there is something else in it.
    """
    writer = _Pickle()
    program = writer.program(root)
    with open_atomically(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{ROOT}/data.pkl"), program)
        archive.writestr(zipfile.ZipInfo(f"{ROOT}/byteorder"), b"little")
        for key, array in enumerate(writer.storages):
            info = zipfile.ZipInfo(f"{ROOT}/data/{key}")
            info.extra = _padding(file.tell() + LOCAL_HEADER_BYTES + len(info.filename))
            archive.writestr(info, np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        archive.writestr(zipfile.ZipInfo(f"{ROOT}/version"), b"3\n")


def _padding(position: int) -> bytes:
    """An extra field that ends at a multiple of the alignment; other readers pass over it."""
    header = struct.calcsize("<HH")
    count = -(position + header) % ALIGNMENT
    return struct.pack("<HH", PADDING_ID, count) + b"Z" * count


class _Pickle:
    """A pickle of protocol 2. Python's own can only name classes that can be imported here."""

    def __init__(self):
        self.storages: list[np.ndarray] = []

    def program(self, root: Any) -> bytes:
        return b"\x80\x02" + self._of(root) + b"."

    def _of(self, node: Any) -> bytes:
        """The instructions that leave a value on the stack."""
        match node:
            case None | bool():
                return {None: b"N", True: b"\x88", False: b"\x89"}[node]
            case int():
                size = node.bit_length() // 8 + 1
                return b"\x8a" + bytes([size]) + node.to_bytes(size, "little", signed=True)
            case float():
                return b"G" + struct.pack(">d", node)
            case str():
                return b"X" + struct.pack("<I", len(node.encode())) + node.encode()
            case Call():
                return self._global(node.module, node.name) + self._of(node.arguments) + b"R"
            case tuple():
                return b"(" + b"".join(map(self._of, node)) + b"t"
            case list():
                return b"](" + b"".join(map(self._of, node)) + b"e"
            case dict():
                parts = [self._of(part) for item in node.items() for part in item]
                return b"}(" + b"".join(parts) + b"u"
            case np.ndarray():
                return self._tensor(node)
        raise TypeError(f"{type(node).__name__} in a file for torch")

    def _tensor(self, array: np.ndarray) -> bytes:
        key = str(len(self.storages))
        self.storages.append(array)
        kind = self._global("torch", STORAGE_TYPES[array.dtype.name])
        reference = b"(" + self._of("storage") + kind + self._of(key) + self._of("cpu")
        storage = reference + self._of(array.size) + b"tQ"
        strides = [int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)]
        rest = [0, array.shape, tuple(strides), False, ordered_dict({})]
        arguments = b"(" + storage + b"".join(map(self._of, rest)) + b"t"
        return self._global("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"

    @staticmethod
    def _global(module: str, name: str) -> bytes:
        return f"c{module}\n{name}\n".encode()
