"""Checkpoints are found and read back; weights from elsewhere are whole or not there."""

import errno

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saved_steps import RAW_CONFIG, abstract, damage, opened, save

from packnet_jax import checkpoint, digests
from packnet_jax.errors import CheckpointError


def full_disk(*_):
    raise OSError(errno.ENOSPC, "full")


def test_weights_that_are_being_written_are_no_checkpoint_before_their_digests(
    tmp_path, monkeypatch
):
    variables = {"params": {"depth_net": {"w": jnp.ones(3)}}, "batch_stats": {}}
    given = {"variables": variables, "config": RAW_CONFIG, "origin": {"file": "a"}}
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_digests", full_disk)
        with pytest.raises(CheckpointError, match="can not be written"):
            checkpoint.write_weights(tmp_path, **given)
    assert not checkpoint.has_checkpoint(tmp_path)
    folder = checkpoint.write_weights(tmp_path, **given)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [folder.name]
    digests.raise_if_damaged(folder, "variables", "config", "origin")
    assert checkpoint.read_origin(folder) == {"file": "a"}


def test_weights_that_have_changed_are_not_served(tmp_path):
    with opened(tmp_path) as checkpointer:
        save(checkpointer, 2)
    damage(tmp_path, 2)
    variables, _ = abstract()
    with pytest.raises(CheckpointError, match=r"00000002 is damaged: .* Take another checkpoint"):
        checkpoint.read_variables(checkpoint.read_config(tmp_path).folder, variables)


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
    variables = checkpoint.read_variables(found.folder, next(abstract()))
    np.testing.assert_array_equal(variables["w"], np.ones((64, 64)))
    found.folder.rename(tmp_path / "best")
    with pytest.raises(CheckpointError, match="call it by its number again"):
        checkpoint.read_config(tmp_path / "best")


def test_no_checkpoint_and_other_networks_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        checkpoint.read_config(tmp_path)
    with opened(tmp_path) as checkpointer:
        save(checkpointer, 1)
    other = {"w": jax.ShapeDtypeStruct((3, 3), jnp.float32)}
    with pytest.raises(CheckpointError, match="other networks"):
        checkpoint.read_variables(checkpoint.read_config(tmp_path).folder, other)
