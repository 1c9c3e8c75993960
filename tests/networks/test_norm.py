import jax
import jax.numpy as jnp
import numpy as np
import pytest

from packnet_jax import sharding
from packnet_jax.networks.norm import BatchNorm


@pytest.fixture
def x():
    return 3 + 2 * jax.random.normal(jax.random.key(0), (2, 3, 4, 5))


def test_training_uses_the_batch_and_moves_the_running_statistics(x):
    net = BatchNorm()
    variables = net.init(jax.random.key(1), x, train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], np.zeros(5))
    y, updates = net.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y.mean((0, 1, 2)), np.zeros(5), atol=1e-6)
    np.testing.assert_allclose(y.var((0, 1, 2)), np.ones(5), rtol=1e-4)
    stats = updates["batch_stats"]
    pixels = np.asarray(x, np.float64).reshape(-1, 5)
    np.testing.assert_allclose(stats["mean"], 0.1 * pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * pixels.var(0, ddof=1), rtol=1e-5)


def test_evaluation_uses_the_running_statistics(x):
    variables = {
        "params": {"scale": jnp.full(5, 2.0), "bias": jnp.full(5, 1.0)},
        "batch_stats": {"mean": jnp.full(5, 3.0), "var": jnp.full(5, 4.0)},
    }
    y = BatchNorm().apply(variables, x, train=False)
    np.testing.assert_allclose(y, 2 * (x - 3) / np.sqrt(4 + 1e-5) + 1, rtol=1e-5, atol=1e-5)


def test_a_single_pixel_leaves_finite_statistics():
    x = jnp.ones((1, 1, 1, 5))
    variables = BatchNorm().init(jax.random.key(0), x, train=True)
    _, updates = BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
    assert np.all(np.isfinite(updates["batch_stats"]["var"]))


def test_selected_pixels_are_all_that_counts(x):
    """Their statistics, though every pixel is normalised with them."""
    where = jax.random.bernoulli(jax.random.key(2), 0.4, (2, 3, 4, 1))
    net = BatchNorm()
    variables = net.init(jax.random.key(1), x, train=True, where=where)
    y, updates = net.apply(variables, x, train=True, where=where, mutable=["batch_stats"])
    pixels = np.asarray(x, np.float64)[np.broadcast_to(where, (2, 3, 4, 1))[..., 0]]
    assert 1 < len(pixels) < 24
    mean, var = pixels.mean(0), pixels.var(0)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), atol=1e-5)
    stats = updates["batch_stats"]
    np.testing.assert_allclose(stats["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * pixels.var(0, ddof=1), rtol=1e-5)


def test_selecting_every_pixel_is_selecting_none_in_particular(x):
    net = BatchNorm()
    variables = net.init(jax.random.key(1), x, train=True)
    everywhere = jnp.ones((2, 3, 4, 1), bool)
    plain, selected = (
        net.apply(variables, x, train=True, where=where, mutable=["batch_stats"])
        for where in (None, everywhere)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), plain, selected)


def test_without_a_selected_pixel_the_running_statistics_stay_and_nothing_is_infinite(x):
    net = BatchNorm()
    nowhere = jnp.zeros((2, 3, 4, 1), bool)
    variables = net.init(jax.random.key(1), x, train=True)

    def total(x):
        y, updates = net.apply(variables, x, train=True, where=nowhere, mutable=["batch_stats"])
        return jnp.sum(jnp.where(nowhere, y, 0) ** 2), updates["batch_stats"]

    for given in (x, jnp.zeros_like(x)):
        gradient, stats = jax.grad(total, has_aux=True)(given)
        np.testing.assert_array_equal(gradient, 0)
        jax.tree.map(np.testing.assert_array_equal, stats, variables["batch_stats"])


def test_selected_pixels_of_all_devices_count_together():
    """Also where one device has none."""
    x = jax.random.normal(jax.random.key(0), (4, 2, 3, 5))
    where = jnp.arange(24).reshape(4, 2, 3, 1) % 5 > 2
    where = where.at[1].set(False)
    net = BatchNorm()
    variables = net.init(jax.random.key(1), x, train=True)

    @jax.jit
    def apply(x, where):
        return net.apply(variables, x, train=True, where=where, mutable=["batch_stats"])

    split = sharding.batch_sharding(sharding.make_mesh(4))
    spread = apply(jax.device_put(x, split), jax.device_put(where, split))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), spread, apply(x, where))


GROUPS = 4


def in_groups(variables, x, where=None, groups=GROUPS):
    return BatchNorm(groups=groups).apply(
        variables, x, train=True, where=where, mutable=["batch_stats"]
    )


def one_by_one(variables, x, where=None):
    """As many applications as groups, and the mean of what their running statistics became."""
    parts = [None] * GROUPS if where is None else jnp.split(where, GROUPS)
    found = [
        in_groups(variables, part, selected, groups=1)
        for part, selected in zip(jnp.split(x, GROUPS), parts, strict=True)
    ]
    stats = jax.tree.map(lambda *s: sum(s) / GROUPS, *(updates for _, updates in found))
    return jnp.concatenate([y for y, _ in found]), stats


@pytest.fixture
def eight():
    """Samples of different brightness, the pixels that count, and variables."""
    x = jax.random.normal(jax.random.key(0), (8, 3, 4, 5), jnp.float32) + jnp.arange(8.0).reshape(
        8, 1, 1, 1
    )
    where = jax.random.bernoulli(jax.random.key(2), 0.4, (8, 3, 4, 1))
    return x, where, BatchNorm().init(jax.random.key(1), x, train=True)


@pytest.mark.slow
@pytest.mark.parametrize("is_selective", [False, True])
def test_groups_are_as_many_batches_of_their_own(eight, is_selective):
    x, where, variables = eight
    where = where if is_selective else None

    def gradients(apply):
        def total(params, x):
            return jnp.sum(jnp.sin(apply({**variables, "params": params}, x, where)[0]))

        return jax.grad(total, argnums=(0, 1))(variables["params"], x)

    with jax.enable_x64(True):
        x, variables = jax.tree.map(lambda a: a.astype(jnp.float64), (x, variables))
        for found, expected in (
            (in_groups(variables, x, where), one_by_one(variables, x, where)),
            (gradients(in_groups), gradients(one_by_one)),
        ):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
                found,
                expected,
            )
        whole = in_groups(variables, x, where, groups=1)
        assert np.abs(whole[0] - in_groups(variables, x, where)[0]).max() > 0.1


def test_groups_without_a_selected_pixel_do_not_move_the_running_statistics(eight):
    x, where, variables = eight
    where = where.at[:2].set(False)
    y, updates = in_groups(variables, x, where)
    assert np.isfinite(y).all()
    others = [
        in_groups(variables, part, selected, groups=1)[1]
        for part, selected in zip(jnp.split(x, 4)[1:], jnp.split(where, 4)[1:], strict=True)
    ]
    expected = jax.tree.map(lambda *s: sum(s) / 3, *others)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updates, expected)
    _, updates = in_groups(variables, x, jnp.zeros_like(where))
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], variables["batch_stats"])


@pytest.mark.parametrize("num_devices", [1, 2, 4, 8])
def test_groups_are_the_same_on_any_number_of_devices(eight, num_devices):
    split = sharding.batch_sharding(sharding.make_mesh(num_devices))
    x, where, variables = eight
    apply = jax.jit(lambda x, where: in_groups(variables, x, where))
    spread = apply(jax.device_put(x, split), jax.device_put(where, split))
    expected = in_groups(variables, x, where)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), spread, expected)


@pytest.mark.parametrize(("groups", "num_devices", "sends"), [(1, 4, 1), (4, 4, 0), (8, 4, 0)])
def test_devices_with_groups_of_their_own_send_nothing(eight, groups, num_devices, sends):
    split = sharding.batch_sharding(sharding.make_mesh(num_devices))
    x, _, variables = eight

    def normalise(x):
        return in_groups(variables, x, groups=groups)[0]

    def learn(x):
        return jax.grad(lambda x: jnp.sum(normalise(x) ** 3))(x)

    for function in (normalise, learn):
        compiled = jax.jit(function, in_shardings=split, out_shardings=split).lower(x).compile()
        exchanges = ("all-reduce(", "all-gather(", "collective-permute(", "all-to-all(")
        assert any(name in compiled.as_text() for name in exchanges) == bool(sends)
