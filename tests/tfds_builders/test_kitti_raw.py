from pathlib import Path

import numpy as np
import pytest
from fake_kitti import (
    BASELINE,
    CENTRE,
    FOCAL,
    SPEED,
    frame_name,
    make_kitti,
    replace_depth_by_scan,
    sparse_depth,
    write_groundtruth,
)
from PIL import Image
from real_data import end_to_end, kitti_tiny

from packnet_jax.errors import DataError
from tfds_builders.depth_codec import decode_depth
from tfds_builders.frames import Frame, Missing
from tfds_builders.kitti_files import read_inertial, read_pose
from tfds_builders.kitti_raw import KittiRaw
from tfds_builders.pictures import decode_image
from tfds_builders.stored_size import StoredSize


@pytest.fixture
def root(tmp_path):
    return make_kitti(tmp_path / "kitti", {1: 6, 2: 4}, [(2, 1), (1, 2), (1, 5)])


def builder(root, **options) -> KittiRaw:
    defaults = {"data_dir": str(root.parent / "tfds"), "root": str(root), "split": "fake"}
    return KittiRaw.from_options(**(defaults | options))


def frames(root, **options) -> list[Frame]:
    return [item for item in builder(root, **options).read_frames() if isinstance(item, Frame)]


def missing(root, **options) -> list[Missing]:
    return [item for item in builder(root, **options).read_frames() if isinstance(item, Missing)]


def test_frames_within_reach_are_read_once_each_by_stream_and_number(root):
    assert [frame.name for frame in frames(root)] == [
        frame_name(1, 2),
        frame_name(1, 5),
        frame_name(2, 1),
    ]
    wide = [(frame.name, frame.number) for frame in frames(root, reach=2)]
    assert wide == [(frame_name(1, i), i) for i in range(6)] + [
        (frame_name(2, i), i) for i in range(4)
    ]
    assert missing(root, reach=2) == []


def test_depth_and_input_depth_have_beams_of_their_own(root):
    options = {"depth_type": "velodyne", "input_depth_type": "velodyne"}
    (whole, *_), (few, *_) = (
        frames(root, **options, **beams) for beams in ({}, {"depth_beams": 32, "input_beams": 8})
    )
    assert whole.depth_source == "velodyne, one scan (proj_depth/velodyne)"
    assert few.depth_source.startswith("velodyne, 32 of 64 beams, by elevation")
    assert few.extra["input_depth_source"].startswith("velodyne, 8 of 64 beams, by elevation")
    counts = [
        np.count_nonzero(depth)
        for depth in (whole.depth, few.depth, decode_depth(few.extra["input_depth"]))
    ]
    assert counts[0] > counts[1] > counts[2]
    names = {builder(root, **options, depth_beams=beams).config.name for beams in (0, 4, 8)}
    assert len(names) == 3
    assert builder(root, **options).config.name in names
    with pytest.raises(DataError, match=r"`input_beams` is 5; KITTI's scanner gives"):
        builder(root, **options, input_beams=5)


def test_input_depth_stands_beside_depth(root):
    accumulated = write_groundtruth(root, 1, 2)
    for number in (1, 5):
        write_groundtruth(root, 2 if number == 1 else 1, number)
    options = {"depth_type": "velodyne", "input_depth_type": "groundtruth"}
    assert set(builder(root, **options).extra_features) == {"input_depth", "input_depth_source"}
    frame = frames(root, **options)[0]
    np.testing.assert_array_equal(frame.depth, sparse_depth(1020))
    np.testing.assert_array_equal(decode_depth(frame.extra["input_depth"]), accumulated)
    assert "groundtruth" in frame.extra["input_depth_source"]
    assert missing(root, **options) == []


def test_sets_without_input_depth_keep_the_name_they_had_before_there_was_any(tmp_path):
    split = tmp_path / "two.txt"
    split.write_text(f"{frame_name(1, 1)}.png\n")
    options = {"split": str(split), "depth_type": "velodyne", "reach": 1}
    name = builder(Path("/kitti"), data_dir=str(tmp_path), **options).config.name
    assert name == "two-14a78ba5c4"


def test_missing_input_depth_is_listed_and_the_frame_stays_as_context(root):
    options = {"depth_type": "velodyne", "input_depth_type": "groundtruth"}
    write_groundtruth(root, 1, 2)
    listed = missing(root, **options)
    assert [item.name for item in listed] == [frame_name(1, 5), frame_name(2, 1)]
    assert "proj_depth/groundtruth" in listed[0].reason
    assert len(frames(root, **options)) == 3


def test_targets_keep_the_order_of_the_split(root):
    expected = [frame_name(2, 1), frame_name(1, 2), frame_name(1, 5)]
    assert builder(root).targets() == expected


def test_a_frame_holds_what_the_files_say(root):
    frame = frames(root, depth_type="velodyne")[0]
    assert frame.image == (root / f"{frame.name}.png").read_bytes()
    expected = [[FOCAL, 0, CENTRE[0]], [0, FOCAL, CENTRE[1]], [0, 0, 1]]
    np.testing.assert_array_equal(frame.intrinsics, expected)
    np.testing.assert_array_equal(frame.depth, sparse_depth(1020))
    straight = np.eye(4)
    straight[2, 3] = 2 * SPEED * np.cos(np.radians(49.0)) / np.cos(np.radians(49.0))
    np.testing.assert_allclose(frame.world_T_camera, straight, atol=1e-4)


def test_only_targets_carry_depth(root):
    has_depth = {f.name: f.depth is not None for f in frames(root, reach=1, depth_type="velodyne")}
    targets = {frame_name(2, 1), frame_name(1, 2), frame_name(1, 5)}
    assert has_depth == {name: name in targets for name in has_depth}
    assert all(frame.depth is None for frame in frames(root))


def test_the_other_eye_is_paired_and_lies_along_the_baseline(root):
    stereo = builder(root, with_stereo=True)
    left, right = frame_name(1, 2), frame_name(1, 2, "image_03")
    assert stereo.stereo_pairs()[left] == right
    by_name = {frame.name: frame for frame in frames(root, with_stereo=True)}
    shift = by_name[left].stereo_T_camera @ by_name[right].stereo_T_camera
    np.testing.assert_allclose(shift, np.eye(4), atol=1e-12)
    expected = [-BASELINE, 0, 0]  # the right eye sees a point further left
    np.testing.assert_allclose(by_name[left].stereo_T_camera[:3, 3], expected, atol=1e-6)
    assert builder(root).stereo_pairs() == {}


def test_missing_targets_are_listed_and_missing_context_is_not(root):
    (root / f"{frame_name(1, 2)}.png").unlink()
    (root / f"{frame_name(1, 4)}.png").unlink()
    (item,) = missing(root, reach=1)
    assert item.name == frame_name(1, 2)
    assert "no file" in item.reason
    (item,) = missing(root, reach=1, with_stereo=True)
    assert item.name == frame_name(1, 2)


@pytest.mark.parametrize("damage", [None, b"not a zip file", b""])
def test_a_target_without_depth_is_listed_and_still_read_as_context(root, damage):
    drive = (root / frame_name(1, 2)).parents[2]
    depth = drive / "proj_depth" / "velodyne" / "image_02" / "0000000002.npz"
    depth.unlink()
    if damage is not None:
        depth.write_bytes(damage)
    (item,) = missing(root, depth_type="velodyne")
    assert item.name == frame_name(1, 2)
    assert str(depth) in item.reason
    read = {frame.name: frame.depth for frame in frames(root, depth_type="velodyne")}
    assert read[frame_name(1, 2)] is None
    assert missing(root) == []


def test_without_oxts_there_is_no_pose(root):
    oxts = (root / frame_name(1, 2)).parents[2] / "oxts" / "data"
    (oxts / "0000000002.txt").unlink()
    assert [frame.world_T_camera is None for frame in frames(root)] == [True, False, False]
    (oxts / "0000000000.txt").unlink()
    assert [frame.world_T_camera is None for frame in frames(root)] == [True, True, False]


DAMAGED_OXTS = ["", "49.0 8.4", "a b c d e f", "49.0 8.4 110 0 nan 0"]


@pytest.mark.parametrize("content", DAMAGED_OXTS)
def test_a_damaged_oxts_file_costs_its_frame_and_is_named(root, content):
    path = (root / frame_name(1, 2)).parents[2] / "oxts" / "data" / "0000000002.txt"
    path.write_text(content)
    (item,) = missing(root)
    assert item.name == frame_name(1, 2)
    assert str(path) in item.reason
    assert {frame.name for frame in frames(root)} == {frame_name(2, 1), frame_name(1, 5)}


@pytest.mark.parametrize("content", DAMAGED_OXTS)
def test_a_damaged_oxts_file_that_a_drive_is_measured_from_is_an_error(root, content):
    path = (root / frame_name(1, 2)).parents[2] / "oxts" / "data" / "0000000000.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=str(path)):
        frames(root)


def test_a_missing_calibration_is_named(root):
    (root / "2011_09_26" / "calib_cam_to_cam.txt").unlink()
    with pytest.raises(DataError, match="calib_cam_to_cam"):
        frames(root)


def test_the_name_changes_with_everything_that_changes_the_bytes(root):
    names = {
        builder(root, **options).config.name
        for options in (
            {},
            {"reach": 1},
            {"depth_type": "velodyne"},
            {"with_stereo": True},
            {"depth_type": "groundtruth"},
            {"stored_size": StoredSize((6, 20))},
            {"stored_size": StoredSize((6, 10))},
            {"stored_size": StoredSize((6, 20), (-10, 0, 0, 0))},
        )
    }
    (root / "other.txt").write_text((root / "fake.txt").read_text())
    names.add(builder(root, split="other").config.name)
    (root / "fake.txt").write_text(f"{frame_name(1, 3)}.png\n")
    names.add(builder(root).config.name)
    assert len(names) == 10
    assert builder(root).config.name == builder(root, split=str(root / "fake.txt")).config.name


def test_an_unknown_depth_type_is_refused(root):
    with pytest.raises(DataError, match="'lidar' is unknown"):
        builder(root, depth_type="lidar")


def test_a_gap_of_the_improved_ground_truth_is_no_damage(root):
    write_groundtruth(root, 1, 2)
    items = builder(root, depth_type="groundtruth").read_frames()
    gaps = [item for item in items if isinstance(item, Missing)]
    assert [item.is_gap for item in gaps] == [True, True]
    depth = (root / frame_name(1, 2)).parents[2] / "proj_depth" / "groundtruth" / "image_02"
    (depth / "0000000002.png").write_bytes(b"cut short")
    items = builder(root, depth_type="groundtruth").read_frames()
    kinds = {item.name: item.is_gap for item in items if isinstance(item, Missing)}
    assert kinds == {frame_name(1, 2): False, frame_name(1, 5): True, frame_name(2, 1): True}


def test_the_source_of_the_depth_is_kept_with_it(root):
    replace_depth_by_scan(root, 1, 2)
    sources = {f.name: f.depth_source for f in frames(root, depth_type="velodyne")}
    assert "proj_depth" in sources[frame_name(1, 5)]
    assert "velodyne_points" in sources[frame_name(1, 2)]
    write_groundtruth(root, 1, 2)
    (with_depth,) = (f for f in frames(root, depth_type="groundtruth") if f.depth is not None)
    assert with_depth.name == frame_name(1, 2)
    assert with_depth.depth_source.startswith("groundtruth")
    assert len(missing(root, depth_type="groundtruth")) == 2
    assert {frame.depth_source for frame in frames(root)} == {""}


def test_the_other_kind_of_picture_serves_where_the_listed_one_is_not(root):
    listed = (root / "fake.txt").read_text()
    (root / "fake.txt").write_text(listed.replace(".png", ".jpg"))
    assert missing(root, reach=1) == []
    both = root / f"{frame_name(1, 2)}.jpg"
    Image.new("RGB", (40, 12)).save(both)
    by_name = {frame.name: frame.image for frame in frames(root, reach=1)}
    assert by_name[frame_name(1, 2)] == both.read_bytes()
    assert by_name[frame_name(1, 1)] == (root / f"{frame_name(1, 1)}.png").read_bytes()


def test_one_frame_in_two_formats_of_lines_is_read_once(root):
    stem = frame_name(1, 2)
    drive = "/".join(stem.split("/")[:2])
    (root / "fake.txt").write_text(f"{stem}.png\n{stem}.jpg\n{drive} 2 l\n")
    assert [frame.name for frame in frames(root)] == [stem]
    assert builder(root).targets() == [stem] * 3


def test_a_stored_size_changes_the_picture_alone(root):
    options = {"reach": 1, "depth_type": "velodyne", "with_stereo": True}
    resized = frames(root, stored_size=StoredSize((6, 20), (-10, 0, 0.5, 38)), **options)
    for small, full in zip(resized, frames(root, **options), strict=True):
        assert decode_image(small.image).shape == (6, 20, 3)
        np.testing.assert_array_equal(small.extra["full_shape"], (12, 40))
        np.testing.assert_array_equal(small.intrinsics, full.intrinsics)
        np.testing.assert_array_equal(small.depth, full.depth)
        assert small.name == full.name


@pytest.mark.parametrize("options", [{}, {"stored_size": StoredSize((6, 20))}])
def test_a_picture_cut_short_is_listed(root, options):
    path = root / f"{frame_name(1, 2)}.png"
    path.write_bytes(path.read_bytes()[:20])
    (item,) = missing(root, **options)
    assert (item.name, "decoded" in item.reason) == (frame_name(1, 2), True)


def test_a_crop_that_leaves_the_pictures_is_refused(root):
    with pytest.raises(DataError, match="12 rows and 40 columns"):
        frames(root, stored_size=StoredSize((6, 20), (-352, 0, 0.5, 1216)))
    with pytest.raises(DataError, match=r"\(-10, 0, 0, 0\) but without a shape"):
        StoredSize(crop=(-10, 0, 0, 0))


def test_real_poses_equal_the_reference(parity):
    root, values = kitti_tiny(), end_to_end("kitti_reader.json")
    expected = np.array(values["tiny.pose_all7frames"]["pose"])
    date = root / "2011_09_26"
    oxts = date / "2011_09_26_drive_0023_sync" / "oxts" / "data"
    inertial = read_inertial(date, oxts, 10)
    assert inertial is not None
    expected_camera_T_imu = values["tiny.imu2cam"]
    golden_set = "end_to_end/kitti_reader"
    parity.compare(
        golden_set, "imu2cam", inertial.camera_T_imu, expected_camera_T_imu, tolerance=1e-12
    )
    poses = [read_pose(inertial, oxts / f"{i:010d}.txt") for i in range(7)]
    # Earth coordinates of millions of metres cancel in these float64 sums, so 1e-8 is noise; the
    # poses themselves (0 to 6 m) are rounded to float32.
    scale = 0.1 + np.abs(expected)
    parity.compare(golden_set, "pose", np.array(poses), expected, tolerance=1e-7, scale=scale)
