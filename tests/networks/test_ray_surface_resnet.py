import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.seeded import load_manifest

from packnet_jax.networks import make_depth_net
from packnet_jax.networks.depth_resnet import DepthResNet
from packnet_jax.networks.ray_surface_resnet import RaySurfaceResNet


@pytest.mark.parametrize("depth", ["18", "34", "50"])
def test_shapes_and_parameter_count(depth):
    net = make_depth_net("RaySurfaceResNet", depth)
    rgb = jnp.zeros((2, 32, 96, 3))
    output, variables = jax.eval_shape(
        lambda key: net.init_with_output(key, rgb, train=False, method="with_ray_surface"),
        jax.random.key(0),
    )
    expected = [(2, 32, 96, 1), (2, 16, 48, 1), (2, 8, 24, 1), (2, 4, 12, 1)]
    assert [x.shape for x in output.inv_depth_pyramid] == expected
    assert output.ray_surface.shape == (2, 32, 96, 3)
    plain = jax.eval_shape(functools.partial(net.init, train=False), jax.random.key(0), rgb)
    assert plain == variables  # one call makes the parameters of both decoders
    if depth == "18":
        count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
        unused_classifier = 513_000
        assert count == load_manifest("RaySurfaceResNet_18")["num_parameters"] - unused_classifier


@pytest.mark.slow
def test_its_inverse_depth_is_depth_resnet_s_and_its_rays_lie_within_one():
    rgb = jax.random.uniform(jax.random.key(0), (1, 32, 64, 3))
    net = RaySurfaceResNet(initial_inv_depth=0.5)
    key = jax.random.key(1, impl="rbg")  # compiles in a third of the time
    variables = jax.jit(functools.partial(net.init, train=False))(key, rgb)
    head = variables["params"]["ray_surface_decoder"]["disp_0"]["conv"]
    head["bias"] = jnp.array([-5.0, 0.0, 5.0])

    @jax.jit
    def evaluate(variables):
        params = {n: p for n, p in variables["params"].items() if n != "ray_surface_decoder"}
        plain = DepthResNet(initial_inv_depth=0.5).apply(
            {**variables, "params": params}, rgb, train=False
        )
        output = net.apply(variables, rgb, train=False, method="with_ray_surface")
        return plain, output, net.apply(variables, rgb, train=False)

    plain, output, pyramid = evaluate(variables)
    jax.tree.map(np.testing.assert_array_equal, output.inv_depth_pyramid, plain)
    jax.tree.map(np.testing.assert_array_equal, pyramid, plain)
    low, middle, high = np.moveaxis(np.asarray(output.ray_surface), -1, 0)
    assert np.all((low > -1) & (low < -0.9) & (high < 1) & (high > 0.9))
    assert np.abs(middle).max() < 1
