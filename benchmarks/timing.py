"""Rounds of anything, and what was found; without jax."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

MIN_ROUNDS, MAX_ROUNDS = 3, 50
ENOUGH_SECONDS = 5.0


class Measurement(NamedTuple):
    """What was found of one case; None where it means nothing."""

    seconds: Sequence[float]
    """Of each round, after one that is not counted."""
    compile_s: float | None = None
    flops: float | None = None
    """See `measure.count_flops`."""
    planned_arguments_bytes: int | None = None
    """Weights, state and inputs."""
    planned_temporaries_bytes: int | None = None
    """What the compiled program holds beside arguments and output while it runs."""
    per_round: float | None = None
    """How many of `unit` a round does."""
    unit: str = ""
    peak_memory_bytes: int | None = None
    """None for that of the process that measures."""


def time_rounds(
    run: Callable[[], Any],
    *,
    rounds: int | None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Runs once uncounted, then as often as asked.

    Args:
        run: returns when all is done.
        rounds: how often; None for at least 3 times and, up to 50, until 5 s are over.
        clock: what seconds are told by.
    """
    run()
    seconds: list[float] = []
    started = time.perf_counter()
    while len(seconds) < (rounds or MIN_ROUNDS) or (
        rounds is None
        and len(seconds) < MAX_ROUNDS
        and time.perf_counter() - started < ENOUGH_SECONDS
    ):
        before = clock()
        run()
        seconds.append(clock() - before)
    return seconds
