"""Folded networks answer as before, without what they no longer need."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict

from packnet_jax.networks import init_depth_net, make_depth_net
from packnet_jax.networks.folding import fold
from packnet_jax.networks.packnet import PackNet
from packnet_jax.networks.packnet_san import PackNetSAN
from packnet_jax.sfm import fold_for_evaluation, infer_inv_depth

pytestmark = pytest.mark.slow

PACK_KERNELS = {
    f"pack{level}/{name}/{kind}"
    for level in range(1, 6)
    for name in ("conv3d", "conv2d/conv")
    for kind in ("kernel", "bias")
}


def packnet(kind=PackNet, **options):
    """A small one, with weights."""
    net = kind(widths=(16,) * 5, num_blocks=(1,) * 4, num_3d_features=4, **options)
    init = jax.jit(partial(net.init, train=False))
    return net, init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


def infer(net, variables, rgb):
    return jax.jit(partial(net.apply, train=False))(variables, rgb)


def paths(tree):
    return set(flatten_dict(tree, sep="/"))


@pytest.mark.parametrize(
    "kind, shape",
    [(PackNet, (32, 32)), pytest.param(PackNetSAN, (64, 96), marks=pytest.mark.soak)],
)
def test_folded_weights_give_the_same_depth(kind, shape):
    """At 32x32 the deepest packed images have one pixel, which nobody would compose for."""
    net, variables = packnet(kind)
    assert "composed" not in variables
    rgb = jax.random.uniform(jax.random.key(1), (1, *shape, 3))
    as_written = infer(net.clone(packing="reference"), variables, rgb)
    for given in (fold(net, variables), variables):
        for actual, expected in zip(infer(net, given, rgb), as_written, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=2e-5)


@pytest.mark.parametrize("kind", [PackNet, pytest.param(PackNetSAN, marks=pytest.mark.soak)])
def test_what_is_composed_replaces_the_parameters_it_is_made_of(kind):
    net, variables = packnet(kind)
    folded = fold(net, variables)
    assert paths(variables["params"]) - paths(folded["params"]) == PACK_KERNELS
    assert paths(folded["params"]) < paths(variables["params"])
    assert paths(variables["params"]) > PACK_KERNELS  # the given ones stay whole
    assert {path.split("/")[0] for path in paths(folded["composed"])} == {
        f"pack{level}" for level in range(1, 6)
    }


def test_a_folded_packnet_is_smaller():
    net = make_depth_net("PackNet01", "1A")
    variables = jax.eval_shape(lambda: init_depth_net(net, jax.random.key(0), tiny.SHAPE))
    before, after = (
        sum(leaf.size for leaf in jax.tree.leaves(tree))
        for tree in (variables, jax.eval_shape(partial(fold, net), variables))
    )
    assert after < 0.75 * before


def test_what_is_folded_stays_so():
    net, variables = packnet()
    folded = fold(net, variables)
    again = fold(net, folded)
    assert paths(again) == paths(folded)
    jax.tree.map(np.testing.assert_array_equal, again, folded)


def test_nothing_is_folded_where_nothing_is_fused():
    plain, variables = packnet(packing="reference")
    for net in (plain, make_depth_net("DepthResNet", "18")):
        assert fold(net, variables) == variables


def test_half_precision_rounds_what_is_folded():
    net, variables = packnet()
    rgb = jax.random.uniform(jax.random.key(1), (1, 32, 32, 3))
    given = {name: {"depth_net": own} for name, own in variables.items()}
    folded = fold_for_evaluation(net, given, compute_dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(folded)} == {jnp.dtype("bfloat16")}
    run = jax.jit(partial(infer_inv_depth, net, compute_dtype="bfloat16"))
    actual = run(folded, rgb)
    np.testing.assert_allclose(actual, infer(net, variables, rgb)[0], rtol=0.06)


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
