"""Point clouds: points where the rays end, and none that hang in the air."""

import numpy as np
import pytest
from ply_files import read_ply

from packnet_jax.point_cloud import (
    is_depth_edge,
    is_distance_edge,
    point_cloud,
    ray_cloud,
    write_ply,
)
from tfds_builders.synthetic_drive.cameras import default_camera
from tfds_builders.synthetic_drive.render import Renderer
from tfds_builders.synthetic_drive.street import make_street

K = np.array([[100.0, 0, 31.5], [0, 90.0, 7.5], [0, 0, 1]])


def test_a_written_cloud_is_read_back(tmp_path):
    rng = np.random.default_rng(0)
    depth, rgb = rng.uniform(1, 9, (16, 64)), rng.random((16, 64, 3))
    cloud = point_cloud(depth, rgb, K)
    write_ply(tmp_path / "a.ply", cloud, {"unit": "metres", "scale": 5.4})
    points, colours, comments = read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(points, cloud.points_cam)
    np.testing.assert_array_equal(colours, np.round(rgb * 255).reshape(-1, 3))
    assert {"unit: metres", "scale: 5.4"} < set(comments)


def test_the_points_of_a_street_are_where_its_rays_end():
    """World points from the scene's own poses and directions, not from K."""
    street, camera = make_street(3, num_frames=1), default_camera(32, 96)
    pose = street.world_T_camera[0]
    view = Renderer(street, camera, supersampling=1).render(pose, 0)
    cloud = point_cloud(view.depth, view.rgb / 255, camera.intrinsics)
    v, u = np.nonzero(view.depth)
    x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
    depth = view.depth[v, u].astype(np.float64)[:, None]
    ends = pose[:3, 3] + depth * (np.stack([x, y, np.ones_like(x)], -1) @ pose[:3, :3].T)
    world = cloud.points_cam.astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(world, ends, atol=1e-4)
    np.testing.assert_array_equal(cloud.colours, view.rgb[v, u])


def test_only_what_is_between_near_and_far_is_kept():
    depth = np.array([[0.0, 1.0, 2.0, 3.0, 1e6]])
    cloud = point_cloud(depth, np.zeros((1, 5, 3)), K, near=1, far=3)
    np.testing.assert_array_equal(cloud.points_cam[:, 2], [2.0])
    assert len(point_cloud(depth, np.zeros((1, 5, 3)), K).points_cam) == 4


def test_a_step_is_an_edge_on_both_sides_and_missing_depth_is_none():
    depth = np.full((6, 9), 10.0)
    depth[:, 4:] = 20
    depth[0] = 0
    edge = is_depth_edge(depth, K, 40)
    expected = np.zeros((6, 9), bool)
    expected[1:, 3:5] = True
    np.testing.assert_array_equal(edge, expected)
    np.testing.assert_array_equal(is_depth_edge(depth.T, K, 40), expected.T)


@pytest.mark.parametrize("unit", [1.0, 0.01])
@pytest.mark.parametrize("zoom", [1, 4])
def test_flat_ground_is_kept_as_far_as_promised(unit, zoom):
    """Up to max_slope times the camera's height, whatever the unit and the resolution."""
    focal, height, max_slope = 200.0 * zoom, 1.65 * unit, 40
    rows = np.arange(1, 60 * zoom) + 0.5  # below the horizon
    depth = np.repeat((focal * height / rows)[:, None], 3, axis=1)
    camera = np.array([[focal, 0, 1], [0, focal, -0.5], [0, 0, 1]])
    edge = is_depth_edge(depth, camera, max_slope)[:, 0]
    farthest = depth[~edge, 0].max()
    assert 0.7 * max_slope * height < farthest < 1.05 * max_slope * height
    assert not edge[depth[:, 0] < 0.7 * max_slope * height].any()


def pinhole_slopes() -> np.ndarray:
    """[16, 64, 3], with z = 1, of `K`."""
    v, u = np.mgrid[:16, :64]
    return np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(v)], -1)


def test_distance_along_a_pinhole_s_rays_makes_the_cloud_of_its_depth():
    rng = np.random.default_rng(0)
    depth, rgb = rng.uniform(1, 9, (16, 64)), rng.random((16, 64, 3))
    depth[3] = 0
    slopes = pinhole_slopes()
    lengths = np.linalg.norm(slopes, axis=-1)
    cloud = ray_cloud(depth * lengths, rgb, slopes / lengths[..., None])
    expected = point_cloud(depth, rgb, K)
    np.testing.assert_allclose(cloud.points_cam, expected.points_cam, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(cloud.colours, expected.colours)


def test_near_and_far_are_along_the_ray():
    rays = np.array([[[0.6, 0, 0.8]] * 4])
    cloud = ray_cloud(np.array([[1.0, 2, 3, 4]]), np.zeros((1, 4, 3)), rays, near=1, far=4)
    np.testing.assert_allclose(cloud.points_cam, [[1.2, 0, 1.6], [1.8, 0, 2.4]], rtol=1e-6)


def test_a_step_in_distance_is_an_edge_where_it_is_steep_for_the_angle_between_rays():
    """The same step over a tenth of the angle is ten times as steep."""
    angle = np.array([0.0, 0.1, 0.2, 0.21, 0.22])
    rays = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], -1)[None]
    edge = is_distance_edge(np.array([[10.0, 11, 11, 12, 0]]), rays, 5)
    np.testing.assert_array_equal(edge, [[False, False, True, True, False]])
    down = is_distance_edge(np.array([[10.0], [11], [11], [12], [0]]), rays.swapaxes(0, 1), 5)
    np.testing.assert_array_equal(down, edge.T)
