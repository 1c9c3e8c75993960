import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load

from packnet_jax.geometry.transforms import invert_transform, pose_vector_to_transform
from packnet_jax.losses.velocity import velocity_loss

GOLDEN = ("loss", "grad_pred_vec")


@pytest.mark.slow
def test_golden(parity):
    golden = load("velocity")
    measured = jnp.stack([golden["gt_mat0"], golden["gt_mat1"]], axis=1)

    def loss(vectors):
        return velocity_loss(pose_vector_to_transform(vectors), measured)

    value, gradient = jax.value_and_grad(loss)(golden["in.pred_vec"])
    compare = parity.compare
    compare("funcs/velocity", "loss", value[None], golden["loss"], tolerance=1e-6)
    compare("funcs/velocity", "grad_pred_vec", gradient, golden["grad_pred_vec"], tolerance=1e-6)
    made = pose_vector_to_transform(golden["in.gt_vec"])
    for n in range(2):
        name = f"gt_mat{n}"
        compare("funcs/velocity", name, made[:, n], golden[name], tolerance=1e-6)


def test_only_the_distance_counts():
    rng = np.random.default_rng(0)
    predicted = pose_vector_to_transform(jnp.asarray(rng.normal(size=(3, 2, 6))))
    np.testing.assert_allclose(velocity_loss(predicted, invert_transform(predicted)), 0, atol=1e-6)
    shifted = predicted.at[..., :3, 3].multiply(1.5)
    distance = np.linalg.norm(predicted[..., :3, 3], axis=-1).mean()
    np.testing.assert_allclose(velocity_loss(shifted, predicted), 0.5 * distance, rtol=1e-5)


@pytest.mark.slow
def test_the_gradient_of_no_motion_is_finite():
    still = jnp.zeros((1, 2, 6))
    moved = pose_vector_to_transform(jnp.ones((1, 2, 6)))
    gradient = jax.grad(lambda v: velocity_loss(pose_vector_to_transform(v), moved))(still)
    np.testing.assert_array_equal(gradient, 0)
