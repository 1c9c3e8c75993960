"""Which checkpoints stay, and what damaged ones do."""

import hashlib
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from packnet_jax import checkpoint, digests
from packnet_jax import config as config_lib
from packnet_jax.checkpoint import Checkpointer
from packnet_jax.errors import CheckpointError

RAW_CONFIG = config_lib.default().to_dict() | {"seed": 7}
MONITOR = "depth_pp_gt/abs_rel"


def opened(workdir, keep_latest=2, keep_best=1, monitor=MONITOR):
    return Checkpointer(workdir, keep_latest=keep_latest, keep_best=keep_best, monitor=monitor)


def tree(step):
    return {"w": jnp.full((64, 64), step, jnp.float32)}, {"step": jnp.asarray(step)}


def save(checkpointer, step, value=None):
    variables, training = tree(step)
    metrics = None if value is None else {MONITOR: value}
    raw = RAW_CONFIG | {"data": RAW_CONFIG["data"] | {"root": "somewhere"}}
    checkpointer.save(step, variables=variables, training=training, config=raw, metrics=metrics)
    checkpointer.wait()


def abstract():
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return (checkpoint.abstract_like(t, sharding) for t in tree(0))


def restored_step(workdir):
    with opened(workdir) as checkpointer:
        restored = checkpointer.restore_latest(*abstract())
    assert restored is not None
    variables, training = restored
    np.testing.assert_array_equal(variables["w"], np.full((64, 64), int(training["step"])))
    return int(training["step"])


def test_the_latest_and_the_best_stay(tmp_path):
    with opened(tmp_path) as checkpointer:
        for step, value in [(1, 0.5), (2, 0.1), (3, None), (4, 0.3), (5, None)]:
            save(checkpointer, step, value)
        assert checkpointer.steps() == [2, 4, 5]
    assert restored_step(tmp_path) == 5


def test_the_best_are_remembered_over_a_resume(tmp_path, caplog):
    with opened(tmp_path) as checkpointer:
        for step, value in [(1, 0.1), (2, 0.5), (3, None)]:
            save(checkpointer, step, value)
    with opened(tmp_path) as checkpointer:
        save(checkpointer, 4)
        save(checkpointer, 5, 0.3)
        assert checkpointer.steps() == [1, 4, 5]
    assert not caplog.records


def test_for_accuracies_larger_is_better(tmp_path):
    with opened(tmp_path, keep_latest=1, monitor="depth/a1") as checkpointer:
        for step, value in [(1, 0.2), (2, 0.9), (3, 0.5)]:
            variables, training = tree(step)
            checkpointer.save(
                step,
                variables=variables,
                training=training,
                config=RAW_CONFIG,
                metrics={"depth/a1": value},
            )
            checkpointer.wait()
        assert checkpointer.steps() == [2, 3]


def test_nothing_saved_yet_is_none(tmp_path):
    with opened(tmp_path) as checkpointer:
        assert checkpointer.restore_latest(*abstract()) is None


def damage(workdir, step):
    for file in (workdir / "checkpoints" / f"{step:08d}" / "variables").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_a_damaged_checkpoint_falls_back_to_the_one_before_loudly(tmp_path, caplog):
    with opened(tmp_path) as checkpointer:
        save(checkpointer, 1)
        save(checkpointer, 2)
    damage(tmp_path, 2)
    with caplog.at_level("WARNING"):
        assert restored_step(tmp_path) == 1
    assert "Resuming from step 1; newer ones are damaged" in caplog.text


def files_of(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in files_of(folder)}


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("two")
    with opened(workdir) as checkpointer:
        save(checkpointer, 1)
        save(checkpointer, 2)
    return workdir


@pytest.mark.parametrize("item", ["variables", "training"])
def test_a_flipped_bit_in_any_file_of_a_checkpoint_is_seen(two_checkpoints, tmp_path, caplog, item):
    shutil.copytree(two_checkpoints, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path / "checkpoints" / "00000001")
    rng = np.random.default_rng(0)
    files = [file for file in files_of(tmp_path / "checkpoints" / "00000002" / item)]
    assert len(files) > 5
    for file in files:
        whole = file.read_bytes()
        flipped = bytearray(whole)
        position = rng.integers(8 * len(whole))
        flipped[position // 8] ^= 1 << position % 8
        file.write_bytes(flipped)
        with pytest.raises(CheckpointError, match=f"{file.name} has changed"):
            digests.raise_if_damaged(tmp_path / "checkpoints" / "00000002", item)
        file.write_bytes(whole)
    digests.raise_if_damaged(tmp_path / "checkpoints" / "00000002", item)
    file.write_bytes(flipped)
    assert restored_step(tmp_path) == 1
    assert "newer ones are damaged: step 2" in caplog.text
    assert contents(tmp_path / "checkpoints" / "00000001") == before


def test_truncated_emptied_and_vanished_files_are_seen(two_checkpoints, tmp_path):
    largest = max(
        files_of(two_checkpoints / "checkpoints" / "00000002" / "variables"),
        key=lambda path: path.stat().st_size,
    ).relative_to(two_checkpoints)
    for size in (None, 0, 1000):
        workdir = tmp_path / str(size)
        shutil.copytree(two_checkpoints, workdir)
        if size is None:
            (workdir / largest).unlink()
        else:
            os.truncate(workdir / largest, size)
        assert restored_step(workdir) == 1


def test_a_damaged_list_of_digests_is_damage_too(two_checkpoints, tmp_path):
    for number, text in enumerate(("", "nonsense\n", "\0\xff", None)):
        workdir = tmp_path / str(number)
        shutil.copytree(two_checkpoints, workdir)
        sums = workdir / "checkpoints" / "00000002" / digests.SUMS
        if text is None:
            sums.unlink()  # a checkpoint of an earlier version
            assert restored_step(workdir) == 2
        else:
            sums.write_text(text, "latin-1")
            assert restored_step(workdir) == 1


def test_the_digests_are_those_of_sha256sum(two_checkpoints):
    folder = two_checkpoints / "checkpoints" / "00000002"
    lines = (folder / digests.SUMS).read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    items = ("variables", "training", "config")
    assert set(listed) == {
        str(file.relative_to(folder)) for item in items for file in files_of(folder / item)
    }
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_a_damaged_step_is_set_aside_and_saved_again(two_checkpoints, tmp_path):
    shutil.copytree(two_checkpoints, tmp_path, dirs_exist_ok=True)
    damage(tmp_path, 2)
    with opened(tmp_path) as checkpointer:
        assert checkpointer.restore_latest(*abstract()) is not None
        assert checkpointer.steps() == [1]
        save(checkpointer, 2)
        save(checkpointer, 3)
        assert checkpointer.steps() == [2, 3]
    assert restored_step(tmp_path) == 3
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names[:2] == ["00000002", "00000003"]
    assert names[2].startswith("damaged-00000002-")
    assert checkpoint.read_config(tmp_path).step == 3


def test_weights_that_have_changed_are_not_served(two_checkpoints, tmp_path):
    shutil.copytree(two_checkpoints, tmp_path, dirs_exist_ok=True)
    damage(tmp_path, 2)
    variables, _ = abstract()
    with pytest.raises(CheckpointError, match=r"00000002 is damaged: .* Take another checkpoint"):
        checkpoint.read_variables(checkpoint.read_config(tmp_path).folder, variables)


def test_only_damaged_checkpoints_are_an_error_not_a_fresh_start(tmp_path):
    with opened(tmp_path) as checkpointer:
        save(checkpointer, 1)
    damage(tmp_path, 1)
    with (
        opened(tmp_path) as checkpointer,
        pytest.raises(CheckpointError, match="no checkpoint can"),
    ):
        checkpointer.restore_latest(*abstract())


def test_what_a_killed_save_leaves_is_ignored(tmp_path):
    with opened(tmp_path) as checkpointer:
        save(checkpointer, 1)
    folder = tmp_path / "checkpoints"
    shutil.copytree(folder / "00000001", folder / "00000002.orbax-checkpoint-tmp")
    assert restored_step(tmp_path) == 1
    assert [p.name for p in folder.iterdir()] == ["00000001"]
    with opened(tmp_path) as checkpointer:
        save(checkpointer, 2)
    assert restored_step(tmp_path) == 2


def test_a_run_is_found_by_workdir_folder_or_step(tmp_path):
    with opened(tmp_path) as checkpointer:
        save(checkpointer, 1)
        save(checkpointer, 20)
    for path, step in [
        (tmp_path, 20),
        (tmp_path / "checkpoints", 20),
        (tmp_path / "checkpoints" / "00000001", 1),
    ]:
        found = checkpoint.read_config(path)
        assert (found.step, found.config.seed) == (step, 7)
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    variables = checkpoint.read_variables(
        found.folder, checkpoint.abstract_like(tree(0)[0], sharding)
    )
    np.testing.assert_array_equal(variables["w"], np.ones((64, 64)))


def test_no_checkpoint_and_other_networks_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        checkpoint.read_config(tmp_path)
    with opened(tmp_path) as checkpointer:
        save(checkpointer, 1)
    other = {"w": jax.ShapeDtypeStruct((3, 3), jnp.float32)}
    with pytest.raises(CheckpointError, match="other networks"):
        checkpoint.read_variables(checkpoint.read_config(tmp_path).folder, other)
