import jax
import jax.numpy as jnp
import numpy as np
import pytest

from packnet_jax.geometry.transforms import pose_vector_to_transform
from packnet_jax.losses.reprojected import reprojected_distance, reprojected_distance_loss

SHAPE = (1, 24, 32, 1)
K = jnp.array([[[20.0, 0, 15.5], [0, 20.0, 11.5], [0, 0, 1]]])


def motions(*vectors):
    return pose_vector_to_transform(jnp.array([vectors], jnp.float32))


SIDEWAYS = (0.5, 0.0, 0.0, 0.0, 0.0, 0.0)
FORWARD = (0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


@pytest.mark.slow
def test_sideways_motion_measures_inverse_depth():
    """f t |1/d^ - 1/d| pixels, wherever the pixel lies."""
    rng = np.random.default_rng(0)
    predicted, measured = jnp.asarray(rng.uniform(4, 20, (2, *SHAPE)))
    distance, counts = reprojected_distance(predicted, measured, K, motions(SIDEWAYS))
    expected = 20 * 0.5 * np.abs(1 / predicted - 1 / measured)[:, None, ..., 0]
    np.testing.assert_allclose(distance[counts], expected[counts], rtol=1e-3, atol=1e-5)
    assert 0.8 < counts.mean() < 1  # the rest leaves the picture


def test_by_the_formula_for_one_pixel():
    measured = jnp.zeros(SHAPE).at[0, 6, 20, 0].set(10.0)
    vector = np.array([0.2, -0.1, 0.7, 0.01, -0.02, 0.03], np.float32)
    distance, counts = reprojected_distance(jnp.full(SHAPE, 8.0), measured, K, motions(vector))
    assert np.argwhere(counts).tolist() == [[0, 0, 6, 20]]
    T, camera = np.asarray(motions(vector)[0, 0], np.float64), np.asarray(K[0], np.float64)
    landed = []
    for depth in (8.0, 10.0):
        point = camera @ (T[:3, :3] @ (np.linalg.inv(camera) @ [20, 6, 1] * depth) + T[:3, 3])
        landed.append(point[:2] / point[2])
    expected = np.linalg.norm(landed[0] - landed[1])
    np.testing.assert_allclose(distance[0, 0, 6, 20], expected, rtol=1e-4)
    loss = reprojected_distance_loss(
        (jnp.full(SHAPE, 1 / 8.0),), measured, K, motions(vector), num_scales=1
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.slow
def test_the_epipole_says_nothing_about_depth():
    centred = K.at[0, 0, 2].set(16.0).at[0, 1, 2].set(12.0)
    measured = jnp.zeros(SHAPE).at[0, 12, 16, 0].set(10.0)
    args = measured, centred, motions(FORWARD)
    loss, gradient = jax.value_and_grad(
        lambda inv_depth: reprojected_distance_loss((inv_depth,), *args, num_scales=1)
    )(jnp.full(SHAPE, 0.5))
    assert loss == 0
    np.testing.assert_array_equal(gradient, 0)


def test_points_out_of_view_or_behind_the_camera_are_left_out():
    measured = jnp.zeros(SHAPE).at[0, 12, 31, 0].set(5.0)  # at the right border
    to_the_right = motions((2.0, 0, 0, 0, 0, 0))
    assert not reprojected_distance(jnp.full(SHAPE, 5.0), measured, K, to_the_right)[1].any()
    through = motions((0, 0, -6.0, 0, 0, 0))  # the camera passes the point at 5 m
    near = jnp.zeros(SHAPE).at[0, 12, 16, 0].set(5.0)
    assert not reprojected_distance(jnp.full(SHAPE, 9.0), near, K, through)[1].any()
    far = jnp.zeros(SHAPE).at[0, 12, 16, 0].set(9.0)
    assert not reprojected_distance(jnp.full(SHAPE, 5.0), far, K, through)[1].any()
    assert reprojected_distance(jnp.full(SHAPE, 9.0), far, K, through)[1].sum() == 1


def test_a_prediction_does_not_escape_by_leaving_the_picture():
    measured = jnp.zeros(SHAPE).at[0, 12, 16, 0].set(10.0)
    distance, counts = reprojected_distance(jnp.full(SHAPE, 0.01), measured, K, motions(SIDEWAYS))
    assert counts.sum() == 1
    assert distance.max() > 500


@pytest.mark.slow
def test_gradients_are_finite_whatever_the_prediction():
    measured = jnp.full(SHAPE, 10.0).at[0, :12].set(0.0)
    wild = jnp.linspace(0.0, 1e6, 24 * 32).reshape(SHAPE).at[0, 20].set(0.0)

    def loss(inv_depth, vectors):
        motion = pose_vector_to_transform(vectors)
        return reprojected_distance_loss((inv_depth,), measured, K, motion, num_scales=1)

    vectors = jnp.array([[SIDEWAYS, FORWARD, (0.0,) * 6, (0, 0, -20.0, 0, 0, 0)]])
    value, gradients = jax.value_and_grad(loss, (0, 1))(wild, vectors)
    assert np.isfinite(value)
    assert all(bool(jnp.all(jnp.isfinite(gradient))) for gradient in gradients)


@pytest.mark.parametrize("update_pose", [True, False])
def test_the_pose_learns_only_where_it_may(update_pose):
    def loss(vectors):
        return reprojected_distance_loss(
            (jnp.full(SHAPE, 0.2),),
            jnp.full(SHAPE, 10.0),
            K,
            pose_vector_to_transform(vectors),
            num_scales=1,
            update_pose=update_pose,
        )

    gradient = jax.grad(loss)(jnp.array([[SIDEWAYS]]))
    assert bool(jnp.any(gradient != 0)) == update_pose


def test_coarser_scales_are_measured_in_their_own_pixels():
    """Half the size, half the pixels."""
    measured = jnp.full(SHAPE, 10.0)
    both = [
        reprojected_distance_loss(
            (jnp.full((1, 24 // k, 32 // k, 1), 0.2),), measured, K, motions(SIDEWAYS), num_scales=1
        )
        for k in (1, 2)
    ]
    np.testing.assert_allclose(both[0] / both[1], 2.0, rtol=1e-3)


def test_too_few_scales_are_refused():
    with pytest.raises(ValueError, match="is 4, but only 1"):
        reprojected_distance_loss((jnp.ones(SHAPE),), jnp.ones(SHAPE), K, motions(SIDEWAYS))
