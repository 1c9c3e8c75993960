"""Drives of a store: which frames follow one another, and what is read of them."""

import numpy as np
import pytest
from frame_stores import SHAPE, memory_store, metadata, pose, record

from packnet_jax.data.drives import DriveSet, find_drives
from packnet_jax.data.store import FrameStore, Framing
from packnet_jax.errors import DataError


def store_with_gaps() -> FrameStore:
    """A stream of 3, 1 and 4 frames in a row, and one of 5."""
    numbers = [[0, 1, 2, 5, 7, 8, 9, 10], [3, 4, 5, 6, 7]]
    records = [record(f"frame/{i}", i) for i in range(13)]
    return FrameStore(records, metadata([8, 5], [], numbers=numbers), name="memory")


def drive_set(store, **options) -> DriveSet:
    defaults = {"name": "set", "framing": Framing((12, 20)), "min_length": 4, "num_threads": 2}
    return DriveSet(store, **(defaults | options))


def test_streams_are_cut_where_a_number_is_missing():
    drives = find_drives(store_with_gaps())
    assert [drive.name for drive in drives] == [
        "stream0/0-2",
        "stream0/5-5",
        "stream0/7-10",
        "stream1",
    ]
    assert [list(drive.records) for drive in drives] == [
        [0, 1, 2],
        [3],
        [4, 5, 6, 7],
        [8, 9, 10, 11, 12],
    ]
    assert [drive.first_number for drive in drives] == [0, 5, 7, 3]


def test_short_drives_are_left_out_by_name():
    drives = drive_set(store_with_gaps())
    assert [drive.name for drive in drives.drives] == ["stream0/7-10", "stream1"]
    assert drives.left_out == ["stream0/0-2", "stream0/5-5"]


def test_frames_come_in_order_at_the_asked_size_with_their_poses():
    drives = drive_set(store_with_gaps())
    frames = list(drives.frames(drives.drives[1]))
    assert [frame.rgb.shape for frame in frames] == [(12, 20, 3)] * 5
    assert frames[0].rgb.dtype == np.float32
    assert min(frame.rgb.min() for frame in frames) >= 0
    np.testing.assert_array_equal(
        [f.world_T_camera for f in frames], [pose(i) for i in range(8, 13)]
    )
    assert frames[0].timestamp is None


def test_what_can_not_be_followed_is_named():
    with pytest.raises(DataError, match="memory has no camera poses"):
        drive_set(memory_store(has_pose=False))
    with pytest.raises(DataError, match="memory has no 8 frames in a row, only 7"):
        drive_set(memory_store(), min_length=8)
    with pytest.raises(DataError, match="Crop borders"):
        drive_set(memory_store(), framing=Framing((12, 20), (-2 * SHAPE[0], 0, 0, 0)))
