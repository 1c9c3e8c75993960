from typing import Any

import numpy as np
import pytest
import real_data
from built_stores import open_built
from fake_kitti import sparse_depth
from fake_odometry import (
    CENTRE,
    FOCAL,
    SECONDS_PER_FRAME,
    SHAPE,
    SHIFTS,
    make_odometry,
    write_poses,
    write_scan,
)
from trajectories import drive, move, read_kitti

from packnet_jax.errors import DataError
from tfds_builders.frames import Frame, Missing
from tfds_builders.kitti_odometry import KittiOdometry, SequenceId, parse_split, read_poses


@pytest.fixture
def root(tmp_path):
    return make_odometry(tmp_path / "odometry", {"09": 6, "10": 4})


def settled(root, split="09", **options) -> dict[str, Any]:
    return {"data_dir": str(root.parent / "tfds"), "root": str(root), "split": split, **options}


def builder(root, *args, **options) -> KittiOdometry:
    return KittiOdometry.from_options(**settled(root, *args, **options))


def frames(root, *args, **options) -> list[Frame]:
    return [f for f in builder(root, *args, **options).read_frames() if isinstance(f, Frame)]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("09", ["09/image_2"]),
        ("09,10", ["09/image_2", "10/image_2"]),
        ("07-09", ["07/image_2", "08/image_2", "09/image_2"]),
        ("06_image_0, 00-01_image_3", ["06/image_0", "00/image_3", "01/image_3"]),
    ],
)
def test_a_split_names_sequences_and_cameras(split, expected):
    assert [sequence.stream for sequence in parse_split(split)] == expected


@pytest.mark.parametrize("split", ["", "eigen_zhou", "09,", "08-07", "09,09", "06_image_4"])
def test_a_split_of_something_else_is_refused(split):
    with pytest.raises(DataError, match=repr(split)):
        parse_split(split)


def test_frames_come_by_sequence_and_number(root):
    found = frames(root, "10,09")
    names = [f"10/image_2/{i:06d}" for i in range(4)] + [f"09/image_2/{i:06d}" for i in range(6)]
    assert [frame.name for frame in found] == names == list(builder(root, "10,09").targets())
    assert [frame.number for frame in found] == [*range(4), *range(6)]
    assert {frame.stream for frame in found} == {"10/image_2", "09/image_2"}
    np.testing.assert_array_equal(
        found[0].intrinsics, [[FOCAL, 0, CENTRE[0]], [0, FOCAL, CENTRE[1]], [0, 0, 1]]
    )


def test_poses_are_those_of_the_camera_that_took_the_pictures(root):
    """The files give the left grey camera; the colour camera is a little to its left."""
    truth = drive(6)
    for frame, pose in zip(frames(root), truth, strict=True):
        np.testing.assert_allclose(frame.world_T_camera, pose @ move(SHIFTS["P2"], 0, 0), atol=1e-9)
    make_odometry(root.parent / "grey", {"09": 6}, camera="image_0")
    for frame, pose in zip(frames(root.parent / "grey", "09_image_0"), truth, strict=True):
        np.testing.assert_allclose(frame.world_T_camera, pose, atol=1e-9)


def test_a_built_store_holds_poses_and_times_and_no_more_than_asked_for(root):
    store = open_built(KittiOdometry.from_options, **settled(root, "09"))
    assert (len(store), store.has_pose, store.has_depth) == (6, True, False)
    assert store[3].timestamp == pytest.approx(3 * SECONDS_PER_FRAME)
    assert store[3].image().shape == (*SHAPE, 3)
    (root / "poses" / "10.txt").unlink()
    (root / "sequences" / "10" / "times.txt").unlink()
    store = open_built(KittiOdometry.from_options, **settled(root, "10"))
    assert not store.has_pose
    assert store[0].timestamp is None


def test_depth_is_projected_from_scans_and_its_absence_is_named(root):
    depth = sparse_depth(1, SHAPE)
    write_scan(root, "09", 2, depth)
    make_grey = root / "sequences" / "09" / "image_2"
    make_grey.rename(make_grey.with_name("image_0"))
    items = list(builder(root, "09_image_0", depth_type="velodyne").read_frames())
    found = {item.name: item for item in items if isinstance(item, Frame)}
    np.testing.assert_allclose(found["09/image_0/000002"].depth, depth, rtol=1e-6)
    assert "velodyne" in found["09/image_0/000002"].depth_source
    missing = [item for item in items if isinstance(item, Missing)]
    assert len(found) == 6
    assert len(missing) == 5
    assert "velodyne/000000.bin" in missing[0].reason


def truncated(root):
    write_poses(root, "09", drive(5))


def with_nan(root):
    poses = drive(6)
    poses[2, 0, 3] = np.nan
    write_poses(root, "09", poses)


def with_scaled_rotation(root):
    poses = drive(6)
    poses[4, :3, :3] *= 1.1
    write_poses(root, "09", poses)


def of_eleven_numbers(root):
    (root / "poses" / "09.txt").write_text("1 0 0 0 0 1 0 0 0 0 1\n")


def of_words(root):
    (root / "poses" / "09.txt").write_text("no poses here\n")


def without_calibration(root):
    (root / "sequences" / "09" / "calib.txt").unlink()


def of_two_cameras(root):
    path = root / "sequences" / "09" / "calib.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:2]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "poses/09.txt has 5 rows, but sequence 09/image_2 has a picture 000005"),
        (with_nan, "poses/09.txt: row 3 holds a value that is not finite"),
        (with_scaled_rotation, "poses/09.txt: row 5 is no pose"),
        (of_eleven_numbers, "poses/09.txt holds a table .1, 11.; expected 12"),
        (of_words, "poses/09.txt can not be read"),
        (without_calibration, "no calibration file .*09/calib.txt"),
        (of_two_cameras, "calib.txt has no row 'P2:' of twelve numbers; it has P0, P1"),
    ],
)
def test_damage_is_named(root, damage, message):
    damage(root)
    with pytest.raises(DataError, match=message):
        frames(root)


def test_absent_pictures_are_named_with_what_there_is(root):
    with pytest.raises(DataError, match=r"no folder .*09/image_0; it has image_2: .*'09_image_2'"):
        builder(root, "09_image_0")
    with pytest.raises(DataError, match=r"no folder .*11/image_2; `data.root` is the folder"):
        builder(root, "11")
    with pytest.raises(DataError, match="Depth type 'groundtruth'"):
        builder(root, depth_type="groundtruth")


def test_the_real_sequence():
    """Grey pictures, whose camera the poses are of."""
    folder = real_data.kitti_odometry()
    found = frames(folder, "06_image_0")
    assert [frame.number for frame in found] == list(range(51))
    truth = read_kitti(folder / "poses" / "06.txt")
    np.testing.assert_allclose([f.world_T_camera for f in found], truth, atol=1e-5)
    assert found[1].extra["timestamp"] == pytest.approx(0.1044989)
    assert found[0].intrinsics[0, 0] == pytest.approx(707.0912)
    np.testing.assert_array_equal(read_poses(folder / "poses" / "06.txt")[0, 3], [0, 0, 0, 1])
    assert SequenceId("06", "image_0").stream == found[0].stream
