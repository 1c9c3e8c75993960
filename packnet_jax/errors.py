"""Errors that a user can cause and mend; catch `PacknetError` to catch them all."""


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


class TrainingError(PacknetError):
    """Training can not go on, for example after too many non-finite losses in a row."""


class DistributedError(PacknetError):
    """The processes of a run do not find each other."""
