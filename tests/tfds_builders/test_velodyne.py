import numpy as np
import pytest
from real_data import kitti_mini

from tfds_builders.kitti_files import read_camera
from tfds_builders.velodyne import project_scan, read_scan

SHAPE = (6, 9)
# Looks along the scanner's x axis, from half a metre ahead; focal length 2, centre (5, 3).
K = np.array([[2.0, 0, 5], [0, 2, 3], [0, 0, 1]])
CAMERA_T_VELODYNE = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, -0.5]])
IMAGE_T_VELODYNE = K @ CAMERA_T_VELODYNE


def at(u: float, v: float, z: float) -> list[float]:
    """The point, in the scanner's frame, that is seen at (u, v) at depth z."""
    return [z + 0.5, -(u - 5) / 2 * z, -(v - 3) / 2 * z]


def project(*points: list[float]) -> np.ndarray:
    return project_scan(np.array(points, np.float32), IMAGE_T_VELODYNE, SHAPE)


def test_a_point_falls_into_the_pixel_counted_from_one():
    depth = project(at(5, 3, 4))
    assert depth.dtype == np.float32
    assert depth[2, 4] == 4
    assert np.count_nonzero(depth) == 1


@pytest.mark.parametrize("order", [(2, 4, 8), (8, 4, 2), (4, 2, 8)])
def test_the_nearest_wins(order):
    depth = project(*(at(5, 3, z) for z in order), at(7, 3, 16))
    assert (depth[2, 4], depth[2, 6]) == (2, 16)


@pytest.mark.parametrize(("u", "column"), [(4.4, 3), (4.6, 4), (4.5, 3), (5.5, 5)])
def test_halves_round_to_even(u, column):
    assert np.flatnonzero(project(at(u, 3, 4))[2]).tolist() == [column]


@pytest.mark.parametrize("point", [[-3.0, 0, 0], [0.2, 0, 0], [0.5, 0.01, 0], [0.0, 1, 1]])
def test_what_is_behind_the_scanner_or_the_camera_is_dropped(point):
    assert not project(point).any()
    assert project(point, at(5, 3, 4))[2, 4] == 4


@pytest.mark.parametrize(("u", "v"), [(0.4, 3), (9.6, 3), (5, 0.4), (5, 6.6), (1e6, 3)])
def test_what_is_out_of_view_is_dropped(u, v):
    assert not project(at(u, v, 4)).any()
    assert project(at(1, 1, 4), at(9, 6, 4)).nonzero() == pytest.approx(
        np.array([[0, 5], [0, 8]])
    )  # the corners are in view


def test_an_empty_view_is_a_map_without_depth():
    np.testing.assert_array_equal(project([-1.0, 0, 0]), np.zeros(SHAPE))


@pytest.mark.parametrize("size", [None, 0, 15, 33])
def test_a_scan_cut_short_is_refused(tmp_path, size):
    path = tmp_path / "scan.bin"
    if size is not None:
        path.write_bytes(bytes(size))
    with pytest.raises(ValueError, match=str(path)):
        read_scan(path)


def test_real_scans_give_the_maps_that_were_made_of_them_bit_for_bit():
    date = kitti_mini() / "2011_09_26"
    drive = date / "2011_09_26_drive_0052_sync"
    image_T_velodyne = read_camera(date, "image_02").image_T_velodyne
    scans = sorted((drive / "velodyne_points" / "data").glob("*.bin"))
    assert len(scans) == 6
    for scan in scans:
        path = drive / "proj_depth" / "velodyne" / "image_02" / f"{scan.stem}.npz"
        expected = np.load(path)["velodyne_depth"]
        actual = project_scan(read_scan(scan), image_T_velodyne, expected.shape)
        assert np.count_nonzero(expected) > 15_000
        np.testing.assert_array_equal(actual, expected)
