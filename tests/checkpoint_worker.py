"""One of two processes that share checkpoints, of which the second may not judge them and the first
meets a full disk: what `test_checkpointer.py` looks at.

python tests/checkpoint_worker.py FOLDER COORDINATOR PROCESS_ID
"""

import errno
import json
import os
import time
from pathlib import Path

import jax
import numpy as np

from packnet_jax import checkpointer as module
from packnet_jax import distributed, sharding
from packnet_jax.checkpointer import Checkpointer
from packnet_jax.command_line import run_program


def opened(workdir: Path) -> Checkpointer:
    return Checkpointer(workdir, keep_latest=3, keep_best=1, monitor="a")


def state(step: int) -> tuple[dict, dict]:
    everywhere = sharding.replicated(sharding.make_mesh())
    variables = {"w": np.full((64, 64), step, np.float32)}
    return sharding.spread(variables, everywhere), sharding.spread(
        {"step": np.asarray(step)}, everywhere
    )


def save(checkpointer: Checkpointer, step: int) -> None:
    variables, training = state(step)
    checkpointer.save(
        step, variables=variables, training=training, config={}, metrics={"a": step / 10}
    )


def refuse(*_: object) -> None:
    raise AssertionError("only the first process looks at files")


def restored(workdir: Path) -> dict[str, object]:
    """What this process goes on from, after the first one has damaged something and found it."""
    rename = Path.rename
    if distributed.is_first():
        arrays = workdir / "checkpoints" / "00000003" / "variables"
        for file in (path for path in arrays.rglob("*") if path.is_file()):
            file.write_bytes(file.read_bytes()[:-1])
        metrics = workdir / "checkpoints" / "00000001" / "metrics" / "metrics"
        metrics.write_bytes(b"{")

        def late(path: Path, target: Path) -> Path:
            time.sleep(0.5)  # in which the other one could look at what is going to be renamed
            return rename(path, target)

        Path.rename = late
    else:
        module.raise_if_damaged = module.raise_if_others_damaged = refuse
    distributed.meet("damaged")
    everywhere = sharding.replicated(sharding.make_mesh())
    with opened(workdir) as checkpointer:
        kept = checkpointer.steps()
        found = checkpointer.restore_latest(*(sharding.abstract(t, everywhere) for t in state(0)))
        assert found is not None
        left = checkpointer.steps()
    Path.rename = rename
    return {"step": int(found[1]["step"]), "kept": kept, "left": left}


def no_space(_: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def main(argv: list[str]) -> None:
    folder, coordinator, number = Path(argv[1]), argv[2], int(argv[3])
    distributed.connect(distributed.Cluster("on", coordinator, 2, number, 120))
    with distributed.one_voice():
        with opened(folder / "run") as checkpointer:
            for step in (1, 2, 3):
                save(checkpointer, step)
        found = restored(folder / "run")
        (folder / f"{jax.process_index()}.json").write_text(json.dumps(found))
        module.write_digests = no_space
        with opened(folder / "run") as checkpointer:
            save(checkpointer, 4)
            while distributed.is_first():
                assert checkpointer.confirmed() == []
                time.sleep(0.01)


if __name__ == "__main__":
    run_program(main)
