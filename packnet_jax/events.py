"""What happened to a run: one line per event on the terminal, and the same in `events.jsonl`.

Each line of the file is one JSON object with `time` (UTC, ISO 8601), `kind`, `step` (null where no
step is meant), `process`, `message` (what the terminal said) and fields of its kind:

| kind | when |
|---|---|
| start | devices, versions, configuration, data and code are known |
| resume | a checkpoint has been read |
| first_step | the first step is done, compiling included |
| evaluation | a set has been evaluated: `dataset`, `metrics` |
| save | a checkpoint is on disk |
| skipped | a step whose loss or gradient was not finite |
| warning | whatever is logged as a warning or an error: `level` |
| stop | somebody asked to stop: `signal` |
| error | the run has failed: `type` |
| end | it has ended otherwise: `reason` |
"""

import json
import logging as python_logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from absl import logging
from tqdm import tqdm

EVENTS = "events.jsonl"
MAX_LOGGED = 2000
"""Characters of a warning; libraries may log pages."""


class EventLog:
    """Appends events to a file, a whole line at a time, and tells them on the terminal.

    Of several processes the first writes; the others only add their errors. Without a file,
    events are told and not kept. A file that can not be written never ends a run.
    """

    def __init__(self, workdir: Path | None = None, *, process: int = 0):
        self._path = workdir / EVENTS if workdir else None
        self._process = process
        self._is_line_open = self._path is not None and _ends_within_a_line(self._path)
        self._has_failed = False

    def tell(self, kind: str, message: str, *, step: int | None = None, **fields: Any) -> None:
        """One event, on the terminal and in the file.

        Args:
            step: how many steps are done.
            fields: what JSON can hold.
        """
        if self._process == 0:
            place = "" if step is None else f" step {step}"
            tqdm.write(f"[{datetime.now():%H:%M:%S}{place}] {message}")
            sys.stdout.flush()  # a log file shows it now, too
        self.keep(kind, message, step=step, **fields)

    def keep(self, kind: str, message: str, *, step: int | None = None, **fields: Any) -> None:
        """One event that the terminal has been told already."""
        if self._path is None or (self._process and kind != "error"):
            return
        event = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "kind": kind,
            "step": step,
            "process": self._process,
            "message": message,
            **fields,
        }
        line = json.dumps(_finite(event), default=str).encode() + b"\n"
        if self._is_line_open:  # a kill or a full disk has cut it
            line = b"\n" + line
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                self._is_line_open = os.write(handle, line) < len(line)
            finally:
                os.close(handle)
        except OSError as error:
            if not self._has_failed:  # told once, and not through this log
                self._has_failed = True
                print(f"{self._path} can not be written ({error})", file=sys.stderr, flush=True)


def read_events(workdir: Path) -> list[dict[str, Any]]:
    """The events of a workdir, oldest first, of all its starts; lines that a kill cut are left out.

    [] where there are none.
    """
    try:
        lines = (workdir / EVENTS).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "kind" in event:
            events.append(event)
    return events


@contextmanager
def event_log(workdir: Path, *, process: int = 0) -> Iterator[EventLog]:
    """The log of one start: with every warning that is logged meanwhile, and how it ended."""
    log = EventLog(workdir, process=process)
    listener = _Warnings(log)
    logger = logging.get_absl_logger()
    logger.addHandler(listener)
    try:
        yield log
    except Exception as error:
        log.keep("error", str(error), type=type(error).__name__)
        raise
    except BaseException as stopped:  # Ctrl-C twice, an exit
        log.keep("end", "", reason=type(stopped).__name__)
        raise
    finally:
        logger.removeHandler(listener)


class _Warnings(python_logging.Handler):
    """Keeps what absl logs; the terminal has it already."""

    def __init__(self, log: EventLog):
        super().__init__(python_logging.WARNING)
        self._log = log

    def emit(self, record: python_logging.LogRecord) -> None:
        message = record.getMessage()[:MAX_LOGGED]
        self._log.keep("warning", message, level=record.levelname.lower())


def _ends_within_a_line(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:  # it is not there, or empty
        return False


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
