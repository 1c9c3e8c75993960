"""A state dict of the original, turned into the variables of a network here."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from packnet_jax.convert.rules import RuleTable, target_of
from packnet_jax.errors import CheckpointError

MAX_NAMES_IN_MESSAGE = 5


def from_state_dict(
    state_dict: Mapping[str, np.ndarray], rules: RuleTable, template_variables: Mapping[str, Any]
) -> dict[str, Any]:
    """Variables with the structure, shapes and types of the template, and the dict's values.

    Strict: every source tensor is used once (or is one that `rules` names as unused), and every
    variable is filled once.

    Args:
      state_dict: tensors by name, without the prefix a whole checkpoint adds.
      rules: the entry of `packnet_jax.convert.rules.RULES` for the network.
      template_variables: arrays or, from `jax.eval_shape`, their shapes.

    Raises:
      CheckpointError: a tensor that nothing reads, has the wrong shape, or fills a variable a
        second time; a variable that nothing fills.
    """
    template = traverse_util.flatten_dict(template_variables, sep="/")
    filled: dict[str, np.ndarray] = {}
    unknown: list[str] = []
    for name, tensor in state_dict.items():
        try:
            found = target_of(name, rules)
        except KeyError:
            unknown.append(name)
            continue
        if found is None:
            continue
        path, layout = found
        if path not in template:
            unknown.append(name)
        elif path in filled:
            raise CheckpointError(f"tensor {name!r} fills {path!r} a second time")
        else:
            filled[path] = _fit(name, layout, tensor, path, template[path])
    missing = [path for path in template if path not in filled]
    if unknown or missing:
        raise CheckpointError(_mismatch_message(unknown, missing))
    return traverse_util.unflatten_dict(filled, sep="/")


def _fit(name, layout, tensor, path, leaf) -> np.ndarray:
    try:
        array = layout(np.asarray(tensor))
    except ValueError as error:
        raise CheckpointError(f"tensor {name!r} can not become {path!r}: {error}") from error
    if array.shape != tuple(leaf.shape):
        raise CheckpointError(
            f"tensor {name!r} has shape {np.shape(tensor)} and would become {path!r} with shape "
            f"{array.shape}, expected {tuple(leaf.shape)}; is it another version of the network?"
        )
    return np.ascontiguousarray(array, dtype=leaf.dtype)


def _mismatch_message(unknown: list[str], missing: list[str]) -> str:
    problems = []
    if unknown:
        problems.append(f"{len(unknown)} tensors have no place in it: {_shorten(unknown)}")
    if missing:
        problems.append(f"{len(missing)} variables get no value: {_shorten(missing)}")
    return (
        f"the weights do not fit the network: {'; '.join(problems)}. "
        "Choose the network and version they were trained with"
    )


def _shorten(names: list[str]) -> str:
    more = ", ..." if len(names) > MAX_NAMES_IN_MESSAGE else ""
    return ", ".join(names[:MAX_NAMES_IN_MESSAGE]) + more
