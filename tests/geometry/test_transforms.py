import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load, nhwc

from packnet_jax.geometry.transforms import (
    euler_to_matrix,
    invert_transform,
    pose_vector_to_transform,
    transform_points,
)

BATCH_SHAPES = [(), (3,), (2, 3)]


def random_transform(batch_shape, seed=0):
    vector = np.random.default_rng(seed).normal(size=(*batch_shape, 6))
    return pose_vector_to_transform(jnp.asarray(vector))


@pytest.mark.parametrize("batch_shape", BATCH_SHAPES)
def test_rotations_are_orthonormal_and_right_handed(batch_shape):
    with jax.enable_x64(True):
        rotation = random_transform(batch_shape)[..., :3, :3]
        identity = np.broadcast_to(np.eye(3), rotation.shape)
        np.testing.assert_allclose(rotation @ jnp.swapaxes(rotation, -1, -2), identity, atol=1e-14)
        np.testing.assert_allclose(jnp.linalg.det(rotation), np.ones(batch_shape), atol=1e-14)


def test_each_angle_turns_about_its_axis():
    """A quarter turn about x takes y to z, about y takes z to x, about z takes x to y."""
    turns = euler_to_matrix(jnp.eye(3) * jnp.pi / 2)
    x, y, z = np.eye(3)
    np.testing.assert_allclose(turns[0] @ y, z, atol=1e-6)
    np.testing.assert_allclose(turns[1] @ z, x, atol=1e-6)
    np.testing.assert_allclose(turns[2] @ x, y, atol=1e-6)


def test_euler_rotation_is_x_times_y_times_z():
    with jax.enable_x64(True):
        angles = jnp.asarray([0.3, -0.8, 1.9])
        about_x, about_y, about_z = euler_to_matrix(jnp.diag(angles))
        np.testing.assert_allclose(euler_to_matrix(angles), about_x @ about_y @ about_z, atol=1e-15)


@pytest.mark.parametrize("batch_shape", BATCH_SHAPES)
def test_inverse_undoes_and_inverse_twice_returns(batch_shape):
    with jax.enable_x64(True):
        a_T_b = random_transform(batch_shape)
        b_T_a = invert_transform(a_T_b)
        identity = np.broadcast_to(np.eye(4), a_T_b.shape)
        np.testing.assert_allclose(a_T_b @ b_T_a, identity, atol=1e-14)
        np.testing.assert_allclose(invert_transform(b_T_a), a_T_b, atol=1e-14)


@pytest.mark.parametrize("batch_shape", BATCH_SHAPES)
def test_transforms_chain(batch_shape):
    """Going from c to b to a is going from c to a."""
    with jax.enable_x64(True):
        a_T_b, b_T_c = random_transform(batch_shape, 1), random_transform(batch_shape, 2)
        points_c = jnp.asarray(np.random.default_rng(3).normal(size=(*batch_shape, 4, 5, 3)))
        stepwise = transform_points(a_T_b, transform_points(b_T_c, points_c))
        np.testing.assert_allclose(transform_points(a_T_b @ b_T_c, points_c), stepwise, atol=1e-13)


def test_one_point_map_serves_several_transforms():
    a_T_b = random_transform((2, 3))
    points = jnp.ones((2, 1, 4, 5, 3))
    together = transform_points(a_T_b, points)
    assert together.shape == (2, 3, 4, 5, 3)
    np.testing.assert_array_equal(together[:, 1], transform_points(a_T_b[:, 1], points[:, 0]))


def test_golden():
    golden = load("geometry")
    a_T_b, b_T_c = (pose_vector_to_transform(golden[name]) for name in ("in.vec", "in.vec2"))
    tolerance = {"rtol": 2e-6, "atol": 2e-6}
    np.testing.assert_allclose(
        euler_to_matrix(golden["in.angles"]), golden["euler2mat"], **tolerance
    )
    np.testing.assert_allclose(a_T_b[:, :3], golden["pose_vec2mat"], **tolerance)
    np.testing.assert_allclose(a_T_b, golden["pose_mat"], **tolerance)
    np.testing.assert_allclose(invert_transform(a_T_b), golden["invert_pose"], **tolerance)
    np.testing.assert_allclose(a_T_b @ b_T_c, golden["compose"], **tolerance)
    moved = transform_points(a_T_b, nhwc(golden["in.points"]))
    np.testing.assert_allclose(moved, nhwc(golden["transform_points"]), **tolerance)
