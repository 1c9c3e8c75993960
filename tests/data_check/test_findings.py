"""Each thing that can be strange with a set is found, and a sound set has nothing strange."""

import re

import cv2
import numpy as np
import pytest
from fake_kitti import png
from folders import picture
from frame_stores import K, metadata, pose, record

from packnet_jax.data.store import FrameStore
from packnet_jax.data_check.findings import check_set
from packnet_jax.data_config import DataConfig

LENGTH = 6
DATA = DataConfig(root="somewhere")


def encoded(seed):
    ok, data = cv2.imencode(".png", picture(seed, (24, 40))[..., ::-1])
    assert ok
    return data.tobytes()


def store_of(*, numbers=None, has_pose=True, changes=None, **fields) -> FrameStore:
    """Six sound frames; `changes` are fields of single frames by number."""
    changes = changes or {}
    records = [
        record(f"stream0/{i}", i, **({"image": encoded(i)} | changes.get(i, {})))
        for i in range(LENGTH)
    ]
    details = metadata(
        [LENGTH], range(LENGTH), numbers=None if numbers is None else [numbers], **fields
    )
    return FrameStore(records, details | {"has_pose": has_pose}, name="memory")


def check(store, with_context=True, **options):
    return check_set(store, title="set", data=DATA, with_context=with_context, **options)


def test_a_sound_set():
    found = check(store_of())
    assert found.warnings == []
    assert found.facts["frames"] == found.facts["targets"] == LENGTH
    assert found.facts["samples"] == LENGTH - 2
    assert found.facts["samples_left_out"] == {"at the start or end of their stream": 2}
    assert found.facts["poses"]["median_step"] == pytest.approx(1.5, abs=0.1)
    assert found.facts["depth"]["maps"] == LENGTH
    assert found.facts["depth"]["coverage"] == pytest.approx(0.1, abs=0.05)
    assert found.facts["cameras"][0]["fx"] == 30
    for words in ("4 of 6 have their context", "40x24, fx 30.0", "nothing strange"):
        assert words in found.table()


def test_gaps_are_told_from_ends():
    found = check(store_of(numbers=[0, 1, 2, 4, 5, 6]))
    assert found.facts["samples_left_out"] == {
        "at the start or end of their stream": 2,
        "beside a gap in their stream": 2,
    }
    assert "only 2 of 6" in found.warnings[0]


def test_a_set_without_a_sample_is_said_to_be_useless():
    found = check(store_of(numbers=[0, 2, 4, 6, 8, 10]))
    assert "nothing can be trained" in found.warnings[0]


def test_evaluation_needs_no_context():
    assert "samples" not in check(store_of(), with_context=False).facts


def camera(*values):
    changed = K.copy()
    changed[[0, 1, 0, 1], [0, 1, 2, 2]] = values
    return {i: {"intrinsics": changed} for i in range(LENGTH)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (camera(30, 30, 38, 11.5), r"principal point \(38, 11.5\) is not in the middle third"),
        (camera(0.58, 1.9, 19.5, 11.5), "unlikely for a picture of 40x24, where 12 to 120"),
        (camera(30, 60, 19.5, 11.5), "fx 30 and fy 60 differ"),
        ({3: {"image": encoded(2)}}, "stream0/3 of stream0/2"),
        ({i: {"image": encoded(0)} for i in range(4)}, "3 of 5 frames are nearly equal"),
        ({2: {"image": encoded(2)[:60]}}, "1 frames are missing or damaged, first: .*stream0/2"),
        (
            {1: {"depth": np.zeros((24, 40), np.float32)}},
            "no value at all, such as that of stream0/1",
        ),
        ({1: {"depth": np.full((24, 40), 5000, np.float32)}}, "is it in millimetres"),
    ],
)
def test_what_is_strange_is_named(changes, message):
    warnings = check(store_of(changes=changes)).warnings
    assert any(re.search(message, warning) for warning in warnings), warnings


def test_blank_pictures_are_found():
    blank = cv2.imencode(".png", np.full((24, 40, 3), 9, np.uint8))[1].tobytes()
    (warning,) = check(store_of(changes={4: {"image": blank}})).warnings
    assert "of one colour, such as stream0/4" in warning


@pytest.mark.parametrize(
    ("moved", "message"), [(40.0, r"poses jump.*stream0/3 \(4\d\.\d m"), (np.nan, "not finite")]
)
def test_broken_poses_are_found(moved, message):
    jumped = pose(3)
    jumped[2, 3] += moved
    changes = {3: {"features": {"world_T_camera": jumped.tobytes()}}}
    warnings = check(store_of(changes=changes)).warnings
    assert len(warnings) == 1
    assert re.search(message, warnings[0])


def test_what_the_build_left_out_is_told():
    missing = [{"name": "stream0/9", "reason": "the picture can not be decoded"}]
    found = check(store_of(missing=missing, notes=["intrinsics: guessed"]))
    assert "stream0/9: the picture can not be decoded" in found.warnings[0]
    assert "intrinsics: guessed" in found.table()


def test_only_so_many_frames_are_looked_at():
    found = check(store_of(changes={5: {"image": png(0)[:50]}}), max_frames=3)
    assert found.warnings == []
    assert found.facts["frames_looked_at"] == 3
