import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load, nchw, nhwc

from packnet_jax.depth_maps import depth_to_inv_depth, fuse_flipped, inv_depth_to_depth
from packnet_jax.image import flip_lr

GOLDEN_INVERSION = {
    "inv2depth": lambda golden: inv_depth_to_depth(golden["in.inv"]),
    "depth2inv": lambda golden: depth_to_inv_depth(golden["in.depth"]),
}
GOLDEN_FUSION = [f"pp{width}.{method}" for width in (32, 33) for method in ("mean", "max", "min")]


@pytest.mark.parametrize("entry", GOLDEN_INVERSION)
def test_golden_inversion(entry, parity):
    golden = load("depth_utils")
    expected = golden[entry]
    parity.compare(
        "funcs/depth_utils",
        entry,
        GOLDEN_INVERSION[entry](golden),
        expected,
        tolerance=1e-6,
        scale=np.abs(expected),
    )


@pytest.mark.parametrize("entry", GOLDEN_FUSION)
def test_golden_fusion(entry, parity):
    golden = load("depth_utils")
    size, method = entry.split(".")
    inv_depth, from_mirrored = (
        nhwc(golden[f"in.{size}.{name}"]) for name in ("inv", "inv_flipped")
    )
    fused = fuse_flipped(inv_depth, flip_lr(from_mirrored), method)
    parity.compare("funcs/depth_utils", entry, nchw(fused), golden[entry], tolerance=1e-6)


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
