"""The sparse encoder of PackNetSAN against the original's, which ran on MinkowskiEngine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from golden.networks import channels_last, golden_inputs, load_case
from golden.seeded import load_golden, seeded_state_dict

from packnet_jax.convert.rules import RULES, sparse_kernel, target_of
from packnet_jax.convert.state_dict import from_state_dict
from packnet_jax.networks.packnet_san import PackNetSAN
from packnet_jax.networks.sparse import (
    SparseEncoder,
    SparseMap,
    sparse_conv,
    sparse_max_pool,
    sparsify_depth,
)

GOLDEN_SET = "nets/PackNetSAN01_1A_sparse_encoder"
TOLERANCES = {"eval": 1e-4, "train": 5e-5}  # features up to 87, and up to 5


@pytest.fixture(scope="module")
def golden():
    return load_golden(f"{GOLDEN_SET}.npz")


@pytest.fixture(scope="module")
def depth():
    return sparsify_depth(jnp.asarray(golden_inputs().input_depth))


@pytest.fixture(scope="module")
def encoder():
    """The encoder by itself, and its seeded variables."""
    net = SparseEncoder(PackNetSAN().widths)
    shapes = jax.eval_shape(
        lambda: net.init(jax.random.key(0), sparsify_depth(jnp.ones((1, 64, 96, 1))), train=False)
    )
    template = {name: {"sparse_encoder": collection} for name, collection in shapes.items()}
    state_dict = seeded_state_dict("PackNetSAN01_1A", prefix="mconvs.")
    filled = from_state_dict(state_dict, RULES["PackNetSAN01"], template)
    return net, {name: collection["sparse_encoder"] for name, collection in filled.items()}


@pytest.fixture(scope="module", params=["eval", "train"])
def encoded(request, encoder, depth):
    """Mode, features, and running statistics after it."""
    net, variables = encoder
    train = request.param == "train"
    apply = jax.jit(lambda v: net.apply(v, depth, train=train, mutable=["batch_stats"]))
    return request.param, *apply(variables)


@pytest.mark.slow
def test_features_and_sites(parity, golden, encoded):
    mode, features, _ = encoded
    for level, found in enumerate(features):
        expected = channels_last(golden[f"{mode}.level{level}"])
        channels = slice(None, None, 4) if level == 0 else slice(None)  # which of them are kept
        name, tolerance = f"{mode}.level{level}", TOLERANCES[mode]
        parity.compare(GOLDEN_SET, name, found.values[..., channels], expected, tolerance=tolerance)
        sites = channels_last(golden[f"mask{level}"])
        parity.compare(GOLDEN_SET, f"mask{level}", found.occupied, sites, tolerance=0)


def test_running_statistics(parity, golden, encoder, encoded):
    mode, _, updates = encoded
    before, after = (
        traverse_util.flatten_dict(stats["batch_stats"], sep="/") for stats in (encoder[1], updates)
    )
    if mode == "eval":
        for path, value in before.items():
            np.testing.assert_array_equal(after[path], value)
        return
    recorded = [name for name in golden if name.startswith("train_bn.")]
    assert len(recorded) == 2 * 4 * 2
    for name in recorded:
        path, _ = target_of(name.removeprefix("train_bn."), RULES["PackNetSAN01"])
        stats = after[path.removeprefix("batch_stats/sparse_encoder/")]
        scale = 1 + np.abs(golden[name])
        parity.compare(GOLDEN_SET, name, stats, golden[name], tolerance=1e-5, scale=scale)


def tiny_map(array):
    """Zeros are no sites; negative values are."""
    values = jnp.asarray(channels_last(array))
    assert 0 < jnp.mean(values != 0) < 1
    return SparseMap(values, values != 0)


class SingleConv(nn.Module):
    features: int
    kernel_size: int

    @nn.compact
    def __call__(self, x):
        return sparse_conv(x, self.features, self.kernel_size, name="conv")


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_one_convolution(parity, golden, kernel_size):
    kernel = sparse_kernel(golden[f"tiny.conv{kernel_size}.kernel"])
    x = tiny_map(golden["tiny.in"])
    conv = SingleConv(kernel.shape[-1], kernel_size)
    found = conv.apply({"params": {"conv": {"kernel": kernel}}}, x)
    expected = channels_last(golden[f"tiny.conv{kernel_size}.out"])
    parity.compare(
        GOLDEN_SET, f"tiny.conv{kernel_size}.out", found.values, expected, tolerance=1e-5
    )


def test_one_pooling(parity, golden):
    pooled = sparse_max_pool(tiny_map(golden["tiny.pool.in"]))
    for name, found in (("out", pooled.values), ("mask", pooled.occupied)):
        expected = channels_last(golden[f"tiny.pool.{name}"])
        parity.compare(GOLDEN_SET, f"tiny.pool.{name}", found, expected, tolerance=0)


@pytest.mark.soak
def test_one_call_with_depth_and_with_an_empty_sample(parity, golden):
    """Evaluation's own way in; the method that training uses is compared with every network."""
    case = load_case("PackNetSAN01_1A")
    rgb, depth = case.inputs
    apply = jax.jit(lambda depth: case.net.apply(case.variables, rgb, depth, train=False)[0])
    expected = channels_last(case.golden["eval.rgbd.inv_depth"])
    parity.compare(case.golden_set, "eval.rgbd.inv_depth", apply(depth), expected, tolerance=2e-5)
    depth = depth.copy()
    depth[1] = 0
    flat, name = np.moveaxis(np.asarray(apply(depth)), -1, 1).ravel(), "second_empty"
    expected = golden[f"{name}.eval_inv_depth.sample"]
    samples = flat[np.arange(expected.size) * flat.size // expected.size]
    parity.compare(GOLDEN_SET, f"{name}.eval_inv_depth.sample", samples, expected, tolerance=2e-5)
