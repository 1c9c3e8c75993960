"""kill -9 at chosen moments, then resume: bit for bit the state of an unbroken run."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import cli
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from packnet_jax import checkpoint

pytestmark = pytest.mark.soak
NUM_STEPS = 30


def arguments(place: Path, workdir: str) -> list[str]:
    return [
        cli.config_file("demo"),
        f"--config.data.tfds_dir={place / 'tfds'}",
        "--config.data.image_shape=32,64",
        "--config.data.synthetic.num_streets=2",
        "--config.data.synthetic.num_test_streets=1",
        "--config.data.synthetic.frames_per_street=6",
        f"--config.train.num_steps={NUM_STEPS}",
        "--config.train.eval_every_steps=30",
        "--config.train.checkpoint_every_steps=5",
        "--config.train.log_every_steps=1",
        "--config.eval.median_baseline=False",
        f"--workdir={workdir}",
    ]


def kill_when(place: Path, workdir: str, moment: Callable[[Path], bool]) -> None:
    """Starts the run and kills it at the first sight of the moment."""
    process = cli.start("main", *arguments(place, workdir), cwd=place)
    try:
        while not moment(place / workdir / "checkpoints"):
            assert process.poll() is None, f"the run ended first:\n{process.communicate()[0]}"
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def has_checkpoint(step: int) -> Callable[[Path], bool]:
    return lambda folder: (folder / f"{step:08d}").is_dir()


def is_saving(step: int) -> Callable[[Path], bool]:
    """A save of that step or a later one is under way: its temporary folder is there."""

    def moment(folder: Path) -> bool:
        names = [p.name for p in folder.glob("*.orbax-checkpoint-tmp*")]
        return any(int(name.split(".")[0]) >= step for name in names)

    return moment


def final_state(workdir: Path) -> dict[str, np.ndarray]:
    """Everything that training changes: both networks, optimiser, counters."""
    stored = checkpoint.read_config(workdir)
    assert stored.step == NUM_STEPS
    with ocp.StandardCheckpointer() as reader:
        items = {name: reader.restore(stored.folder / name) for name in ("variables", "training")}
    leaves = jax.tree_util.tree_leaves_with_path(items)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def test_three_kills_change_nothing(tmp_path):
    cli.run("main", *arguments(tmp_path, "unbroken"), cwd=tmp_path)
    for moment in (has_checkpoint(5), is_saving(15), has_checkpoint(20)):
        kill_when(tmp_path, "killed", moment)
        saved = sorted((tmp_path / "killed" / "checkpoints").glob("[0-9]*"))
        print("killed with", [p.name for p in saved])
    cli.run("main", *arguments(tmp_path, "killed"), cwd=tmp_path)
    unbroken, killed = (final_state(tmp_path / name) for name in ("unbroken", "killed"))
    assert unbroken.keys() == killed.keys()
    for part in ("['params']['depth_net']", "['params']['pose_net']", "['opt_state']"):
        assert any(part in name for name in unbroken), part
    for name, value in unbroken.items():
        np.testing.assert_array_equal(killed[name], value, err_msg=name)
    leftovers = list((tmp_path / "killed" / "checkpoints").glob("*tmp*"))
    assert not leftovers, leftovers
