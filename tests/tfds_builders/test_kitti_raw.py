import numpy as np
import pytest
from fake_kitti import BASELINE, CENTRE, FOCAL, SPEED, frame_name, make_kitti, sparse_depth
from real_data import end_to_end, kitti_tiny

from packnet_jax.errors import DataError
from tfds_builders.frames import Frame, Missing
from tfds_builders.kitti_files import read_inertial, read_pose
from tfds_builders.kitti_raw import KittiRaw, find_split


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


@pytest.mark.parametrize("content", ["", "49.0 8.4", "a b c d e f"])
def test_a_damaged_oxts_file_is_named(root, content):
    path = (root / frame_name(1, 2)).parents[2] / "oxts" / "data" / "0000000002.txt"
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
        )
    }
    (root / "other.txt").write_text((root / "fake.txt").read_text())
    names.add(builder(root, split="other").config.name)
    (root / "fake.txt").write_text(f"{frame_name(1, 3)}.png\n")
    names.add(builder(root).config.name)
    assert len(names) == 6
    assert builder(root).config.name == builder(root, split=str(root / "fake.txt")).config.name


def test_splits_are_found_by_name_and_by_path(root, tmp_path):
    assert find_split(str(root), "fake") == find_split(str(root), "fake.txt") == root / "fake.txt"
    (root / "data_splits").mkdir()
    nested = root / "data_splits" / "nested.txt"
    nested.write_text("")
    assert find_split(str(root), "nested") == nested
    outside = tmp_path / "outside.txt"
    outside.write_text("")
    assert find_split(str(root), str(outside)) == outside


@pytest.mark.parametrize("split", ["absent", "", "data_splits"])
def test_an_absent_split_says_where_it_was_looked_for(root, split):
    with pytest.raises(DataError, match=r"looked for .*data_splits"):
        find_split(str(root), split)


@pytest.mark.parametrize("line", ["a.png", "a/b/image_00/data/0001.png", "a/b/image_02/data/x.png"])
def test_an_odd_line_is_named(root, line):
    (root / "fake.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=line):
        builder(root).targets()


def test_an_unknown_depth_type_is_refused(root):
    with pytest.raises(DataError, match="'lidar' is unknown"):
        builder(root, depth_type="lidar")


def test_real_poses_equal_the_reference():
    root, values = kitti_tiny(), end_to_end("kitti_reader.json")
    expected = np.array(values["tiny.pose_all7frames"]["pose"])
    date = root / "2011_09_26"
    oxts = date / "2011_09_26_drive_0023_sync" / "oxts" / "data"
    inertial = read_inertial(date, oxts, 10)
    assert inertial is not None
    np.testing.assert_allclose(inertial.camera_T_imu, values["tiny.imu2cam"], atol=1e-12)
    poses = [read_pose(inertial, oxts / f"{i:010d}.txt") for i in range(7)]
    # Earth coordinates of millions of metres cancel in these float64 sums, so 1e-8 is noise.
    np.testing.assert_allclose(np.array(poses), expected, rtol=1e-7, atol=1e-8)
