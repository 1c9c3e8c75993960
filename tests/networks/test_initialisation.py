"""Fresh weights follow the original's distributions, with fans counted as torch counts them.

Every kernel of a network goes through a Kolmogorov-Smirnov test, which sees a wrong bound, a wrong
fan and a truncated tail alike.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import traverse_util

from packnet_jax.networks.depth_resnet import DepthResNet
from packnet_jax.networks.packnet import PackNet
from packnet_jax.networks.packnet_san import PackNetSAN
from packnet_jax.networks.pose_net import PoseNet
from packnet_jax.networks.pose_resnet import PoseResNet
from packnet_jax.networks.ray_surface_resnet import RaySurfaceResNet

pytestmark = pytest.mark.slow

LEAST_P_VALUE = 1e-5  # about 60 kernels a network, fixed keys
MAX_SAMPLES = 20_000

RGB = jnp.zeros((1, 32, 32, 3))
CONTEXT = jnp.zeros((1, 2, 32, 32, 3))
SMALL_PACKNET = PackNet(widths=(16, 16, 32, 64, 64), num_3d_features=4)
SMALL_SAN = PackNetSAN(widths=(16, 16, 32, 32, 32))


def fresh(net, *inputs):
    """Variables by path."""
    init = jax.jit(lambda key: net.init(key, *inputs, train=False))
    key = jax.random.key(7, impl="rbg")  # compiles in a third of the time
    flat = traverse_util.flatten_dict(init(key), sep="/")
    return {path: np.asarray(value) for path, value in flat.items()}


def fans(kernel):
    """Inputs and outputs of a torch convolution with weights [out, in, *window]."""
    *window, num_in, num_out = kernel.shape
    return num_in * np.prod(window), num_out * np.prod(window)


def p_value(values, distribution):
    step = max(1, values.size // MAX_SAMPLES)
    return scipy.stats.kstest(values.ravel()[::step], distribution.cdf, method="asymp").pvalue


def uniform(bound):
    return scipy.stats.uniform(-bound, 2 * bound)


def xavier_uniform(kernel):
    return uniform(np.sqrt(6 / sum(fans(kernel))))


def kaiming_normal_fan_out(kernel):
    return scipy.stats.norm(0, np.sqrt(2 / fans(kernel)[1]))


def torch_default(kernel):
    return uniform(1 / np.sqrt(fans(kernel)[0]))


def assert_norms_start_as_identity(variables):
    norms = [path for path in variables if path.endswith("/scale")]
    assert norms
    for path in norms:
        np.testing.assert_array_equal(variables[path], 1)
        np.testing.assert_array_equal(variables[path.removesuffix("scale") + "bias"], 0)


def kernels_of(variables):
    return {path: value for path, value in variables.items() if path.endswith("/kernel")}


@pytest.mark.parametrize(
    ("net", "inputs", "num_kernels"),
    [(SMALL_PACKNET, (RGB,), 51 + 10), (PoseNet(), (RGB, CONTEXT), 8)],
    ids=["PackNet", "PoseNet"],
)
def test_packnet_and_pose_net_are_xavier_uniform_with_zero_biases(net, inputs, num_kernels):
    variables = fresh(net, *inputs)
    kernels = kernels_of(variables)
    assert len(kernels) == num_kernels
    for path in kernels:
        if "conv3d" in path:  # Conv3d(1, 4, 3): one input channel, whatever the image has
            assert fans(kernels[path]) == (27, 108)
    for path, kernel in kernels.items():
        distribution = xavier_uniform(kernel)
        assert np.abs(kernel).max() <= distribution.support()[1] * (1 + 1e-6), path
        assert p_value(kernel, distribution) > LEAST_P_VALUE, path
        np.testing.assert_array_equal(variables[path.removesuffix("kernel") + "bias"], 0)
    assert_norms_start_as_identity(variables)


def test_sparse_convolutions_start_as_torch_s_do_and_fusion_adds_them_to_what_is_there():
    variables = fresh(SMALL_SAN, RGB)
    kernels = kernels_of(variables)
    sparse = {path: k for path, k in kernels.items() if path.startswith("params/sparse_encoder")}
    assert len(sparse) == 5 * 6
    for path, kernel in kernels.items():
        distribution = torch_default(kernel) if path in sparse else xavier_uniform(kernel)
        assert np.abs(kernel).max() <= distribution.support()[1] * (1 + 1e-6), path
        assert p_value(kernel, distribution) > LEAST_P_VALUE, path
        assert (path.removesuffix("kernel") + "bias" in variables) == (path not in sparse)
    np.testing.assert_array_equal(variables["params/fusion_scale"], np.ones(5))
    np.testing.assert_array_equal(variables["params/fusion_bias"], np.zeros(5))
    assert_norms_start_as_identity(variables)


@pytest.mark.parametrize(
    ("network", "depth", "inputs", "num_decoder_kernels"),
    [
        (DepthResNet, 18, (RGB,), 14),
        pytest.param(DepthResNet, 50, (RGB,), 14, marks=pytest.mark.soak),
        (PoseResNet, 18, (RGB, CONTEXT), 4),
        pytest.param(PoseResNet, 50, (RGB, CONTEXT), 4, marks=pytest.mark.soak),
        (RaySurfaceResNet, 18, (RGB,), 14 + 11),
    ],
)
def test_residual_encoders_are_kaiming_normal_and_decoders_as_torch_starts_them(
    network, depth, inputs, num_decoder_kernels
):
    variables = fresh(network(depth=depth), *inputs)
    kernels = kernels_of(variables)
    encoder = {path: k for path, k in kernels.items() if path.startswith("params/encoder")}
    decoder = {path: k for path, k in kernels.items() if path not in encoder}
    assert len(encoder) == {18: 20, 50: 53}[depth]
    assert len(decoder) == num_decoder_kernels
    for path, kernel in encoder.items():
        assert p_value(kernel, kaiming_normal_fan_out(kernel)) > LEAST_P_VALUE, path
        assert path.removesuffix("kernel") + "bias" not in variables
    for path, kernel in decoder.items():
        distribution = torch_default(kernel)
        bias = variables[path.removesuffix("kernel") + "bias"]
        for values in (kernel, bias):
            assert np.abs(values).max() <= distribution.support()[1] * (1 + 1e-6), path
            assert p_value(values, distribution) > LEAST_P_VALUE, path
    assert_norms_start_as_identity(variables)


def test_the_test_tells_distributions_apart():
    """Inputs counted for outputs, a bound 5 % off, and a truncated tail are all found."""
    rng = np.random.default_rng(0)
    kernel = np.zeros((3, 3, 64, 128))
    bound = xavier_uniform(kernel).support()[1]
    values = rng.uniform(-bound, bound, kernel.shape)
    assert p_value(values, xavier_uniform(kernel)) > LEAST_P_VALUE
    assert p_value(1.05 * values, xavier_uniform(kernel)) < LEAST_P_VALUE
    normal = rng.normal(0, np.sqrt(2 / fans(kernel)[0]), kernel.shape)
    assert p_value(normal, kaiming_normal_fan_out(kernel)) < LEAST_P_VALUE
    truncated = scipy.stats.truncnorm(-2, 2, scale=kaiming_normal_fan_out(kernel).std() / 0.8796)
    values = truncated.rvs(kernel.shape, random_state=rng)
    assert p_value(values, kaiming_normal_fan_out(kernel)) < LEAST_P_VALUE
