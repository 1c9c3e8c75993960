"""Start conditions name what numbers depend on, and nothing that changes by itself."""

import dataclasses
import json
import subprocess

import jax
import tiny
from frame_stores import memory_store

from packnet_jax import provenance


def test_conditions_are_complete_and_fit_into_json():
    config = tiny.config()
    found = json.loads(json.dumps(provenance.start_conditions(config, tiny.data_sets(config))))
    assert len(found["devices"]) == len(jax.devices())
    assert found["processes"] == 1
    assert {"jax", "flax", "optax", "orbax-checkpoint", "python"} <= set(found["versions"])
    assert found["versions"]["jax"] == jax.__version__
    assert found["config_hash"] == provenance.config_hash(config)
    assert len(found["data"]["train"]) == 1
    assert set(found["data"]["eval"]) == {"memory-test"}


def test_the_hash_of_a_configuration_is_that_of_its_values():
    config = tiny.config()
    assert provenance.config_hash(config) == provenance.config_hash(tiny.config())
    assert provenance.config_hash(config) != provenance.config_hash(
        dataclasses.replace(config, seed=1)
    )


def test_fingerprints_see_which_frames_there_are_in_which_order():
    own = memory_store().fingerprint()
    assert memory_store().fingerprint() == own
    others = [
        memory_store(length=8),
        memory_store(targets=(1, 2, 3, 5, 4)),
        memory_store(targets=(1, 2, 3, 4)),
        memory_store(has_pose=False),
    ]
    assert len({own, *(store.fingerprint() for store in others)}) == 5


def test_the_commit_is_that_of_the_checkout_and_says_if_files_differ(tmp_path):
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            [*command, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    assert provenance.git_commit(tmp_path) is None
    git("init", "--quiet")
    assert provenance.git_commit(tmp_path) is None  # nothing is committed yet
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "--quiet", "--message=first")
    commit = git("rev-parse", "HEAD")
    assert provenance.git_commit(tmp_path) == commit
    (tmp_path / "file").write_text("b")
    assert provenance.git_commit(tmp_path) == f"{commit}-dirty"
