import jax
import jax.numpy as jnp
import numpy as np

from packnet_jax.losses.safe import norm, root


def test_root_and_its_gradient_are_finite_everywhere():
    values = jnp.array([-1.0, 0.0, 1e-30, 4.0])
    np.testing.assert_allclose(root(values), [0, 0, 1e-15, 2], rtol=1e-6)
    gradient = jax.vmap(jax.grad(root))(values)
    np.testing.assert_allclose(gradient, [0, 0, 0.5e15, 0.25], rtol=1e-6)


def test_norm_is_euclid_s_and_that_of_nothing_has_no_gradient():
    vectors = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(norm(vectors), [5, 0])
    gradient = jax.grad(lambda v: jnp.sum(norm(v)))(vectors)
    np.testing.assert_allclose(gradient, [[0.6, 0.8], [0, 0]])
