"""The files that the benchmarks' flags name."""

import os
from pathlib import Path

from absl import flags

from packnet_jax.errors import ConfigError


def writable(flag: flags.FlagHolder[str | None]) -> Path | None:
    """Raises ConfigError where the file can not be written: before minutes of measuring."""
    if not flag.value:
        return None
    path = Path(flag.value).expanduser()
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(
            f"--{flag.name}: {path} can not be written; give a file in a folder that is there"
        )
    return path
