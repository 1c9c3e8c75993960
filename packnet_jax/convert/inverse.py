"""The rules of weight names read backwards: from our variables to the original's state dicts.

There is no second table. A pattern is turned around as text, which takes patterns of a simple kind:
characters, escaped dots, groups, and optional parts. Every name that is found this way is looked up
forwards before it is used.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from packnet_jax.convert.rules import (
    Layout,
    Rule,
    RuleTable,
    kernel_2d,
    kernel_3d,
    sparse_kernel,
    target_of,
    vector,
)

CLASSIFIER = "encoder.encoder.fc"
"""Of the residual encoders: the original holds it, and nothing reads it."""
NUM_CLASSES = 1000

_PART = re.compile(
    r"(?P<optional>\(\?:(?P<inner>[^()]*)\)\?)"
    r"|\((?P<group>(?:[^()]|\(\?:[^()]*\)\??)+)\)"
    r"|\\(?P<escaped>[.])"
    r"|(?P<plain>\w)"
)


def _kernel_2d_back(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(3, 2, 0, 1)


def _kernel_3d_back(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(4, 3, 2, 0, 1)


def _sparse_kernel_back(kernel: np.ndarray) -> np.ndarray:
    return kernel.swapaxes(0, 1).reshape(-1, *kernel.shape[2:])


INVERSES: Mapping[Layout, Layout] = {
    vector: vector,
    kernel_2d: _kernel_2d_back,
    kernel_3d: _kernel_3d_back,
    sparse_kernel: _sparse_kernel_back,
}
"""The way back from each layout that the rules use."""


def to_state_dict(
    variables: Mapping[str, Any], table: RuleTable, *, with_optional: bool = False
) -> dict[str, np.ndarray]:
    """A network's tensors under the names that `rules` reads, and zeros for those that it skips.

    `from_state_dict` gives the very same variables back.

    Args:
      variables: `params` and `batch_stats` of one network, float32.
      table: the rules of the network.
      with_optional: whether names have the parts that patterns leave open, as the original's
        networks with dropout do.

    Raises:
      KeyError: no rule leads to a variable, which is a mistake in the table.
    """
    flat: dict[str, Any] = traverse_util.flatten_dict(variables, sep="/")
    tensors = {}
    for path, array in flat.items():
        name, layout = source_of(path, table, with_optional=with_optional)
        tensors[name] = INVERSES[layout](np.asarray(array))
    return tensors | _skipped(tensors, table)


def source_of(path: str, table: RuleTable, *, with_optional: bool = False) -> tuple[str, Layout]:
    """The original's name of a variable, and the layout it is read with: `target_of` backwards.

    Raises:
      KeyError: no rule leads to the path.
    """
    for rule in table.rules:
        name = _backwards(rule, path, with_optional)
        if name is not None and target_of(name, table) == (path, rule.layout):
            return name, rule.layout
    raise KeyError(path)


def _backwards(rule: Rule, path: str, with_optional: bool) -> str | None:
    """The name of which the rule makes the path."""
    parts = list(_PART.finditer(rule.pattern))
    if "".join(part[0] for part in parts) != rule.pattern:
        raise ValueError(f"the pattern {rule.pattern!r} can not be read backwards")
    groups = [part["group"] for part in parts if part["group"]]
    match = re.fullmatch(_pattern_of(rule.target, groups), path)
    if match is None:
        return None
    found = iter(match.group(f"group{number}") for number in range(1, len(groups) + 1))
    name = ""
    for part in parts:
        if part["group"]:
            name += next(found)
        elif not part["optional"]:
            name += part["escaped"] or part["plain"]
        elif with_optional:
            name += part["inner"].replace("\\", "")
    return name


def _pattern_of(target: str, groups: list[str]) -> str:
    """A pattern for the paths that a target stands for."""
    pattern = re.escape(target).replace(re.escape("\\"), "\\")  # \1 stays \1
    for number, group in enumerate(groups, start=1):
        pattern = pattern.replace(f"\\{number}", f"(?P<group{number}>{group})", 1)
        pattern = pattern.replace(f"\\{number}", f"(?P=group{number})")
    return pattern


def _skipped(tensors: Mapping[str, np.ndarray], table: RuleTable) -> dict[str, np.ndarray]:
    """Zeros for update counters and classifiers: torch wants every tensor of a network."""
    zeros: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        if name.endswith(".running_mean"):
            counter = name.removesuffix("running_mean") + "num_batches_tracked"
            zeros[counter] = np.zeros((), np.int64)
        if name == "encoder.encoder.layer4.0.downsample.1.weight":
            zeros[f"{CLASSIFIER}.weight"] = np.zeros((NUM_CLASSES, tensor.size), np.float32)
            zeros[f"{CLASSIFIER}.bias"] = np.zeros(NUM_CLASSES, np.float32)
    unread = [name for name in zeros if target_of(name, table) is not None]
    assert not unread, f"{unread} are variables, and no harmless extras"
    return zeros
