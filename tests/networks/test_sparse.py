"""Laws of the sparse layers; the first two against loops over nothing but the occupied sites."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from packnet_jax.networks.sparse import (
    SparseBlock,
    SparseBranch,
    SparseEncoder,
    SparseMap,
    sparse_conv,
    sparse_max_pool,
    sparse_norm_relu,
    sparsify_depth,
)

WIDTHS = (4, 4, 8, 8, 8)


def random_sites(*shape, share=0.2, seed=0):
    """A map with normally distributed features at random sites."""
    rng = np.random.default_rng(seed)
    occupied = rng.random((*shape[:-1], 1)) < share
    values = np.where(occupied, rng.normal(size=shape), 0).astype(np.float32)
    return SparseMap(jnp.asarray(values), jnp.asarray(occupied))


def random_depth(*shape, share=0.05, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < share, rng.uniform(2, 60, shape), 0).astype(np.float32)


def features_by_site(x):
    """{(sample, row, column): features} of the occupied sites."""
    sites = np.argwhere(np.asarray(x.occupied)[..., 0])
    return {tuple(map(int, site)): np.asarray(x.values)[tuple(site)] for site in sites}


def neighbours(site, radius):
    sample, row, column = site
    offsets = range(-radius, radius + 1)
    return [
        ((i + radius, j + radius), (sample, row + i, column + j))
        for i, j in itertools.product(offsets, offsets)
    ]


class Layer(nn.Module):
    """One of the functions that make a layer, as a network of its own."""

    function: object

    @nn.compact
    def __call__(self, x, **options):
        return self.function(x, **options)


def assert_zero_elsewhere(x):
    np.testing.assert_array_equal(np.where(x.occupied, 0, x.values), 0)


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_a_convolution_sums_over_the_occupied_sites_around_each(kernel_size):
    x = random_sites(2, 7, 9, 3)
    net = Layer(lambda x: sparse_conv(x, 4, kernel_size, name="conv"))
    variables = net.init(jax.random.key(0), x)
    assert set(variables["params"]["conv"]) == {"kernel"}
    kernel = np.asarray(variables["params"]["conv"]["kernel"])
    y = net.apply(variables, x)
    np.testing.assert_array_equal(y.occupied, x.occupied)
    assert_zero_elsewhere(y)
    inputs, outputs = features_by_site(x), features_by_site(y)
    for site, found in outputs.items():
        around = neighbours(site, kernel_size // 2)
        expected = sum(inputs[there] @ kernel[tap] for tap, there in around if there in inputs)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_pooling_keeps_a_site_where_any_of_four_is_and_takes_the_largest_occupied_of_nine():
    x = random_sites(2, 8, 12, 3)
    y = sparse_max_pool(x)
    assert_zero_elsewhere(y)
    inputs, outputs = features_by_site(x), features_by_site(y)
    assert set(outputs) == {(b, row // 2, column // 2) for b, row, column in inputs}
    for (b, row, column), found in outputs.items():
        around = [there for _, there in neighbours((b, 2 * row, 2 * column), 1)]
        expected = np.max([inputs[there] for there in around if there in inputs], axis=0)
        np.testing.assert_array_equal(found, expected)
    assert min(f.max() for f in outputs.values()) < 0  # zeros elsewhere do not win


def test_depth_of_zero_is_no_site_whatever_else_stands_for_nothing():
    depth = jnp.array([5.0, 0, -1, jnp.nan]).reshape(1, 2, 2, 1)
    x = sparsify_depth(depth)
    np.testing.assert_array_equal(x.occupied.ravel(), [True, False, False, False])
    np.testing.assert_array_equal(x.values.ravel(), [5, 0, 0, 0])


def test_normalisation_runs_over_the_occupied_sites():
    x = random_sites(2, 6, 8, 3)
    net = Layer(lambda x, train: sparse_norm_relu(x, train=train, name="bn"))
    variables = net.init(jax.random.key(0), x, train=True)
    y, updates = net.apply(variables, x, train=True, mutable=["batch_stats"])
    assert_zero_elsewhere(y)
    features = np.stack([*features_by_site(x).values()]).astype(np.float64)
    mean, var = features.mean(0), features.var(0)
    expected = np.maximum((features - mean) / np.sqrt(var + 1e-5), 0)
    np.testing.assert_allclose([*features_by_site(y).values()], expected, atol=1e-5)
    stats = updates["batch_stats"]["bn"]
    np.testing.assert_allclose(stats["mean"], 0.1 * mean, atol=1e-6)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * features.var(0, ddof=1), rtol=1e-5)


@pytest.mark.slow
def test_a_block_pools_then_adds_its_branches_then_normalises():
    x = random_sites(1, 8, 8, 3, share=0.4)
    block = SparseBlock(4, 3)
    variables = jax.jit(lambda key: block.init(key, x, train=False))(jax.random.key(0))
    assert set(variables["params"]) == {"branch1", "branch2", "branch3", "bn"}
    pooled = sparse_max_pool(x)
    total = 0
    for n in (1, 2, 3):
        own = {c: v.get(f"branch{n}", {}) for c, v in variables.items()}
        total += SparseBranch(4, 3, n).apply(own, pooled, train=False).values
    y = jax.jit(lambda: block.apply(variables, x, train=False))()
    expected = np.maximum(total, 0) / np.sqrt(1 + 1e-5)  # fresh running statistics
    np.testing.assert_allclose(y.values, np.where(pooled.occupied, expected, 0), atol=1e-5)
    np.testing.assert_array_equal(y.occupied, pooled.occupied)


@pytest.fixture(scope="module")
def encoder():
    """Applied to depth: features, and running statistics after a pass in training mode."""
    net = SparseEncoder(WIDTHS)
    shape = (2, 64, 96, 1)
    start = jax.jit(lambda key: net.init(key, sparsify_depth(jnp.zeros(shape)), train=False))
    variables = start(jax.random.key(0, impl="rbg"))  # compiles in a third of the time

    @jax.jit
    def encode(depth):
        def run(params):
            features, updates = net.apply(
                {**variables, "params": params},
                sparsify_depth(depth),
                train=True,
                mutable=["batch_stats"],
            )
            return sum(jnp.sum(x.values**2) for x in features), (features, updates["batch_stats"])

        gradients, found = jax.grad(run, has_aux=True)(variables["params"])
        return *found, gradients

    return encode, variables["batch_stats"]


@pytest.fixture(scope="module")
def depth():
    """A patch of sites in the middle of the first sample, and one in the second."""
    depth = np.zeros((2, 64, 96, 1), np.float32)
    depth[0, 20:30, 30:50] = random_depth(10, 20, 1, share=0.3)
    depth[1, 24:28, 40:44] = random_depth(4, 4, 1, share=0.5, seed=1)
    return depth


@pytest.mark.slow
def test_moved_sites_give_moved_features(encoder, depth):
    """By 32 pixels, the stride of the coarsest features; statistics do not see where sites are."""
    encode, _ = encoder
    here, stats, _ = encode(depth)
    there, moved_stats, _ = encode(np.roll(depth, 32, axis=2))
    for level, (a, b) in enumerate(zip(here, there, strict=True), start=1):
        assert a.occupied.any()
        np.testing.assert_array_equal(np.roll(a.occupied, 32 >> level, axis=2), b.occupied)
        np.testing.assert_allclose(np.roll(a.values, 32 >> level, axis=2), b.values, atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), stats, moved_stats)


def test_what_is_not_occupied_reaches_nothing(encoder, depth):
    encode, _ = encoder
    rubbish = np.where(depth > 0, depth, np.random.default_rng(0).choice([-3, -np.inf, np.nan]))
    jax.tree.map(np.testing.assert_array_equal, encode(depth), encode(rubbish))


def test_an_empty_sample_leaves_the_others_alone(encoder, depth):
    """Also in training, where its pixels are no part of the statistics."""
    encode, _ = encoder
    alone, twice = depth.copy(), np.repeat(depth[:1], 2, axis=0)
    alone[1] = 0
    (beside_nothing, *_), (beside_itself, *_) = encode(alone), encode(twice)
    for a, b in zip(beside_nothing, beside_itself, strict=True):
        np.testing.assert_allclose(a.values[0], b.values[0], atol=1e-4)
        assert not a.occupied[1].any()
        np.testing.assert_array_equal(a.values[1], 0)


def test_a_batch_without_any_site_teaches_nothing(encoder, depth):
    encode, stats_before = encoder
    features, stats, gradients = encode(np.zeros_like(depth))
    for x in features:
        np.testing.assert_array_equal(x.values, 0)
    jax.tree.map(np.testing.assert_array_equal, stats, stats_before)
    for gradient in jax.tree.leaves(gradients):
        np.testing.assert_array_equal(gradient, 0)


def test_the_sites_are_no_part_of_the_program(encoder):
    encode, _ = encoder
    for seed, share in enumerate((0.001, 0.05, 1.0)):
        _, _, gradients = encode(random_depth(2, 64, 96, 1, share=share, seed=seed))
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))
    assert encode._cache_size() == 1


def test_a_single_site_is_finite(encoder):
    encode, _ = encoder
    depth = np.zeros((2, 64, 96, 1), np.float32)
    depth[1, 40, 50] = 7
    features, *_ = found = encode(depth)
    assert [int(x.occupied.sum()) for x in features] == [1] * 5
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
