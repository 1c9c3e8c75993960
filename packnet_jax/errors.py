"""Errors that a user can cause and mend; catch `PacknetError` to catch them all."""

import os
import re


class PacknetError(Exception):
    """Base of every error this package raises on purpose.

    The message says what was given, what was expected and what to do. `main` and `infer` print
    it without a traceback and exit with status 2.
    """


class ConfigError(PacknetError):
    """A configuration field is unknown, of the wrong type, or out of range."""


class DataError(PacknetError):
    """A data set, split file, image or calibration is missing or unreadable."""


class CheckpointError(PacknetError):
    """A checkpoint is missing, damaged, or does not fit the networks."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint's files are not as they were written: another one is to be taken."""


class TrainingError(PacknetError):
    """Training can not go on, for example after too many non-finite losses in a row."""


class DistributedError(PacknetError):
    """The processes of a run do not find each other."""


def reason(error: BaseException) -> str:
    """Why it happened, in one line: the system's reason where there is one behind it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return f"{os.strerror(cause.errno)}: {cause.filename or ''}".rstrip(": ")
        if number := re.search("os_error_code='([0-9]+)'", str(cause)):  # TensorStore's way
            return os.strerror(int(number[1]))
        cause = cause.__cause__
    return first_line(error)


def first_line(error: BaseException) -> str:
    """The error's type, and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
