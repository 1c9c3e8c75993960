"""Checks the data of a configuration: `python -m packnet_jax.data_check --config=FILE`.

Exit status: 0 when nothing is strange; 1 when something is, which is marked with "!"; 2 when the
data can not be opened, or something given does not fit.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging
from ml_collections import config_flags

from packnet_jax import config as config_lib
from packnet_jax.command_line import parse_flags, run_program
from packnet_jax.errors import ConfigError

CONFIG = config_flags.DEFINE_config_file("config", None, "A file in configs/.", lock_config=True)
OUTPUT = flags.DEFINE_string(
    "output", "data_check", "Folder for data_check.json and a page of samples of every set."
)
MAX_FRAMES = flags.DEFINE_integer(
    "max_frames", None, "Look at so many frames of every set, from its beginning; default: all.", 1
)


def main(argv: Sequence[str]) -> int:
    """Checks every set; returns the exit status."""
    if len(argv) > 1:
        raise ConfigError(f"unknown arguments {argv[1:]}; fields are set as --config.FIELD=VALUE")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)  # what warnings would say is in the table
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's banner
    config = config_lib.resolve(CONFIG.value)
    from packnet_jax.data_check.run import check_data  # takes a second: only for a sound config

    is_sound = check_data(config, Path(OUTPUT.value or "").expanduser(), MAX_FRAMES.value)
    return 0 if is_sound else 1


def run() -> None:
    """The command line's entry."""
    run_program(main, parse=lambda argv: parse_flags(argv, needs_config=lambda: True))


if __name__ == "__main__":
    run()
