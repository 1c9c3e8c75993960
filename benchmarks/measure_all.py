"""A run: case after case, each in a process of its own."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.plan import MACHINE_CASES, Case, Choice, plan
from benchmarks.records import Record, machine_facts, make_record, with_peak_shares
from packnet_jax.errors import PacknetError

ROOT = Path(__file__).parents[1]
WORKER_ENVIRONMENT = {
    "JAX_ENABLE_COMPILATION_CACHE": "false",  # compiling is measured, too
    "TF_CPP_MIN_LOG_LEVEL": "2",
}

Found = Mapping[str, Any]
"""What the worker writes of a case: a `timing.Measurement`, or `error`."""


def measure_all(
    choice: Choice,
    *,
    measure: Callable[[Case], Found],
    publish: Callable[[Sequence[Record]], None],
) -> list[Record]:
    """The records of a run.

    Args:
        measure: measures one case.
        publish: is given the records so far, after each case.

    Raises:
        PacknetError: not even the machine can be measured.
    """
    machine = {case: measure(case) for case in _progress(MACHINE_CASES)}
    devices = [found["device"] for found in machine.values() if "device" in found]
    if not devices:
        reasons = {found["error"] for found in machine.values()}
        raise PacknetError(f"this machine can not be measured: {'; '.join(sorted(reasons))}")
    facts = devices[0] | machine_facts()
    records = [make_record(case, found, facts) for case, found in machine.items()]

    def chosen() -> list[Record]:
        return [r for r in with_peak_shares(records) if r["benchmark"] in choice.only]

    for case in _progress(plan(choice, platform=facts["platform"])):
        records.append(make_record(case, measure(case), facts))
        publish(chosen())
    publish(chosen())
    return chosen()


def measure_apart(case: Case, *, rounds: int | None, timeout: float) -> Found:
    """Measures a case in a process of its own; what goes wrong there is `error`.

    Args:
        rounds: how often it is timed; None leaves that to `timing.time_rounds`.
        timeout: seconds after which the process is ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "found.json")
        words = json.dumps(dataclasses.asdict(case)), str(rounds or 0), str(output)
        command = [sys.executable, "-m", "benchmarks.worker", *words]
        try:
            ended = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | WORKER_ENVIRONMENT,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"took longer than {timeout:g} s"}
        if output.exists():
            found = json.loads(output.read_text())
        elif ended.returncode < 0:
            name = signal.Signals(-ended.returncode).name
            found = {"error": f"killed by {name}, as where memory does not suffice"}
        else:
            found = {"error": f"ended with status {ended.returncode}"}
        if "error" in found:
            tqdm.write(f"{case.title}: {found['error']}\n{ended.stderr}", file=sys.stderr)
        return found


def _progress(cases: Sequence[Case]) -> Iterator[Case]:
    with tqdm(cases, unit="case", disable=None) as bar:
        for case in bar:
            bar.set_description(case.title)
            yield case
