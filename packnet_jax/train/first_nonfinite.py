"""Where a compiled program first turned finite numbers into numbers that are not.

The program is gone through operation by operation, uncompiled, and for each result that is not
finite it is remembered which of its inputs were not. From the output of interest the way leads back
to an operation whose inputs were all finite. Masked values, which may be anything, lie on no such
way. Loops (scan, while, map) are gone through pass by pass, and of a cond the branch that is taken.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core, source_info_util

CALLS = {
    *("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"),
}
"""Operations that only hold others."""


class Trouble(NamedTuple):
    """A value that is not finite."""

    order: int
    what: str
    causes: tuple["Trouble", ...]
    """Those of the inputs; none where it began."""


class Known(NamedTuple):
    """A value while the program runs."""

    value: Any
    trouble: Trouble | None = None
    is_meant: bool = False
    """Infinite because the program says so, as where a maximum leaves something out."""
    of_passes: tuple[Trouble | None, ...] = ()
    """Of what the passes of a loop gave, that of each."""


def first_nonfinite(
    program: Callable[..., Any], arguments: Mapping[str, Any], output: Callable[[Any], jax.Array]
) -> str | None:
    """What first was not finite, in words; None where the output is finite.

    Slow, and in the memory that the program takes without being compiled: for a look at one step.

    Args:
        program: a function of pytrees, compiled or not.
        arguments: by the names that they have in messages.
        output: the output of interest, of what the program gives.
    """
    names, trees = list(arguments), list(arguments.values())
    leaves, _ = jax.tree_util.tree_flatten_with_path(trees)
    closed, shapes = jax.make_jaxpr(program, return_shape=True)(*trees)
    numbered = jax.tree.unflatten(jax.tree.structure(shapes), range(len(closed.jaxpr.outvars)))
    position = int(output(numbered))
    order = itertools.count()
    known = []
    for path, leaf in leaves:
        place = jax.tree_util.keystr(path[1:], simple=True, separator="/")
        name = f"{names[path[0].idx]}{f'/{place}' if place else ''}"
        trouble = None
        if _is_strange(leaf):
            trouble = Trouble(next(order), f"{name} was not finite before: {_counts(leaf)}", ())
        known.append(Known(leaf, trouble))
    (found,) = _run(closed.jaxpr, closed.consts, known, order, [position])
    trouble = found.trouble
    if trouble is None:
        return None
    while trouble.causes:
        trouble = min(trouble.causes, key=lambda cause: cause.order)
    return trouble.what


def _run(
    jaxpr: core.Jaxpr,
    consts: Sequence[Any],
    inputs: Sequence[Known],
    order: Iterator[int],
    positions: Sequence[int],
) -> list[Known]:
    """The outputs of a program that stand at these positions; nothing else is computed."""
    outputs = [jaxpr.outvars[position] for position in positions]
    needed = _needed(jaxpr, outputs)
    known: dict[Any, Known] = dict(zip(jaxpr.invars, inputs, strict=True))
    known |= zip(jaxpr.constvars, map(_constant, consts), strict=True)

    def read(atom: Any) -> Known:
        return _constant(atom.val) if isinstance(atom, core.Literal) else known[atom]

    last_use = {
        atom: number
        for number, equation in enumerate(needed)
        for atom in _variables(equation.invars)
    }
    kept = _variables(outputs)
    for number, equation in enumerate(needed):
        wanted = [i for i, v in enumerate(equation.outvars) if v in last_use or v in kept]
        found = _step(equation, [read(atom) for atom in equation.invars], order, wanted)
        known |= zip((equation.outvars[i] for i in wanted), found, strict=True)
        for atom in _variables(equation.invars) - kept:
            if last_use[atom] == number:
                known.pop(atom, None)
    return [read(atom) for atom in outputs]


def _needed(jaxpr: core.Jaxpr, outputs: Sequence[Any]) -> list[Any]:
    """The operations that outputs depend on, in order."""
    wanted, needed = _variables(outputs), []
    for equation in reversed(jaxpr.eqns):
        if not wanted.isdisjoint(_variables(equation.outvars)):
            needed.append(equation)
            wanted |= _variables(equation.invars)
    return needed[::-1]


def _variables(atoms: Sequence[Any]) -> set[Any]:
    return {atom for atom in atoms if not isinstance(atom, core.Literal)}


def _constant(value: Any) -> Known:
    return Known(value, is_meant=_is_strange(value))


def _step(
    equation: Any, inputs: Sequence[Known], order: Iterator[int], wanted: Sequence[int]
) -> list[Known]:
    """The outputs of one operation at these positions."""
    name, params = equation.primitive.name, equation.params
    inner = params.get("jaxpr", params.get("call_jaxpr", params.get("fun_jaxpr")))
    if name in CALLS and inner is not None:
        if isinstance(inner, core.ClosedJaxpr):
            return _run(inner.jaxpr, inner.consts, inputs, order, wanted)
        return _run(inner, (), inputs, order, wanted)
    if name in STEPS:
        return STEPS[name](params, inputs, order, wanted)
    if name == "sharding_constraint":
        return [inputs[position] for position in wanted]
    values = equation.primitive.bind(*(known.value for known in inputs), **params)
    values = values if equation.primitive.multiple_results else [values]
    causes = tuple(known.trouble for known in inputs if known.trouble is not None)
    is_meant = any(known.is_meant for known in inputs)
    outputs = []
    for value in (values[position] for position in wanted):
        if not _is_strange(value):
            outputs.append(Known(value))
        elif is_meant and not causes and not bool(jnp.isnan(value).any()):
            outputs.append(Known(value, is_meant=True))
        else:
            what = "" if causes else _description(equation, inputs, value)
            outputs.append(Known(value, Trouble(next(order), what, causes)))
    return outputs


def _closed(
    program: core.ClosedJaxpr, inputs: Sequence[Known], order: Iterator[int]
) -> list[Known]:
    """All outputs of a part of the program."""
    everything = range(len(program.jaxpr.outvars))
    return _run(program.jaxpr, program.consts, inputs, order, everything)


def _cond(
    params: Mapping[str, Any],
    inputs: Sequence[Known],
    order: Iterator[int],
    wanted: Sequence[int],
) -> list[Known]:
    index, *operands = inputs
    branches = params["branches"]
    taken = branches[min(max(int(index.value), 0), len(branches) - 1)]
    return _run(taken.jaxpr, taken.consts, operands, order, wanted)


def _while(
    params: Mapping[str, Any],
    inputs: Sequence[Known],
    order: Iterator[int],
    wanted: Sequence[int],
) -> list[Known]:
    split = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    of_condition, of_body, carry = inputs[: split[0]], inputs[slice(*split)], inputs[split[1] :]
    while bool(_closed(params["cond_jaxpr"], [*of_condition, *carry], order)[0].value):
        carry = _closed(params["body_jaxpr"], [*of_body, *carry], order)
    return [carry[position] for position in wanted]


def _scan(
    params: Mapping[str, Any],
    inputs: Sequence[Known],
    order: Iterator[int],
    wanted: Sequence[int],
) -> list[Known]:
    num_shared, num_carry = _lengths(params)
    shared, inputs = inputs[:num_shared], inputs[num_shared:]
    carry, stacks = inputs[:num_carry], inputs[num_carry:]
    passes: list[list[Known]] = []
    for number in range(params["length"]):
        slices = [
            _pass_of(stack, number if not params["reverse"] else -1 - number) for stack in stacks
        ]
        found = _closed(params["jaxpr"], [*shared, *carry, *slices], order)
        carry = found[:num_carry]
        passes.append(found[num_carry:])
    if params["reverse"]:
        passes.reverse()
    shapes = [out.aval for out in params["jaxpr"].jaxpr.outvars[num_carry:]]
    outputs = [*carry, *(_stacked([p[i] for p in passes], s) for i, s in enumerate(shapes))]
    return [outputs[position] for position in wanted]


def _lengths(params: Mapping[str, Any]) -> tuple[int, int]:
    """How many inputs all passes of a scan share, and how many each hands on to the next."""
    if "ft_in" in params:  # from jax 0.12 on
        shared, carry, _ = params["ft_in"].unpack()
        return len(shared), len(carry)
    return params["num_consts"], params["num_carry"]


def _pass_of(stack: Known, number: int) -> Known:
    """What one pass gets of a stack."""
    value = stack.value[number]
    if not _is_strange(value):
        return Known(value)
    trouble = stack.of_passes[number] if stack.of_passes else stack.trouble
    return Known(value, trouble, stack.is_meant)


def _stacked(parts: Sequence[Known], shape: Any) -> Known:
    """What all passes gave, as one value; the first trouble stands for all."""
    if not parts:
        return Known(jnp.zeros((0, *shape.shape), shape.dtype))
    troubles = tuple(part.trouble for part in parts)
    first = min(filter(None, troubles), key=lambda trouble: trouble.order, default=None)
    value = jnp.stack([part.value for part in parts])
    return Known(value, first, any(part.is_meant for part in parts), troubles)


STEPS = {"cond": _cond, "while": _while, "scan": _scan}
"""Operations that hold others and run them as the values say."""


def _description(equation: Any, inputs: Sequence[Known], value: Any) -> str:
    info = equation.source_info
    place = source_info_util.summarize(info)
    scope = str(info.name_stack)
    given = ", ".join(_range(known.value) for known in inputs) or "nothing"
    name = f"{equation.primitive.name} at {place}{f' (in {scope})' if scope else ''}"
    return f"{name} made {_counts(value)} out of {given}"


def _counts(value: Any) -> str:
    value = jnp.asarray(value)
    nan, infinite = int(jnp.isnan(value).sum()), int(jnp.isinf(value).sum())
    return f"{nan} NaN and {infinite} infinite of {value.size} values"


def _range(value: Any) -> str:
    value = jnp.asarray(value)
    shape = f"{value.dtype}{list(value.shape)}"
    if not value.size or not jnp.issubdtype(value.dtype, jnp.number):
        return shape
    return f"{shape} from {value.min():.4g} to {value.max():.4g}"


def _is_strange(value: Any) -> bool:
    """Whether it holds NaN or infinite numbers."""
    if isinstance(value, float):
        return not math.isfinite(value)
    dtype = getattr(value, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        return False
    return not bool(jnp.isfinite(value).all())
