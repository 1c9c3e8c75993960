"""FLOPs, memory and seconds of compiled programs."""

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.programs import Program
from benchmarks.timing import Measurement, time_rounds


def measure_program(program: Program, *, rounds: int | None, seed: int = 0) -> Measurement:
    """Compiles a program and times it on random inputs.

    Raises:
        FloatingPointError: its outputs are not finite, so that it may not have done its work.
    """
    lowered = program.function.lower(*program.shapes)
    before = time.perf_counter()
    compiled = lowered.compile()
    compile_s = time.perf_counter() - before
    state, *rest = program.make_inputs(np.random.default_rng(seed))
    last: Any = None

    def run() -> None:
        nonlocal state, last
        last = jax.block_until_ready(compiled(state, *rest))
        if program.has_state:
            state = last[0]

    seconds = time_rounds(run, rounds=rounds)
    check_finite(last)
    plan = compiled.memory_analysis()
    return Measurement(
        seconds,
        compile_s=compile_s,
        flops=count_flops(program.function, *program.shapes),
        planned_arguments_bytes=plan.argument_size_in_bytes,
        planned_temporaries_bytes=plan.temp_size_in_bytes,
        per_round=program.per_round,
        unit=program.unit,
    )


class PlannedMemory(NamedTuple):
    """What a compiled program needs, as its compiler says; jax and its libraries come on top."""

    held_bytes: int
    """Of arguments, and of outputs beside those that take the place of a donated one."""
    temporaries_bytes: int


def plan_memory(program: Program) -> PlannedMemory:
    """Compiles a program, and runs nothing.

    Raises:
        jax.errors.JaxRuntimeError: it can not be compiled, as where no device could hold it.
    """
    plan: Any = program.function.lower(*program.shapes).compile().memory_analysis()
    outputs = plan.output_size_in_bytes - plan.alias_size_in_bytes
    return PlannedMemory(plan.argument_size_in_bytes + outputs, plan.temp_size_in_bytes)


COUNTED_PLATFORM = "tpu"
"""None that has to be here. Of the ways that a program has for different platforms
(`lax.platform_dependent`) it has those without CPU's detours, and no call of a library."""


def count_flops(function: Any, *shapes: Any) -> float:
    """Floating-point operations of a jitted function, two for each product that is summed.

    Counted by XLA from the program as jax hands it over for one platform: what is to be computed,
    the same on every machine. The program for this one may go ways of its own: on CPU gradients by
    kernels (`networks/kernel_gradient.py`) write out the zeros of a padding, and multiply by them.
    The compiled one would lack what became calls of libraries (cuDNN, oneDNN, YNNPACK), which XLA
    can not look into, and hold what the compiler computes twice. Products with zeros of a padding
    are left out, and the body of a loop counts once: here only random numbers have loops.
    """
    lowered = function.trace(*shapes).lower(lowering_platforms=(COUNTED_PLATFORM,))
    return float(lowered.cost_analysis()["flops"])


def check_finite(tree: Any) -> None:
    """Raises FloatingPointError where a number is not finite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if (
            jax.numpy.issubdtype(leaf.dtype, np.floating)
            and not np.isfinite(np.asarray(leaf, np.float32)).all()
        ):
            raise FloatingPointError(f"{jax.tree_util.keystr(path)} is not finite")
