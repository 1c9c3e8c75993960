"""A picture and its mirror image: in one call or two, on any number of devices."""

import jax
import numpy as np
import pytest
import tiny
from known_depth import as_float, random_depth, random_picture, with_random_weights

from packnet_jax import sharding
from packnet_jax.depth_maps import fuse_flipped
from packnet_jax.depth_pair import predict_pair
from packnet_jax.sfm import infer_inv_depth


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("num_devices", [1, 4])
def test_both_in_one_call_are_both_in_two(norm, num_devices):
    network, variables = with_random_weights(tiny.TinyDepthNet(norm))
    mesh = sharding.make_mesh(num_devices)
    rgb = as_float(*(random_picture(seed) for seed in range(8)))
    infer = jax.jit(lambda rgb: infer_inv_depth(network, variables, rgb))
    mirrored = infer(rgb[:, :, ::-1])[:, :, ::-1]
    own = jax.device_put(variables, sharding.replicated(mesh))
    placed = sharding.place_batch(rgb, mesh)
    for at_once in (True, False):
        pair = predict_pair(network, own, placed, at_once=at_once)
        np.testing.assert_allclose(pair.raw, infer(rgb), rtol=1e-6)
        np.testing.assert_allclose(pair.fused, fuse_flipped(infer(rgb), mirrored), rtol=1e-6)


def test_no_picture_leaves_its_device():
    network, variables = with_random_weights(tiny.TinyDepthNet())
    mesh = sharding.make_mesh(4)
    own = jax.device_put(variables, sharding.replicated(mesh))
    rgb = sharding.place_batch(np.zeros((8, *tiny.SHAPE, 3), np.float32), mesh)
    compiled = predict_pair.lower(network, own, rgb, at_once=True).compile()
    text = compiled.as_text()
    for word in ("all-gather", "all-to-all", "collective-permute", "all-reduce"):
        assert word not in text
    assert compiled.output_shardings.fused.is_equivalent_to(sharding.batch_sharding(mesh), 4)


@pytest.mark.parametrize("at_once", [True, False])
def test_sparse_depth_is_mirrored_with_its_picture(at_once):
    network, variables = with_random_weights(tiny.TinyCompletionNet())
    rgb, depth = as_float(random_picture(), random_picture(1)), random_depth(2)
    infer = jax.jit(lambda *inputs: infer_inv_depth(network, variables, *inputs))
    mirrored = infer(rgb[:, :, ::-1], depth[:, :, ::-1])[:, :, ::-1]
    expected = fuse_flipped(infer(rgb, depth), mirrored)
    pair = predict_pair(network, variables, rgb, depth, at_once=at_once)
    np.testing.assert_allclose(pair.fused, expected, rtol=1e-6)
    assert np.abs(pair.fused - predict_pair(network, variables, rgb).fused).max() > 1e-3
