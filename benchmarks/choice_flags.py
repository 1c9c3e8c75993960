"""The flags that `benchmarks.run` and `benchmarks.memory` share."""

import os
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from benchmarks.plan import Choice
from packnet_jax.errors import ConfigError

NETWORKS = flags.DEFINE_list("networks", None, "Networks, such as PackNet01,DepthResNet18.")
SIZES = flags.DEFINE_list("sizes", None, "Heights and widths, such as 192x640,384x1280.")
BATCH_SIZES = flags.DEFINE_list("batch_sizes", None, "Images at once, such as 1,16.")
DTYPES = flags.DEFINE_list("dtypes", None, "What networks compute in: float32, bfloat16.")
PACKINGS = flags.DEFINE_list("packings", None, "Of PackNets: reference, fused.")
MARKDOWN = flags.DEFINE_string("markdown", None, "File for the table.")


def parse_choice(*, only: Sequence[str] | None) -> Choice:
    """What the flags say, with the benchmarks `only`.

    Raises:
        ConfigError: there is no such thing.
    """
    return Choice.parse(
        only=only,
        networks=NETWORKS.value,
        sizes=SIZES.value,
        batch_sizes=BATCH_SIZES.value,
        dtypes=DTYPES.value,
        packings=PACKINGS.value,
    )


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
