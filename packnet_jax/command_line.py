"""How every program starts, reads its flags, and says what is wrong with them."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags, logging

from packnet_jax.errors import ConfigError, PacknetError

DEFAULTS = Path(__file__).parent / "defaults.py"
PATIENCE_SECONDS = 10
"""How long what failed may hold a program that has said so."""


def run_program(
    main: Callable[[Sequence[str]], Any],
    *,
    parse: Callable[[Sequence[str]], list[str]] | None = None,
) -> None:
    """Runs a program and ends the process.

    What the user has to mend is one message, without a traceback, and the exit status 2.

    Args:
        main: is given the arguments that are no flags, itself first, and returns the exit status.
        parse: the flags; `parse_own_flags` if None.
    """
    try:
        app.run(main, flags_parser=parse or parse_own_flags)
    except PacknetError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        _exit(2)


def _exit(status: int) -> NoReturn:
    """Ends the process, even if a library's threads have not noticed the failure.

    Python joins all threads first. Where a checkpoint's folder could not be made, Orbax's wait for
    it for 5 minutes; where another process of the run is gone, jax's wait for that.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    last_word = threading.Timer(PATIENCE_SECONDS, os._exit, (status,))
    last_word.daemon = True
    last_word.start()
    sys.exit(status)


def parse_own_flags(argv: Sequence[str]) -> list[str]:
    """absl's parsing, for programs without `--config`.

    Raises:
        ConfigError: a flag is unknown, or its value does not fit.
    """
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        raise ConfigError(f"the command line does not fit: {error}") from error


def begin(argv: Sequence[str], *required: flags.FlagHolder[Any]) -> None:
    """What a program without `--config` does first: logs only warnings, unless `--verbosity` says
    more, and checks its arguments.

    Raises:
        ConfigError: there are arguments that are no flags, or a required flag is missing.
    """
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    if len(argv) > 1:
        raise ConfigError(f"unknown arguments {argv[1:]}")
    for flag in required:
        if flag.value is None:
            raise ConfigError(f"--{flag.name} is missing")


def parse_flags(argv: Sequence[str], *, needs_config: Callable[[], bool]) -> list[str]:
    """`--config=FILE --config.FIELD=VALUE`, as every program reads them that takes them.

    Every way a config can fail to load is one ConfigError.

    Args:
        argv: the program's arguments, itself first.
        needs_config: whether a file must be given; asked once the flags are known. Where none is,
            `--config.FIELD=VALUE` changes the defaults.
    """
    try:
        flags.FLAGS.set_default("config", str(DEFAULTS))
        remaining = flags.FLAGS(argv)
        if needs_config() and not flags.FLAGS["config"].present:
            raise ConfigError("--config is missing; for example --config=configs/kitti.py")
        config: Any = flags.FLAGS["config"].value
        _ = config.seed  # a file that could not be loaded raises its error only now
        return remaining
    except IndexError as error:
        raise ConfigError(
            "the INDEX of a flag --config.FIELD[INDEX] is beyond what the file of --config lists; "
            "the flag changes an entry, and only the file can add one"
        ) from error
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        # Messages that went through a KeyError arrive quoted and escaped.
        text = str(error).replace("\\n", "\n").replace("\\'", "'").strip('"')
        raise ConfigError(
            f"the command line or the file of --config does not fit: {text}"
        ) from error
