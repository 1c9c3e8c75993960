import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load, nchw, nhwc, one_plus

from packnet_jax.geometry.transforms import (
    apply_matrix,
    compose_transforms,
    euler_to_matrix,
    invert_transform,
    make_transform,
    pose_vector_to_transform,
    scale_vectors,
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
        a_T_c = compose_transforms(a_T_b, b_T_c)
        np.testing.assert_allclose(transform_points(a_T_c, points_c), stepwise, atol=1e-13)
        np.testing.assert_allclose(a_T_c, a_T_b @ b_T_c, atol=1e-13)


def test_one_point_map_serves_several_transforms():
    a_T_b = random_transform((2, 3))
    points = jnp.ones((2, 1, 4, 5, 3))
    together = transform_points(a_T_b, points)
    assert together.shape == (2, 3, 4, 5, 3)
    np.testing.assert_array_equal(together[:, 1], transform_points(a_T_b[:, 1], points[:, 0]))


def pose(golden, name="in.vec"):
    return pose_vector_to_transform(golden[name])


GOLDEN = {
    "euler2mat": lambda golden: euler_to_matrix(golden["in.angles"]),
    "pose_vec2mat": lambda golden: pose(golden)[:, :3],
    "pose_mat": pose,
    "invert_pose": lambda golden: invert_transform(pose(golden)),
    "invert_pose_numpy": lambda golden: invert_transform(golden["pose_mat"][0]),
    "Twc": lambda golden: invert_transform(pose(golden)),
    "compose": lambda golden: compose_transforms(pose(golden), pose(golden, "in.vec2")),
    "transform_points": lambda golden: nchw(
        transform_points(pose(golden), nhwc(golden["in.points"]))
    ),
}


@pytest.mark.parametrize("entry", GOLDEN)
def test_golden(entry, parity):
    golden = load("geometry")
    expected = golden[entry]
    parity.compare(
        "funcs/geometry",
        entry,
        GOLDEN[entry](golden),
        expected,
        tolerance=2e-6,
        scale=one_plus(expected),
    )


def test_a_rotation_and_a_translation_make_a_transform():
    rotation, translation = euler_to_matrix(jnp.array([0.1, 0.2, 0.3])), jnp.array([1.0, 2.0, 3.0])
    a_T_b = make_transform(rotation, translation)
    np.testing.assert_array_equal(a_T_b[:3, :3], rotation)
    np.testing.assert_array_equal(a_T_b[:, 3], [1, 2, 3, 1])
    np.testing.assert_array_equal(a_T_b[3], [0, 0, 0, 1])


@pytest.mark.parametrize("batch_shape", BATCH_SHAPES)
def test_applying_a_matrix_is_the_product(batch_shape):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        matrix, vector = rng.normal(size=(*batch_shape, 3, 4)), rng.normal(size=(*batch_shape, 4))
        expected = np.einsum("...ij,...j->...i", matrix, vector)
        actual = apply_matrix(jnp.asarray(matrix), jnp.asarray(vector))
        np.testing.assert_allclose(actual, expected, atol=1e-14)


def test_vectors_are_scaled_and_so_are_their_gradients():
    def plain(vectors, factors):
        return vectors * factors[..., None]

    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        given, directions = (
            (jnp.asarray(rng.normal(size=(2, 5, 3))), jnp.asarray(rng.normal(size=(2, 5))))
            for _ in range(2)
        )
        weight = jnp.asarray(rng.normal(size=(2, 5, 3)))
        scaled, vjp = jax.vjp(scale_vectors, *given)
        expected, plain_vjp = jax.vjp(plain, *given)
        np.testing.assert_array_equal(scaled, expected)
        for actual, of_plain in zip(vjp(weight), plain_vjp(weight), strict=True):
            np.testing.assert_allclose(actual, of_plain, rtol=1e-14)
        _, tangent = jax.jvp(scale_vectors, given, directions)
        np.testing.assert_allclose(tangent, jax.jvp(plain, given, directions)[1], rtol=1e-14)
