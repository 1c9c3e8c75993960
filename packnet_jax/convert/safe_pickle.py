"""The pickles inside torch files, read so that nothing in them can run code.

A pickle is a little program. Before it runs, every instruction is looked at: only those that torch
writes pass, and none may ask for more memory than the file is large. While it runs, the names it
asks for are looked up in a fixed table; no module is ever imported for it. Every value handed to it
is a plain container, or immutable, so that it can not alter this program either.

Values may be shared, so that a few bytes describe what would fill any memory if it were written
out, and nested more deeply than hashing a tuple, which recurses, survives. So nothing but plain
values is ever hashed or written out.
"""

import io
import math
import mmap
import pickle
import pickletools
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from packnet_jax.errors import CheckpointError

MAX_NESTED_TUPLES = 100
MAX_AXES = 32
MAX_ELEMENTS = 2**48
MAX_BITS = 128
"""Of a number; torch writes one of 80."""

MAX_DEVICE_NAME = 100
"""Characters; names that are made of names would grow without end."""

INSTRUCTIONS = {
    *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE"),
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
}
"""What torch writes, in any protocol from 2 on."""

PLAIN = {
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
"""Those that push a value which `is_plain`."""

Stream = io.BytesIO | mmap.mmap
"""A file in memory or mapped into it: reading beyond its end gives what there is."""


class StorageType(NamedTuple):
    """The kind of numbers in a storage."""

    dtype: np.dtype


class StorageRef(NamedTuple):
    """A run of numbers that lies elsewhere in the file."""

    key: str
    dtype: np.dtype
    count: int


class TensorRef(NamedTuple):
    """A tensor in its storage; offset and strides in elements. It lies inside the storage."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __setstate__(self, state: object) -> None:
        """What old torch versions say of a parameter's gradient is of no interest."""


class KnownMapping(dict):
    """Stands in for `OrderedDict` and yacs' `CfgNode`; the attributes they carry are left out."""

    __slots__ = ()

    def __init__(self, items: Any = ()):
        pairs = [(k, v) for k, v in (items.items() if isinstance(items, dict) else items)]
        if not all(is_plain(key) for key, _ in pairs):
            raise CheckpointError("a dictionary with a key that is neither text nor number")
        super().__init__(pairs)

    def __setstate__(self, state: object) -> None:
        """Leaves the attributes out."""


class _Shown(reprlib.Repr):
    """Chooses by a type's name: one that it does not know would be written out in full."""

    repr_KnownMapping = reprlib.Repr.repr_dict


def shown(value: object) -> str:
    """A value from a file for a message: its beginning alone, however much it stands for."""
    return _SHOWN.repr(value)


_SHOWN = _Shown()
_SHOWN.maxlevel = 3


class KnownFunction(NamedTuple):
    """A function of the table; immutable, unlike Python's own."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


class Seen(NamedTuple):
    """What is known of a value before the pickle runs."""

    depth: int
    """How deeply tuples are nested in it."""
    is_plain: bool


class Unpickled(NamedTuple):
    """The object, with a `TensorRef` for each tensor, and the storages it names."""

    root: Any
    storages: dict[str, StorageRef]


def is_plain(value: object) -> bool:
    """Whether it is text or a number."""
    return value is None or type(value) in (bool, int, float, str, bytes)


def unpickle(stream: Stream) -> Unpickled:
    """Reads the pickle at the stream's position and leaves the stream behind it.

    Raises:
      CheckpointError: the pickle asks for a name or instruction that is not known, or is damaged.
    """
    start = stream.tell()
    try:
        program = _checked_program(stream)
        unpickler = _Unpickler(program)
        return Unpickled(unpickler.load(), unpickler.storages)
    except CheckpointError:
        raise
    except Exception as error:  # the module's documentation: "not limited to" any set of errors
        raise CheckpointError(
            f"damaged: its pickle at byte {start} can not be read "
            f"({type(error).__name__}: {error}); download or copy the file again"
        ) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, program: bytes):
        super().__init__(io.BytesIO(program), encoding="utf-8")
        self.storages: dict[str, StorageRef] = {}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return KNOWN[module_name, global_name]
        except KeyError:
            raise CheckpointError(
                f"it asks for {module_name}.{global_name}, which is not among the few names that "
                "weight files need, and has not been imported or called. If you trust the file, "
                "load it with torch and save its state dict alone: "
                "torch.save(model.state_dict(), path)"
            ) from None

    def persistent_load(self, pid: Any, /) -> StorageRef:
        # The legacy container adds what part of another storage this one shows: always None since
        # torch 0.4.
        kind, storage_type, key, _, count, *view = pid
        if (
            kind != "storage"
            or not isinstance(storage_type, StorageType)
            or type(key) is not str
            or view not in ([], [None])
        ):
            raise CheckpointError(f"it refers to {shown(pid)}, expected a plain storage of numbers")
        if not _is_count(count):
            raise CheckpointError(f"storage {key!r} has an impossible size, {shown(count)}")
        storage = StorageRef(key, storage_type.dtype, count)
        if self.storages.setdefault(key, storage) != storage:
            raise CheckpointError(f"storage {key!r} is described in two ways that disagree")
        return storage


def _checked_program(stream: Stream) -> bytes:
    """The bytes of the pickle at the stream's position, every instruction checked."""
    start = stream.tell()
    stack: list[Seen | None] = []  # None is a mark
    memo: dict[int, Seen] = {}
    instructions = pickletools.genops(stream)  # pyright: ignore[reportArgumentType]
    for number, (instruction, given, _) in enumerate(instructions):
        argument: Any = given
        name = instruction.name
        if name not in INSTRUCTIONS:
            raise CheckpointError(
                f"its pickle uses the instruction {name}, which torch does not write; is it a "
                "checkpoint made by torch.save?"
            )
        if name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            index = len(memo) if name == "MEMOIZE" else argument
            if index > number:  # the unpickler would make room for all indices up to this one
                raise ValueError(f"memo index {index} after {number} instructions")
            memo[index] = stack[-1] or Seen(0, is_plain=False)
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(None)
        else:
            popped = _pop(stack, instruction.stack_before)
            depth = max((value.depth for value in popped), default=0) + name.startswith("TUPLE")
            if depth > MAX_NESTED_TUPLES:
                raise ValueError(f"more than {MAX_NESTED_TUPLES} nested tuples")
            if name in ("SETITEM", "SETITEMS") and not all(key.is_plain for key in popped[1::2]):
                raise ValueError("a dictionary with a key that is neither text nor number")
            if type(argument) is int and argument.bit_length() > MAX_BITS:
                raise ValueError(f"a number of {argument.bit_length()} bits")
            stack += [Seen(depth, name in PLAIN)] * len(instruction.stack_after)
    size = stream.tell() - start
    stream.seek(start)
    return stream.read(size)


def _pop(stack: list[Seen | None], before: list[pickletools.StackObject]) -> list[Seen]:
    """Takes off what an instruction consumes, and gives it from the top of the stack down."""
    popped: list[Seen] = []
    count = len(before)
    if pickletools.markobject in before:
        while (value := stack.pop()) is not None:
            popped.append(value)
        count -= 2  # the mark and all above it
    for _ in range(count):
        value = stack.pop()
        if value is None:
            raise ValueError("a mark where a value was expected")
        popped.append(value)
    return popped


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorRef:
    """torch's `_rebuild_tensor` and, with gradient flag and hooks, `_rebuild_tensor_v2`."""
    if not isinstance(storage, StorageRef):
        raise CheckpointError("a tensor without a storage")
    shape, strides = tuple(shape), tuple(strides)
    if len(shape) != len(strides) or not all(map(_is_count, (offset, *shape, *strides))):
        raise CheckpointError(
            f"a tensor of shape {shown(shape)}, strides {shown(strides)} and offset "
            f"{shown(offset)}, expected as many strides as axes and no negative numbers"
        )
    if len(shape) > MAX_AXES or math.prod(n or 1 for n in shape) > MAX_ELEMENTS:
        raise CheckpointError(f"a tensor of the impossible shape {shown(shape)}")
    size = math.prod(shape)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if size and (last >= storage.count or size > storage.count):
        raise CheckpointError(
            f"damaged: a tensor of shape {shape}, strides {strides} and offset {offset} does not "
            f"lie in its storage {storage.key!r} of {storage.count} elements"
        )
    return TensorRef(storage, offset, shape, strides)


def _rebuild_tensor_v2(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, metadata: Any = ()
) -> TensorRef:
    if metadata:
        raise CheckpointError(
            f"a tensor with the properties {shown(metadata)}, which are not known"
        )
    return _rebuild_tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor: Any, *_: Any) -> TensorRef:
    if not isinstance(tensor, TensorRef):
        raise CheckpointError("a parameter without a tensor")
    return tensor


def _device(*names: Any) -> str:
    names = _plain(names)
    if len(names) > 2 or any(len(str(name)) > MAX_DEVICE_NAME for name in names):
        raise CheckpointError(f"a device named {shown(names)}, expected one such as 'cuda', 0")
    return ":".join(map(str, names))


def _plain(values: Any) -> tuple[Any, ...]:
    values = tuple(values)
    if not all(map(is_plain, values)):
        raise CheckpointError(f"it holds {shown(values)}, expected texts or numbers alone")
    return values


def _set(values: Any = ()) -> set[Any]:
    return set(_plain(values))


KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): KnownMapping,
    ("yacs.config", "CfgNode"): KnownMapping,
    ("__builtin__", "set"): KnownFunction(_set),  # Python 2's name, which protocol 2 keeps
    ("builtins", "set"): KnownFunction(_set),
    ("torch", "Size"): KnownFunction(_plain),
    ("torch", "device"): KnownFunction(_device),
    ("torch._utils", "_rebuild_tensor"): KnownFunction(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): KnownFunction(_rebuild_tensor_v2),
    ("torch._utils", "_rebuild_parameter"): KnownFunction(_rebuild_parameter),
    ("torch.nn.parameter", "Parameter"): KnownFunction(_rebuild_parameter),
    **{
        ("torch", f"{name}Storage"): StorageType(np.dtype(dtype))
        for name, dtype in {
            "Double": "<f8",
            "Float": "<f4",
            "Half": "<f2",
            "BFloat16": jnp.bfloat16,
            "Long": "<i8",
            "Int": "<i4",
            "Short": "<i2",
            "Char": "i1",
            "Byte": "u1",
            "Bool": "?",
        }.items()
    },
}
"""Everything a file may name."""
