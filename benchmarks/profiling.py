"""Times the operations of a compiled program; see `benchmarks/profile.py`."""

import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.programs import Program

NUM_CALLS = 2
PRODUCTS = {"conv_general_dilated", "dot_general"}
ELSEWHERE = "losses, update"

Place = tuple[str, str]
"""Network, and kind of operation."""


def profile(program: Program) -> tuple[float, dict[Place, float]]:
    """Seconds of a call, and of its operations by network and kind."""
    compiled = program.function.lower(*program.shapes).compile()
    state, *rest = program.make_inputs(np.random.default_rng(0))

    def call() -> None:
        nonlocal state
        output = jax.block_until_ready(compiled(state, *rest))
        if program.has_state:
            state = output[0]

    call()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            before = time.perf_counter()
            for _ in range(NUM_CALLS):
                call()
            of_a_call = (time.perf_counter() - before) / NUM_CALLS
        (file,) = Path(folder).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(file))
    names = dict(re.findall(r'%([\w.-]+) = .*op_name="([^"]*)"', compiled.as_text()))
    seconds: defaultdict[Place, float] = defaultdict(float)
    for operation, nanoseconds in _operations(data):
        seconds[place_of(names.get(operation, ""))] += nanoseconds / 1e9 / NUM_CALLS
    return of_a_call, seconds


def _operations(data: Any) -> Iterator[tuple[str, float]]:
    """Name and nanoseconds of everything that ran."""
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                name = dict(event.stats).get("hlo_op")
                if name:
                    yield str(name), event.duration_ns


def place_of(name: str) -> Place:
    """Network and kind of an operation whose name is jax's, such as
    "jit(train_step)/transpose(jvp(PackNet))/encoder/conv1/conv/conv_general_dilated"."""
    network = re.search(r"\b((?:PackNet|DepthResNet|Pose)\w*)", name)
    is_gradient = "transpose(" in name
    if name.rsplit("/", 1)[-1] not in PRODUCTS:
        kind = "other, gradients" if is_gradient else "other"
    else:
        kind = "convolutions, gradients" if is_gradient else "convolutions"
    return network[1] if network else ELSEWHERE, kind
