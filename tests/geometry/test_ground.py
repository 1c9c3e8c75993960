"""The ground plane: exact on exact depth, whatever its scale, and not where there is none."""

import numpy as np
import pytest

from packnet_jax.geometry.ground import fit_ground_plane
from tfds_builders.synthetic_drive.cameras import default_camera
from tfds_builders.synthetic_drive.render import Renderer
from tfds_builders.synthetic_drive.street import make_street

CAMERA = default_camera(64, 192)


def plane_depth(normal, height, K, shape):
    """Depth of the plane normal . p = height, 0 above its horizon."""
    v, u = np.mgrid[: shape[0], : shape[1]]
    rays = np.linalg.solve(K, np.stack([u, v, np.ones_like(u)]).reshape(3, -1))
    slope = np.asarray(normal) @ rays
    with np.errstate(divide="ignore"):
        depth = height / slope
    return np.where(slope > 1e-3, depth, 0).reshape(shape)


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (8, 0), (-6, 3), (0, -10)])
def test_a_plane_is_found_as_it_is(pitch, roll):
    a, b = np.radians((pitch, roll))
    normal = np.array([np.sin(b), np.cos(a) * np.cos(b), np.sin(a) * np.cos(b)])
    K = np.array([[100.0, 2.0, 30.0], [0, 90.0, 14.0], [0, 0, 1]])
    found = fit_ground_plane(plane_depth(normal, 1.65, K, (32, 64)), K)
    assert found is not None
    np.testing.assert_allclose(found.normal_cam, normal, atol=1e-6)
    assert found.height == pytest.approx(1.65, rel=1e-6)
    assert found.share == 1


@pytest.mark.parametrize("seed", [0, 1, 4, 6, 12, 20, 23, 27])
def test_the_height_of_a_camera_on_a_street(seed):
    """Cars, pavements and houses are in the way; drives with the camera tilted up are left out."""
    street = make_street(seed, num_frames=2)
    pose = street.world_T_camera[1]
    depth = Renderer(street, CAMERA, supersampling=1).render(pose, 1).depth
    found = fit_ground_plane(depth, CAMERA.intrinsics)
    assert found is not None
    assert found.height == pytest.approx(-pose[1, 3], rel=0.005)
    np.testing.assert_allclose(found.normal_cam, pose[1, :3], atol=0.005)  # world's y axis


def test_noise_moves_it_little():
    street = make_street(0, num_frames=1)
    pose = street.world_T_camera[0]
    depth = Renderer(street, CAMERA, supersampling=1).render(pose, 0).depth
    noise = np.exp(0.05 * np.random.default_rng(0).normal(size=depth.shape))
    found = fit_ground_plane(depth * noise, CAMERA.intrinsics)
    assert found is not None
    assert found.height == pytest.approx(-pose[1, 3], rel=0.05)


def test_the_height_has_the_unit_of_the_depth():
    depth = plane_depth((0, 1, 0), 1.65, CAMERA.intrinsics, (64, 192))
    one, other = (fit_ground_plane(depth * scale, CAMERA.intrinsics) for scale in (1, 0.01))
    assert one is not None
    assert other is not None
    assert other.height == pytest.approx(0.01 * one.height, rel=1e-9)


@pytest.mark.parametrize(
    "depth",
    [
        np.full((64, 192), 9.0),  # a wall
        np.zeros((64, 192)),
        plane_depth((0, -1, 0), 1.65, CAMERA.intrinsics, (64, 192)),  # a ceiling
        np.random.default_rng(0).uniform(1, 80, (64, 192)),
    ],
    ids=["wall", "nothing", "ceiling", "noise"],
)
def test_no_ground_is_no_plane(depth):
    assert fit_ground_plane(depth, CAMERA.intrinsics) is None
