"""The dashboard's event file, and what is said when it can not be written."""

import pytest
from disks import fill, small_disk

from packnet_jax.errors import CheckpointError, TrainingError
from packnet_jax.train.dashboard import Dashboard

FULL = r"event file in .*disk can not be written \(.*No space left on device.*newest checkpoint"


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


def write_more_than_fits(dashboard: Dashboard) -> None:
    dashboard.scalars(1, {f"value_{i}": float(i) for i in range(1000)}, "train")


def test_a_full_disk_is_named_at_the_next_call(disk):
    with pytest.raises(TrainingError, match=FULL), Dashboard(disk) as dashboard:
        dashboard.scalars(0, {"loss": 1.0}, "train")
        dashboard.flush()
        fill(disk)
        write_more_than_fits(dashboard)
        dashboard.flush()
        pytest.fail("nothing was said")


def test_a_full_disk_is_named_at_the_end(disk):
    with pytest.raises(TrainingError, match=FULL), Dashboard(disk) as dashboard:
        fill(disk)
        write_more_than_fits(dashboard)


def test_a_full_disk_does_not_hide_what_ended_the_run(disk):
    with pytest.raises(CheckpointError, match="the story"), Dashboard(disk) as dashboard:
        fill(disk)
        write_more_than_fits(dashboard)
        raise CheckpointError("the story")
