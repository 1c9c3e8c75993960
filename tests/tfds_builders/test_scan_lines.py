import numpy as np
import pytest
from real_data import kitti_mini

from tfds_builders.kitti_files import read_camera
from tfds_builders.scan_lines import (
    find_lines,
    keep_beams,
    keep_beams_of_map,
    kept_lines,
    lines_by_elevation,
)
from tfds_builders.velodyne import project_scan, read_scan


def scan(num_lines: int, *, start: float = 10.0, dropped: float = 0.0, seed: int = 0):
    """Points in the scanner's order and their lines; each turn begins a bit further on."""
    rng = np.random.default_rng(seed)
    points, lines = [], []
    for line in range(num_lines):
        azimuth = np.deg2rad((start + 0.1 * line + np.arange(0, 360, 1.5)) % 360)
        azimuth = np.sort(azimuth)  # a line begins ahead, where the azimuth is 0
        azimuth = azimuth[rng.random(len(azimuth)) >= dropped]
        distance = rng.uniform(3, 60, len(azimuth))
        z = distance * np.tan(np.deg2rad(2 - 0.4 * line)) + 0.2
        points.append(np.stack([distance * np.cos(azimuth), distance * np.sin(azimuth), z], -1))
        lines += [line] * len(azimuth)
    return np.concatenate(points).astype(np.float32), np.array(lines)


@pytest.mark.parametrize("num_lines", [1, 5, 64])
@pytest.mark.parametrize("dropped", [0.0, 0.6])
def test_lines_are_found_from_the_order_of_the_points(num_lines, dropped):
    points, lines = scan(num_lines, dropped=dropped)
    np.testing.assert_array_equal(find_lines(points), lines)


@pytest.mark.parametrize(
    ("num_lines", "beams", "expected"),
    [
        (64, 4, (56, 40, 24, 8)),
        (62, 4, (54, 38, 22, 6)),
        (64, 1, (32,)),
        (64, 32, tuple(range(63, -1, -2))),
        (5, 4, ()),
    ],
)
def test_every_fth_line_is_kept_from_half_a_step_above_the_lowest(num_lines, beams, expected):
    assert kept_lines(num_lines, beams) == expected


@pytest.mark.parametrize("beams", [0, 3, 64, 128, -4])
def test_other_numbers_of_beams_are_refused(beams):
    with pytest.raises(ValueError, match="proper divisor of 64"):
        kept_lines(64, beams)


@pytest.mark.parametrize("beams", [1, 4, 16])
def test_a_scan_is_left_with_its_kept_lines(beams):
    points, lines = scan(64)
    kept = points[np.isin(lines, kept_lines(64, beams))]
    np.testing.assert_array_equal(keep_beams(points, beams), kept)
    assert len(kept) == len(points) * beams // 64


def test_points_in_another_order_are_refused():
    points, _ = scan(64)
    shuffled = np.random.default_rng(0).permutation(points)
    with pytest.raises(ValueError, match="scan lines instead of at most 64"):
        keep_beams(shuffled, 4)


def hdl64(seed: int = 0) -> np.ndarray:
    """A scan of KITTI's scanner: two blocks of lasers at different heights."""
    rng = np.random.default_rng(seed)
    height = np.repeat([0.204, 0.121], 32)
    elevation = np.concatenate([np.linspace(1.94, -8.71, 32), np.linspace(-9.03, -25, 32)])
    lines = []
    for h, angle in zip(height, elevation, strict=True):
        azimuth = np.deg2rad(np.arange(0, 360, 0.7))
        distance = rng.uniform(3, 60, len(azimuth))
        z = h + distance * np.tan(np.deg2rad(angle))
        lines.append(np.stack([distance * np.cos(azimuth), distance * np.sin(azimuth), z], -1))
    return np.concatenate(lines).astype(np.float32)


@pytest.mark.parametrize("beams", [4, 16])
def test_of_a_map_the_same_lines_are_kept_as_of_its_scan(beams):
    K = np.array([[700.0, 0, 500], [0, 700, 170], [0, 0, 1]])
    turn = np.array([[0.02, -1, 0, 0.1], [0, 0.03, -1, -0.08], [1, 0.02, 0.03, -0.3]])
    points = hdl64()
    np.testing.assert_array_equal(lines_by_elevation(points), find_lines(points))
    whole, own = (
        project_scan(p, K @ turn, (350, 1000)) for p in (points, keep_beams(points, beams))
    )
    told = keep_beams_of_map(whole, K @ turn, beams)
    differing = np.count_nonzero(told != own)  # where points of two lines share a pixel
    assert differing < 0.03 * np.count_nonzero(own)
    assert np.count_nonzero(own) > 100


def test_a_scan_without_points_stays_empty():
    assert keep_beams(np.zeros((0, 3), np.float32), 4).shape == (0, 3)


# On KITTI's own scans


def scans():
    drive = kitti_mini() / "2011_09_26" / "2011_09_26_drive_0052_sync"
    return [read_scan(path) for path in sorted((drive / "velodyne_points" / "data").glob("*.bin"))]


def test_real_scans_have_64_lines_from_top_to_bottom():
    for points in scans():
        lines = find_lines(points)
        assert lines.max() == 63
        assert np.bincount(lines).min() > 1000
        assert np.count_nonzero(lines_by_elevation(points) != lines) <= 2


@pytest.mark.parametrize("beams", [1, 4, 16])
def test_a_projected_map_keeps_the_lines_that_its_scan_would_have_kept(beams):
    image_T_velodyne = read_camera(kitti_mini() / "2011_09_26", "image_02").image_T_velodyne
    assert image_T_velodyne is not None
    for points in scans():
        whole, own = (
            project_scan(p, image_T_velodyne, (375, 1242))
            for p in (points, keep_beams(points, beams))
        )
        told = keep_beams_of_map(whole, image_T_velodyne, beams)
        # a point of a line that another one hides is in the scan's own map alone
        differing = np.count_nonzero(told != own)
        assert differing <= 0.02 * np.count_nonzero(own)
        assert 100 * beams < np.count_nonzero(told) < 600 * beams
        np.testing.assert_array_equal(told[told > 0], whole[told > 0])
