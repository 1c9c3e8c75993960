import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load, nhwc

from packnet_jax.depth_maps import depth_to_inv_depth, fuse_flipped, inv_depth_to_depth
from packnet_jax.image import flip_lr


def test_golden_inversion():
    golden = load("depth_utils")
    depth, inv_depth = golden["in.depth"], golden["in.inv"]
    np.testing.assert_allclose(inv_depth_to_depth(inv_depth), golden["inv2depth"], rtol=1e-6)
    np.testing.assert_allclose(depth_to_inv_depth(depth), golden["depth2inv"], rtol=1e-6)


@pytest.mark.parametrize("method", ["mean", "max", "min"])
@pytest.mark.parametrize("width", [32, 33])
def test_golden_fusion(width, method):
    golden = load("depth_utils")
    inv_depth = nhwc(golden[f"in.pp{width}.inv"])
    from_mirrored = nhwc(golden[f"in.pp{width}.inv_flipped"])
    fused = fuse_flipped(jnp.asarray(inv_depth), flip_lr(jnp.asarray(from_mirrored)), method)
    np.testing.assert_allclose(fused, nhwc(golden[f"pp{width}.{method}"]), rtol=1e-6, atol=1e-6)


def test_inverting_twice_returns_and_no_depth_stays_no_depth():
    depth = jnp.array([0.0, -1.0, 1e-3, 0.5, 80.0])
    inv_depth = depth_to_inv_depth(depth)
    np.testing.assert_array_equal(inv_depth[:2], 0)
    np.testing.assert_allclose(inv_depth_to_depth(inv_depth[2:]), depth[2:], rtol=1e-6)


@pytest.mark.parametrize("invert", [inv_depth_to_depth, depth_to_inv_depth])
def test_gradients_are_finite_at_zero_and_below(invert):
    gradient = jax.grad(lambda values: invert(values).sum())(jnp.array([-1.0, 0.0, 1e-7, 1e-3]))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("method", ["mean", "max", "min"])
def test_fusing_equal_predictions_returns_them(method):
    inv_depth = jnp.asarray(np.random.default_rng(0).random((2, 3, 4, 40, 1), np.float32))
    np.testing.assert_allclose(fuse_flipped(inv_depth, inv_depth, method), inv_depth, rtol=1e-6)


def test_each_edge_trusts_the_prediction_that_saw_it_better():
    fused = fuse_flipped(jnp.full((1, 100, 1), 2.0), jnp.full((1, 100, 1), 4.0))[0, :, 0]
    np.testing.assert_allclose([fused[0], fused[50], fused[99]], [4.0, 3.0, 2.0])


def test_unknown_fusion_method():
    with pytest.raises(ValueError, match="'median'"):
        fuse_flipped(jnp.ones((1, 4, 1)), jnp.ones((1, 4, 1)), "median")  # type: ignore
