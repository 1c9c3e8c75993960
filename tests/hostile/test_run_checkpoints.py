"""Checkpoints of a run that somebody made up, digests included: only our errors come of them."""

import contextlib
import shutil
from pathlib import Path

import fuzz
import jax
import jax.numpy as jnp
import pytest
from hypothesis import strategies as st
from saved_steps import RAW_CONFIG

from packnet_jax import checkpoint, digests, sharding
from packnet_jax.errors import PacknetError
from packnet_jax.quiet import without_warnings

VARIABLES = {
    "params": {"depth_net": {"kernel": jnp.ones((3, 3, 4, 8)), "bias": jnp.zeros(8)}},
    "batch_stats": {"depth_net": {"mean": jnp.zeros(8)}},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """One step's folder."""
    folder = tmp_path_factory.mktemp("whole")
    return checkpoint.write_weights(
        folder, variables=VARIABLES, config=RAW_CONFIG, origin={"file": "a"}
    )


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read(folder: Path) -> None:
    """All that is ever read of a checkpoint which nobody trains on."""
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    for attempt in (
        lambda: checkpoint.read_config(folder),
        lambda: checkpoint.read_origin(folder),
        lambda: checkpoint.read_variables(folder, sharding.abstract(VARIABLES, here)),
    ):
        with contextlib.suppress(PacknetError), without_warnings():
            attempt()


@fuzz.SHORT_AND_LONG
def test_damaged_files_whose_digests_hold(whole, tmp_path, effort):
    names = [path.relative_to(whole) for path in files_of(whole) if path.name != digests.SUMS]
    changed = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), fuzz.mutated((whole / name).read_bytes()))
    )
    folder = tmp_path / "root" / whole.name

    def try_out(change: tuple[Path, bytes]) -> None:
        name, content = change
        shutil.copytree(whole, folder)
        (folder / name).write_bytes(content)
        digests.write_digests(folder)
        read(folder)
        shutil.rmtree(folder)

    fuzz.check(try_out, changed, examples=60 * effort)
