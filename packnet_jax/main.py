"""Trains or evaluates: `python -m packnet_jax.main --config=configs/kitti.py --workdir=DIR`,
`python -m packnet_jax.main --mode=eval --checkpoint=PATH`, or `--mode=eval_pose` for odometry.

Short on purpose: flags, checks that cost nothing, and one call. What computes takes seconds to
import, and is imported only once flags and configuration are known to fit.
"""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from absl import flags, logging
from ml_collections import config_flags

from packnet_jax import config as config_lib
from packnet_jax.command_line import parse_flags, run_program
from packnet_jax.errors import ConfigError

CONFIG = config_flags.DEFINE_config_file("config", None, "A file in configs/.", lock_config=True)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; an existing one is resumed. Default: a dated one in runs/."
)
MODE = flags.DEFINE_enum("mode", "train", ["train", "eval", "eval_pose"], "What to do.")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "With --mode=eval or eval_pose: a run's workdir, one step's folder in checkpoints/, a folder "
    "that packnet_jax.convert wrote, or a checkpoint of the original (.ckpt, .pth.tar).",
)
DEBUG = flags.DEFINE_bool(
    "debug",
    False,
    "With --mode=train: end at the first step whose loss or gradients are not finite, and name the "
    "operation that made them so, instead of skipping the step.",
)


def main(argv: Sequence[str]) -> None:
    """Dispatches; a user's mistake ends in one line and status 2."""
    if len(argv) > 1:
        raise ConfigError(f"unknown arguments {argv[1:]}; fields are set as --config.FIELD=VALUE")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's banner
    workdir = Path(WORKDIR.value or f"runs/{datetime.now():%Y-%m-%d_%H-%M-%S}").expanduser()
    if MODE.value == "train":
        _train(config_lib.resolve(CONFIG.value), workdir)
        return
    if CHECKPOINT.value is None:
        raise ConfigError(
            f"--mode={MODE.value} needs --checkpoint=PATH, a workdir, one step's folder or a .ckpt "
            "file"
        )
    config_lib.check_fields(CONFIG.value)
    _evaluate(Path(CHECKPOINT.value), workdir)


def _train(config: config_lib.Config, workdir: Path) -> None:
    from packnet_jax import compilation, runs

    compilation.keep_compiled()
    runs.train_run(config, workdir=workdir, debug=DEBUG.value)


def _evaluate(checkpoint: Path, workdir: Path) -> None:
    from packnet_jax import compilation, runs
    from packnet_jax.eval_config import Given

    compilation.keep_compiled()
    flag: Any = flags.FLAGS["config"]
    file = flag.config_filename if flag.present else None
    given = Given(file, CONFIG.value, config_flags.get_override_values(flag))
    evaluate = runs.evaluate_run if MODE.value == "eval" else runs.evaluate_pose_run
    with compilation.compile_clock() as clock:
        evaluate(given, checkpoint, workdir=workdir)
    print(f"In all, {clock}")


def run() -> None:
    """The command line's entry."""
    run_program(main, parse=_parse_flags)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    return parse_flags(argv, needs_config=lambda: MODE.value == "train")


if __name__ == "__main__":
    run()
