"""From nested dictionaries to typed dataclasses, and back: what any configuration needs."""

import dataclasses
import math
import sys
import typing
from typing import Any, Literal

from ml_collections import ConfigDict


def within(default: Any, low: float, high: float = math.inf) -> Any:
    """A field whose value lies in [low, high]."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


def fields_of(node: Any) -> dict[str, Any]:
    """A dataclass as nested dictionaries; what is inside its tuples stays as it is."""
    values = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}
    return {k: fields_of(v) if dataclasses.is_dataclass(v) else v for k, v in values.items()}


def build(cls: Any, raw: Any, path: str, problems: list[str]) -> Any:
    """The dataclass `cls` from nested dictionaries, lists and `ConfigDict`s.

    A field that is missing has its default. Every unknown field, wrong type and value out of range
    is added to `problems` under its dotted `path`, and the result is None if there are any.
    """
    if isinstance(raw, ConfigDict):  # at every level: its `to_dict` does not look into tuples
        raw = raw.to_dict()
    if not isinstance(raw, dict):
        problems.append(f"{path}: given {raw!r}, expected a group of fields")
        return None
    hints = typing.get_type_hints(cls)
    problems += [
        f"{path}.{key}: unknown field; known: {', '.join(hints)}" for key in raw if key not in hints
    ]
    values = {}
    for field in dataclasses.fields(cls):
        where, hint = f"{path}.{field.name}", hints[field.name]
        if field.name not in raw:
            continue  # stored before the field existed: its default says what was done then
        value = _coerce(hint, raw[field.name], where, problems)
        values[field.name] = value
        low, high = field.metadata.get("low"), field.metadata.get("high")
        if value is not None and low is not None and not low <= value <= high:
            wanted = f"at least {low}" if high == math.inf else f"{low} to {high}"
            problems.append(f"{where}: given {value!r}, expected {wanted}")
    return None if problems else cls(**values)


def _coerce(hint: Any, value: Any, path: str, problems: list[str]) -> Any:
    """The value in the type of the hint; otherwise None, and a problem more."""
    if dataclasses.is_dataclass(hint):
        return build(hint, value, path, problems)
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        if value in arguments:
            return value
        expected = "one of " + ", ".join(map(repr, arguments))
    elif typing.get_origin(hint) is tuple:
        length_fits = arguments[-1] is Ellipsis or (
            isinstance(value, (tuple, list)) and len(value) == len(arguments)
        )
        if isinstance(value, (tuple, list)) and length_fits:
            if arguments[0] is str:  # a flag gives several words as one, with commas
                value = [w for v in value for w in (v.split(",") if type(v) is str else [v]) if w]
            items = enumerate(value)
            return tuple(_coerce(arguments[0], v, f"{path}[{i}]", problems) for i, v in items)
        expected = str(hint)
    elif hint is float and _is_finite(value):
        return float(value)
    elif hint == int | float:  # the two mean different things
        if _is_finite(value) and (type(value) is float or _is_counted(value)):
            return value
        expected = "a finite number"
    elif hint is int:
        if type(value) is int and _is_counted(value):
            return value
        expected = "int (of 64 bits)" if type(value) is int else "int"
    elif hint is not float and type(value) is hint:
        return value
    else:
        expected = "a finite number" if hint is float else hint.__name__
    problems.append(f"{path}: given {value!r} ({type(value).__name__}), expected {expected}")
    return None


def _is_finite(value: Any) -> bool:
    """Whether it is a number that a float can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_counted(value: int) -> bool:
    """Whether it is of a size that something can have."""
    return abs(value) < 2**63
