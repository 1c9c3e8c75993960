import numpy as np
import pytest
from fake_kitti import (
    SHAPE,
    frame_name,
    make_kitti,
    replace_depth_by_scan,
    sparse_depth,
    write_groundtruth,
)
from PIL import Image

from tfds_builders.kitti_depth import read_depth
from tfds_builders.kitti_files import read_camera


@pytest.fixture
def drive(tmp_path):
    root = make_kitti(tmp_path, {1: 3}, [(1, 1)])
    return (root / frame_name(1, 1)).parents[2]


def read(drive, depth_type="velodyne", *, number=1, shape=SHAPE, calibrated=True, beams=0):
    image_T_velodyne = read_camera(drive.parent, "image_02").image_T_velodyne
    return read_depth(
        drive,
        "image_02",
        f"{number:010d}",
        depth_type,
        image_T_velodyne=image_T_velodyne if calibrated else None,
        shape=shape,
        beams=beams,
    )


def test_a_projected_map_is_preferred_to_a_scan(drive):
    scan = drive / "velodyne_points" / "data" / f"{1:010d}.bin"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"not looked at")
    measured = read(drive)
    np.testing.assert_array_equal(measured.depth, sparse_depth(1010))
    assert "proj_depth/velodyne" in measured.source


def test_a_scan_is_projected_where_there_is_no_map(drive):
    expected = replace_depth_by_scan(drive.parents[1], 1, 1)
    measured = read(drive)
    np.testing.assert_allclose(measured.depth, expected, rtol=1e-6)
    assert np.count_nonzero(measured.depth) > 10
    assert "velodyne_points" in measured.source


def test_improved_ground_truth_is_in_256ths_of_a_metre(drive):
    expected = write_groundtruth(drive.parents[1], 1, 1)
    measured = read(drive, "groundtruth")
    np.testing.assert_array_equal(measured.depth, expected)
    assert measured.depth.dtype == np.float32
    assert expected.max() > 50
    assert measured.source.startswith("groundtruth")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no file"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "can not be read"),
        (lambda path: Image.new("L", (40, 12), 9).save(path), "no 16-bit depth"),
        (lambda path: Image.new("RGB", (40, 12)).save(path), "no 16-bit depth"),
        (lambda path: Image.fromarray(np.full((4, 4), 999, np.uint16)).save(path), "shape"),
    ],
)
def test_what_is_no_improved_ground_truth_is_refused(drive, damage, message):
    write_groundtruth(drive.parents[1], 1, 1)
    damage(drive / "proj_depth" / "groundtruth" / "image_02" / f"{1:010d}.png")
    with pytest.raises(ValueError, match=message):
        read(drive, "groundtruth")


def test_a_frame_without_any_depth_names_both_places(drive):
    with pytest.raises(ValueError, match=r"neither .*velodyne.*npz nor .*velodyne_points.*bin"):
        read(drive, number=7)


def test_a_scan_needs_its_calibration(drive):
    replace_depth_by_scan(drive.parents[1], 1, 1)
    with pytest.raises(ValueError, match="calib_velo_to_cam"):
        read(drive, calibrated=False)
    (drive.parent / "calib_velo_to_cam.txt").unlink()
    assert read_camera(drive.parent, "image_02").image_T_velodyne is None


def test_a_map_of_another_size_is_refused(drive):
    with pytest.raises(ValueError, match="shape"):
        read(drive, shape=(12, 41))


# Beams


def write_scan(drive, points) -> None:
    scan = drive / "velodyne_points" / "data" / f"{1:010d}.bin"
    scan.parent.mkdir(parents=True, exist_ok=True)
    scan.write_bytes(np.concatenate([points, points[:, :1]], axis=1).astype("<f4").tobytes())


def scanned(num_lines: int) -> np.ndarray:
    """Lines from top to bottom, each of five points ahead and two behind."""
    azimuth = np.deg2rad([0, 5, 10, 90, 180, 350, 355])
    lines = []
    for line in range(num_lines):
        down = np.full(7, -10 * np.tan(np.deg2rad(0.17 * line)))
        lines.append(np.stack([10 * np.cos(azimuth), 10 * np.sin(azimuth), down], axis=1))
    return np.concatenate(lines)


def test_of_a_raw_scan_the_kept_lines_are_projected(drive):
    points = scanned(64)
    write_scan(drive, points)
    measured = read(drive, beams=4)  # although there is a map
    write_scan(drive, points.reshape(64, 7, 3)[[56, 40, 24, 8]].reshape(-1, 3))
    (drive / "proj_depth" / "velodyne" / "image_02" / f"{1:010d}.npz").unlink()
    np.testing.assert_array_equal(measured.depth, read(drive).depth)
    assert measured.depth.any()
    assert measured.source == "velodyne, 4 of 64 beams (projected from velodyne_points)"


def test_of_a_map_the_points_of_the_kept_lines_elevations_are_kept(drive):
    whole = read(drive).depth
    kept = {beams: read(drive, beams=beams) for beams in (1, 16, 32)}
    for measured in kept.values():
        is_kept = measured.depth > 0
        np.testing.assert_array_equal(measured.depth[is_kept], whole[is_kept])
        assert "by elevation (proj_depth/velodyne)" in measured.source
    counts = [np.count_nonzero(measured.depth) for measured in kept.values()]
    assert counts[0] < counts[1] < counts[2] < np.count_nonzero(whole)


def test_beams_need_their_calibration_and_order(drive):
    with pytest.raises(ValueError, match="calib_velo_to_cam"):
        read(drive, calibrated=False, beams=4)
    write_scan(drive, np.random.default_rng(0).permutation(scanned(64)))
    with pytest.raises(ValueError, match=r"\.bin can not be thinned out: .* scan lines instead"):
        read(drive, beams=4)
