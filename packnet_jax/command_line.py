"""Reading `--config=FILE --config.FIELD=VALUE` as every program does that takes them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from packnet_jax.errors import ConfigError

DEFAULTS = Path(__file__).parent / "defaults.py"


def parse_flags(argv: Sequence[str], *, needs_config: Callable[[], bool]) -> list[str]:
    """absl's parsing, with every way a config can fail to load as one ConfigError.

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
