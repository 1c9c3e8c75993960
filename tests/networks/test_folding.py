"""Folded networks answer as before."""

import jax
import jax.numpy as jnp
import numpy as np
import tiny

from packnet_jax.networks import init_depth_net, make_depth_net
from packnet_jax.networks.folding import fold
from packnet_jax.sfm import fold_for_evaluation, infer_inv_depth


def test_a_network_that_has_nothing_to_fold_stays_as_it_is():
    network = make_depth_net("DepthResNet", "18")
    own = jax.eval_shape(lambda: init_depth_net(network, jax.random.key(0), tiny.SHAPE))
    assert fold(network, own) == own


def test_folding_for_evaluation_keeps_depth_and_drops_the_pose_network():
    network = tiny.TinyDepthNet()
    own = init_depth_net(network, jax.random.key(0), tiny.SHAPE)
    variables = {
        name: {"depth_net": collection, "pose_net": {"bias": jnp.zeros(6)}}
        for name, collection in own.items()
    }
    its_own = fold_for_evaluation(network, variables)
    assert all(list(collection) == ["depth_net"] for collection in its_own.values())
    rgb = tiny.random_batch(2).rgb
    np.testing.assert_allclose(
        infer_inv_depth(network, its_own, rgb), infer_inv_depth(network, variables, rgb), rtol=1e-6
    )
