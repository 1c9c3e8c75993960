"""Trains or evaluates: `python -m packnet_jax.main --config=configs/kitti.py --workdir=DIR`,
`python -m packnet_jax.main --mode=eval --checkpoint=PATH`, or `--mode=eval_pose` for odometry.

Short on purpose: flags, checks that cost nothing, and one call. What computes takes seconds to
import, and is imported only once flags and configuration are known to fit.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from absl import flags, logging
from ml_collections import config_flags

from packnet_jax import config as config_lib
from packnet_jax import distributed
from packnet_jax.command_line import parse_flags, run_program
from packnet_jax.errors import ConfigError
from packnet_jax.signals import TERMINATED, Preempted, leave_on_sigterm

CONFIG = config_flags.DEFINE_config_file("config", None, "A file in configs/.", lock_config=True)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; an existing one is resumed. Default: a dated one in runs/."
)
ALLOW_CHANGES = flags.DEFINE_bool(
    "allow_changes",
    False,
    "Resume a run although the configuration now gives its parameters another meaning.",
)
STOPPED_STATUS = flags.DEFINE_integer(
    "stopped_status",
    0,
    "Exit status of a training run that SIGTERM has stopped before its end, with everything saved; "
    "not 0 where only what failed is started again, as in a JobSet.",
    lower_bound=0,
    upper_bound=125,
)
MODE = flags.DEFINE_enum("mode", "train", ["train", "eval", "eval_pose"], "What to do.")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "With --mode=eval or eval_pose: a run's workdir, one step's folder in checkpoints/, a folder "
    "that packnet_jax.convert wrote, or a checkpoint of the original (.ckpt, .pth.tar).",
)
DISTRIBUTED = flags.DEFINE_enum(
    "distributed",
    "auto",
    ["auto", "on", "off"],
    "Whether this is one of several processes: where jax finds a cluster (Slurm, Open MPI, Cloud "
    "TPU, Kubernetes with jax[k8s]), always, or never. The same command runs on all of them.",
)
COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "HOST:PORT of process 0, where jax finds no cluster; with --num_processes and --process_id.",
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Of the run, where jax can not tell.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which one this is, from 0.")
CONNECT_TIMEOUT = flags.DEFINE_float(
    "connect_timeout", 300.0, "Seconds that a process waits for the others."
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
    mode: Any = DISTRIBUTED.value  # one of its enum
    cluster = distributed.Cluster(
        mode,
        COORDINATOR.value,
        NUM_PROCESSES.value,
        PROCESS_ID.value,
        CONNECT_TIMEOUT.value,
    )
    cluster.check()
    for flag in (WORKDIR, CHECKPOINT):
        if "://" in (flag.value or ""):
            raise ConfigError(
                f"--{flag.name}: given {flag.value!r}, expected a path. Runs need locks and atomic "
                "renames: take a file system that all processes see, such as NFS"
            )
    workdir = Path(WORKDIR.value or f"runs/{datetime.now():%Y-%m-%d_%H-%M-%S}").expanduser()
    if MODE.value == "train":
        config = config_lib.resolve(CONFIG.value)
        with _joined(cluster, preempted_status=STOPPED_STATUS.value):
            _train(config, workdir)
        return
    if CHECKPOINT.value is None:
        raise ConfigError(
            f"--mode={MODE.value} needs --checkpoint=PATH, a workdir, one step's folder or a .ckpt "
            "file"
        )
    config_lib.check_fields(CONFIG.value)
    with _joined(cluster, preempted_status=TERMINATED):
        _evaluate(Path(CHECKPOINT.value), workdir)


@contextmanager
def _joined(cluster: distributed.Cluster, *, preempted_status: int) -> Iterator[None]:
    """As one of the cluster's processes, if there is one."""
    with leave_on_sigterm(preempted_status):
        distributed.connect(cluster)
        with distributed.one_voice():
            if WORKDIR.value is None:
                why = "its default names the second of start"
                distributed.check_alone("--workdir is missing", why)
            yield


def _train(config: config_lib.Config, workdir: Path) -> None:
    from packnet_jax import compilation, runs

    compilation.keep_compiled()
    try:
        stopped_by = runs.train_run(
            config, workdir=workdir, allow_changes=ALLOW_CHANGES.value, debug=DEBUG.value
        )
    except Preempted as before_any_step:
        raise Preempted(STOPPED_STATUS.value) from before_any_step
    if stopped_by is not None and STOPPED_STATUS.value:
        raise SystemExit(STOPPED_STATUS.value)


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
