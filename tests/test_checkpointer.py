"""Which checkpoints stay, and what damaged ones do."""

import errno
import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import checkpoint_worker
import jax
import jax.numpy as jnp
import numpy as np
import processes
import pytest
from saved_steps import MONITOR, RAW_CONFIG, abstract, damage, opened, save, tree

from packnet_jax import checkpoint, digests
from packnet_jax.errors import CheckpointError


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


def test_a_score_that_is_not_finite_is_none_of_the_best(tmp_path, caplog):
    with opened(tmp_path, keep_latest=1) as checkpointer:
        for step, value in [(1, 0.2), (2, float("nan")), (3, 0.5), (4, None)]:
            save(checkpointer, step, value)
        assert checkpointer.steps() == [1, 4]
    assert f"Step 2: {MONITOR} is nan" in caplog.text


def test_a_checkpoint_that_can_not_be_deleted_costs_nothing_but_its_space(
    tmp_path, monkeypatch, caplog
):
    """On NFS, a folder is not empty while somebody reads a file that was deleted in it."""
    with opened(tmp_path, keep_latest=1) as checkpointer:
        with monkeypatch.context() as patch:
            refusal = OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
            patch.setattr("packnet_jax.checkpointer.shutil.rmtree", raising(refusal))
            for step in (1, 2, 3):
                save(checkpointer, step)
        assert checkpointer.steps() == [3]
        outdated = tmp_path / "checkpoints" / "outdated"
        assert sorted(folder.name for folder in outdated.iterdir()) == ["00000001", "00000002"]
        assert "outdated can not be deleted (Directory not empty)" in caplog.text
    assert restored_step(tmp_path) == 3
    assert not outdated.exists()
    assert files_of(tmp_path / "checkpoints" / "00000003")


def test_nothing_saved_yet_is_none(tmp_path):
    with opened(tmp_path) as checkpointer:
        assert checkpointer.restore_latest(*abstract()) is None


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


def cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def flipped(whole: bytes) -> bytes:
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize("harm", [cut, flipped])
@pytest.mark.parametrize("step", [1, 2])
def test_any_damaged_file_of_any_kept_checkpoint_costs_that_one_alone(tmp_path, harm, step, caplog):
    """Loudly; but for what Orbax writes beside the items, from which nothing is restored."""
    with opened(tmp_path / "run") as checkpointer:
        save(checkpointer, 1, 0.3)
        save(checkpointer, 2, 0.5)
    found = (tmp_path / "run" / "checkpoints" / f"{step:08d}").relative_to(tmp_path / "run")
    files = [path.relative_to(tmp_path / "run") for path in files_of(tmp_path / "run" / found)]
    kinds = {path.relative_to(found).parts[0] for path in files}
    assert kinds >= {"variables", "training", "config", "metrics", digests.SUMS}
    for number, file in enumerate(files):
        workdir = tmp_path / str(number)
        shutil.copytree(tmp_path / "run", workdir)
        (workdir / file).write_bytes(harm((workdir / file).read_bytes()))
        item = file.relative_to(found).parts[0]
        if step == 1 and item == digests.SUMS:
            continue  # seen or not, by which line it is
        caplog.clear()
        is_seen = item not in ("_CHECKPOINT_METADATA", "commit_success.txt")
        if step == 1 and item in ("variables", "training"):
            is_seen = False  # it is not looked at before it is needed
        assert restored_step(workdir) == (1 if is_seen and step == 2 else 2), file
        aside = list((workdir / "checkpoints").glob(f"damaged-{step:08d}-*"))
        assert len(aside) == is_seen, file
        assert ("is kept as damaged-" in caplog.text) == is_seen, file


def test_what_is_whole_and_can_not_be_restored_here_stays_where_it_is(
    two_checkpoints, tmp_path, monkeypatch
):
    """Memory or a disk may be short; the checkpoint before would be a loss."""
    shutil.copytree(two_checkpoints, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path / "checkpoints")
    for failure in (OSError(errno.EIO, os.strerror(errno.EIO)), MemoryError("9 GB")):
        with opened(tmp_path) as checkpointer, monkeypatch.context() as patch:
            patch.setattr(checkpointer._manager, "restore", raising(failure))
            with pytest.raises(CheckpointError, match="00000002 can not be restored") as told:
                checkpointer.restore_latest(*abstract())
        assert told.value.__cause__ is failure
        assert str(failure.args[-1]) in str(told.value)
    other = {"w": jax.ShapeDtypeStruct((3, 3), jnp.float32)}
    with opened(tmp_path) as checkpointer, pytest.raises(CheckpointError, match="networks"):
        checkpointer.restore_latest(other, list(abstract())[1])
    assert contents(tmp_path / "checkpoints") == before


@pytest.mark.parametrize("item", ["variables", "config"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_what_can_not_be_read_here_stays_where_it_is(
    two_checkpoints, tmp_path, monkeypatch, item, number
):
    """A disk that does not answer is not damage; the next start may find it back."""
    shutil.copytree(two_checkpoints, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path / "checkpoints")
    whole = digests._digest

    def refused(path):
        if f"00000002/{item}/" in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr("packnet_jax.digests._digest", refused)
        with pytest.raises(CheckpointError, match="can not be read here") as told:
            restored_step(tmp_path)
    assert os.strerror(number) in str(told.value) and f"00000002: {item}/" in str(told.value)
    assert contents(tmp_path / "checkpoints") == before
    assert restored_step(tmp_path) == 2


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


def test_without_digests_what_can_not_be_restored_is_damaged(two_checkpoints, tmp_path, caplog):
    shutil.copytree(two_checkpoints, tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoints" / "00000002" / digests.SUMS).unlink()
    damage(tmp_path, 2)
    assert restored_step(tmp_path) == 1
    assert "Resuming from step 1; newer ones are damaged" in caplog.text
    with opened(tmp_path) as checkpointer:
        assert checkpointer.steps() == [1]


def test_where_all_are_damaged_nothing_is_set_aside(tmp_path):
    """Or the next start would begin anew."""
    with opened(tmp_path) as checkpointer:
        save(checkpointer, 1, 0.5)
    metrics = tmp_path / "checkpoints" / "00000001" / "metrics" / "metrics"
    metrics.write_bytes(flipped(metrics.read_bytes()))
    for _ in range(2):
        with pytest.raises(CheckpointError, match="no checkpoint can be read"):
            opened(tmp_path)


def test_a_full_disk_at_the_end_of_a_save_is_told_once_and_at_once(tmp_path, monkeypatch, caplog):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    variables, training = tree(1)
    monkeypatch.setattr("packnet_jax.checkpointer.write_digests", raising(full))
    with (
        pytest.raises(CheckpointError, match="No space left on device") as told,
        opened(tmp_path) as checkpointer,
    ):
        checkpointer.save(1, variables=variables, training=training, config=RAW_CONFIG)
        for _ in range(6000):  # a minute
            assert checkpointer.confirmed() == []
            time.sleep(0.01)
    assert told.value.__cause__ is full
    assert "No space" not in "".join(r.getMessage() for r in caplog.records if not r.exc_info)


def test_digests_are_written_into_the_checkpoint_that_is_saved_alone(tmp_path):
    with opened(tmp_path) as checkpointer:
        other = tmp_path / "checkpoints" / "00000007.orbax-checkpoint-tmp-7"
        other.mkdir()
        save(checkpointer, 1)
        assert list(other.iterdir()) == []
    assert (tmp_path / "checkpoints" / "00000001" / digests.SUMS).is_file()


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


def test_a_damaged_list_of_digests_is_damage_too(two_checkpoints, tmp_path, caplog):
    for number, text in enumerate(("", "nonsense\n", "\0\xff", None)):
        workdir = tmp_path / str(number)
        shutil.copytree(two_checkpoints, workdir)
        sums = workdir / "checkpoints" / "00000002" / digests.SUMS
        if text is None:
            sums.unlink()  # a checkpoint of an earlier version
            assert restored_step(workdir) == 2
            assert "00000002 has no SHA256SUMS" in caplog.text
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


@pytest.mark.slow
def test_of_two_processes_the_first_chooses_and_says_at_once_that_the_disk_is_full(tmp_path):
    address = f"localhost:{processes.free_port()}"
    worker = str(Path(checkpoint_worker.__file__))
    first, second = started = [
        processes.start([worker, str(tmp_path), address, str(number)], 2, tmp_path)
        for number in range(2)
    ]
    try:
        told = first.communicate(timeout=120)[0]
        others = second.communicate(timeout=120)[0]
    finally:
        for process in started:
            process.kill()
            process.wait()
    found = [tmp_path / f"{number}.json" for number in range(2)]
    assert all(file.is_file() for file in found), told + others
    for file in found:
        assert json.loads(file.read_text()) == {"step": 2, "kept": [2, 3], "left": [2]}
    assert first.returncode == 2, told
    assert "CheckpointError" in told and "No space left on device" in told
    assert "DEADLINE_EXCEEDED" not in told
    assert second.returncode != 0
