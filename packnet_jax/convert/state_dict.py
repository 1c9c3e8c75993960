"""A state dict of the original, turned into the variables of a network here."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from packnet_jax.convert.rules import RuleTable, target_of
from packnet_jax.errors import CheckpointError


class Placed(NamedTuple):
    """A tensor and the variable it has become."""

    source: str
    target: str
    shape: tuple[int, ...]
    """Of the variable."""


class Fit(NamedTuple):
    """The variables of one network, and what became of each source tensor."""

    variables: dict[str, Any]
    placed: tuple[Placed, ...]
    unused: tuple[str, ...]
    """Tensors that the rules name as harmless extras."""


def from_state_dict(
    state_dict: Mapping[str, np.ndarray], rules: RuleTable, template_variables: Mapping[str, Any]
) -> dict[str, Any]:
    """The variables alone of what `fit_state_dict` finds."""
    return fit_state_dict(state_dict, rules, template_variables).variables


def fit_state_dict(
    state_dict: Mapping[str, np.ndarray], rules: RuleTable, template_variables: Mapping[str, Any]
) -> Fit:
    """Variables with the structure, shapes and types of the template, and the dict's values.

    Strict: every source tensor is used once (or is one that `rules` names as unused), and every
    variable is filled once.

    Args:
      state_dict: tensors by name, without the prefix a whole checkpoint adds.
      rules: the entry of `packnet_jax.convert.rules.RULES` for the network.
      template_variables: arrays or, from `jax.eval_shape`, their shapes.

    Raises:
      CheckpointError: tensors that nothing reads, have the wrong shape, or fill a variable a second
        time; variables that nothing fills. The message lists them all.
    """
    template: dict[str, Any] = traverse_util.flatten_dict(template_variables, sep="/")
    views: dict[str, np.ndarray] = {}
    sources: dict[str, str] = {}
    unused: list[str] = []
    unknown: list[str] = []
    misfits: list[str] = []
    for name, tensor in state_dict.items():
        try:
            found = target_of(name, rules)
        except KeyError:
            unknown.append(name)
            continue
        if found is None:
            unused.append(name)
            continue
        path, layout = found
        if path not in template:
            unknown.append(name)
            continue
        if path in sources:
            misfits.append(f"{name!r} fills {path!r} a second time, after {sources[path]!r}")
            continue
        sources[path] = name
        try:
            views[path] = _of_shape(tuple(template[path].shape), layout(np.asarray(tensor)))
        except ValueError as error:
            misfits.append(f"{name!r} of shape {np.shape(tensor)} can not become {path!r}: {error}")
    missing = [path for path in template if path not in sources]
    if unknown or missing or misfits:
        raise CheckpointError(_mismatch_message(unknown, missing, misfits))
    filled = {p: np.asarray(view, template[p].dtype, order="C") for p, view in views.items()}
    return Fit(
        traverse_util.unflatten_dict(filled, sep="/"),
        tuple(Placed(sources[path], path, array.shape) for path, array in filled.items()),
        tuple(unused),
    )


def _of_shape(shape: tuple[int, ...], array: np.ndarray) -> np.ndarray:
    if array.shape != shape:
        raise ValueError(f"would have shape {array.shape}, expected {shape}")
    return array


def _mismatch_message(unknown: list[str], missing: list[str], misfits: list[str]) -> str:
    problems = [
        _counted(unknown, "tensors have no place in it", ", "),
        _counted(missing, "variables get no value", ", "),
        _counted(misfits, "tensors do not fit their variable", "\n    "),
    ]
    return (
        "the weights do not fit the network; choose the network and version they were trained "
        "with:\n  " + "\n  ".join(filter(None, problems))
    )


def _counted(names: Iterable[str], what: str, separator: str) -> str:
    names = list(names)
    return f"{len(names)} {what}: {separator.join(names)}" if names else ""
