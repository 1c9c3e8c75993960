"""One step: the same on one device and on four, compiled once, safe against bad input."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from packnet_jax import sharding
from packnet_jax.config import LossConfig, OptimConfig
from packnet_jax.objectives.self_supervised import self_supervised
from packnet_jax.sfm import Networks, infer_inv_depth, predict
from packnet_jax.train.optim import make_learning_rates, make_optimizer
from packnet_jax.train.state import TrainState
from packnet_jax.train.step import make_train_step

pytestmark = pytest.mark.slow

LOSS = LossConfig(num_scales=2)
"""Two scales compile in half the time of four."""
GROUP_NETWORKS = Networks(tiny.TinyDepthNet("group"), tiny.TinyPoseNet())


def make_step(mesh, networks=tiny.NETWORKS, accumulate=1, flip_lr_prob=0.5, seed=3, objective=None):
    config = OptimConfig()
    optimizer = make_optimizer(config)
    step = make_train_step(
        networks,
        objective or self_supervised(dataclasses.replace(LOSS, flip_lr_prob=flip_lr_prob)),
        optimizer,
        make_learning_rates(config, steps_per_epoch=100),
        seed=seed,
        num_steps=100,
        mesh=mesh,
        accumulate=accumulate,
    )
    return step, optimizer


def start(optimizer, mesh, dtype=np.float32, networks=tiny.NETWORKS):
    variables = jax.jit(lambda key: networks.init(key, tiny.SHAPE, 2))(jax.random.key(0))
    variables = jax.tree.map(lambda a: np.asarray(a, dtype), variables)
    return jax.device_put(TrainState.create(variables, optimizer), sharding.replicated(mesh))


def run(num_devices, num_steps, dtype=np.float32):
    mesh = sharding.make_mesh(num_devices)
    step, optimizer = make_step(mesh)
    state = start(optimizer, mesh, dtype)
    batch = sharding.place_batch(tiny.random_batch(dtype=dtype), mesh)
    losses = []
    for _ in range(num_steps):
        state, output = step(state, batch)
        losses.append(float(output.scalars["loss"]))
    return jax.device_get(state), losses, step


def loss_and_gradients(num_devices):
    """Of networks that normalise per sample.

    Over a batch norm the sum over devices is rounded before everything that follows, and then the
    gradient jumps wherever rounding decides a minimum; the test in float64 is for those.
    """
    networks = GROUP_NETWORKS
    mesh = sharding.make_mesh(num_devices)
    state = start(make_optimizer(OptimConfig()), mesh, networks=networks)

    def objective(params, batch):
        variables = {**state.variables, "params": params}
        predictions = predict(networks, variables, batch, flip=True)
        return self_supervised(LOSS).measure(predictions, batch, 0.0).total

    batch = sharding.place_batch(tiny.random_batch(), mesh)
    return jax.device_get(jax.jit(jax.value_and_grad(objective))(state.variables["params"], batch))


def test_loss_and_gradients_agree_on_one_and_four_devices():
    one, four = loss_and_gradients(1), loss_and_gradients(4)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(four), strict=True):
        assert np.abs(a - b).max() <= 1e-5 * max(np.abs(a).max(), 1e-12)


def test_parameters_agree_after_ten_steps_in_float64():
    with jax.enable_x64(True):
        one, losses, _ = run(1, 10, np.float64)
        four, losses_on_four, _ = run(4, 10, np.float64)
    np.testing.assert_allclose(losses_on_four, losses, rtol=1e-9)
    assert losses[-1] < losses[0]
    for a, b in zip(jax.tree.leaves(one.variables), jax.tree.leaves(four.variables), strict=True):
        assert a.dtype == np.float64
        np.testing.assert_allclose(b, a, atol=1e-9, rtol=0)


def test_the_step_compiles_once():
    _, _, step = run(4, 3)
    assert step._cache_size() == 1


@pytest.fixture(scope="module")
def one_device():
    mesh = sharding.make_mesh(1)
    step, optimizer = make_step(mesh)
    return mesh, step, optimizer


def test_a_batch_with_nan_changes_nothing_but_the_counters(one_device):
    mesh, step, optimizer = one_device
    state = start(optimizer, mesh)
    before = jax.device_get(state)
    good = tiny.random_batch()
    bad = good._replace(rgb_original=np.full_like(good.rgb_original, np.nan))
    for expected in (1, 2):
        state, output = step(state, sharding.place_batch(bad, mesh))
        assert int(state.nonfinite_in_a_row) == int(state.nonfinite_steps) == expected
        assert int(output.scalars["nonfinite_in_a_row"]) == expected
    assert int(state.step) == 2
    for name in ("variables", "opt_state"):
        jax.tree.map(
            np.testing.assert_array_equal,
            jax.device_get(getattr(state, name)),
            getattr(before, name),
        )
    state, _ = step(state, sharding.place_batch(good, mesh))
    assert int(state.nonfinite_in_a_row) == 0
    assert int(state.nonfinite_steps) == 2
    changed = jax.tree.map(
        lambda a, b: bool(np.any(a != b)), jax.device_get(state).variables, before.variables
    )
    depth_net = changed["params"]["depth_net"]
    unread = [depth_net.pop(f"inv_depth_{scale}") for scale in range(LOSS.num_scales, 4)]
    assert all(jax.tree.leaves(depth_net)) and not any(jax.tree.leaves(unread))


def test_the_flipped_network_sees_the_mirror_image_and_answers_unmirrored():
    variables = tiny.NETWORKS.init(jax.random.key(1), tiny.SHAPE, 2)
    batch = jax.tree.map(jnp.asarray, tiny.random_batch())
    mirrored = batch._replace(rgb=batch.rgb[:, :, ::-1])

    def finest(batch, flip):
        return predict(tiny.NETWORKS, variables, batch, flip=flip).inv_depth_pyramid[0]

    np.testing.assert_allclose(finest(batch, True), finest(mirrored, False)[:, :, ::-1], rtol=1e-5)


@functools.cache
def one_step_in_float64(accumulate, num_devices, networks=GROUP_NETWORKS):
    """State and scalars after a step over eight samples, never flipped."""
    mesh = sharding.make_mesh(num_devices)
    step, optimizer = make_step(mesh, networks, accumulate, flip_lr_prob=0.0)
    state = start(optimizer, mesh, np.float64, networks)
    state, output = step(state, sharding.place_batch(tiny.random_batch(8, np.float64), mesh))
    return jax.device_get((state.opt_state, state.variables, output.scalars))


@pytest.mark.parametrize("num_devices", [1, 2])
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(num_devices):
    """Where samples do not see each other; Adam's moments are the gradient and its square."""
    with jax.enable_x64(True):
        whole, parts = one_step_in_float64(1, 1), one_step_in_float64(4, num_devices)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-14)


def test_batch_norm_sees_the_parts_one_after_the_other():
    """The running statistics are those of as many small steps with unchanged parameters."""
    with jax.enable_x64(True):
        _, variables, _ = one_step_in_float64(4, 1, tiny.NETWORKS)
        expected = start(make_optimizer(OptimConfig()), sharding.make_mesh(1), np.float64).variables
        batch = tiny.random_batch(8, np.float64)
        for part in range(4):
            samples = jax.tree.map(lambda a, k=part: jnp.asarray(a[k::4]), batch)
            stats = predict(tiny.NETWORKS, expected, samples, flip=False).batch_stats
            expected = {**expected, "batch_stats": stats}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-12),
        jax.device_get(expected["batch_stats"]),
        variables["batch_stats"],
    )


def test_batch_norm_of_parts_is_another_loss_than_of_the_whole():
    """What workers with batches of their own normalise by can be had; devices change nothing."""
    with jax.enable_x64(True):
        whole, parts = (one_step_in_float64(n, 1, tiny.NETWORKS)[2]["loss"] for n in (1, 4))
    assert abs(parts - whole) > 1e-7 * whole


@pytest.mark.parametrize("num_devices", [1, 4])
def test_groups_of_batch_norm_learn_what_parts_of_the_batch_do(num_devices):
    """Four workers' statistics in one pass, on one device or with a group on each of four."""
    networks = Networks(tiny.TinyDepthNet(batch_norm_groups=4), tiny.TinyPoseNet())
    with jax.enable_x64(True):
        batch = tiny.random_batch(8, np.float64)
        # Part k of an accumulated batch holds every fourth sample from k on, group k two in a row.
        grouped = jax.tree.map(lambda a: a.reshape(2, 4, *a.shape[1:]).swapaxes(0, 1), batch)
        grouped = jax.tree.map(lambda a: a.reshape(8, *a.shape[2:]), grouped)
        mesh = sharding.make_mesh(num_devices)
        step, optimizer = make_step(mesh, networks, flip_lr_prob=0.0)
        state = start(optimizer, mesh, np.float64, networks)
        state, output = step(state, sharding.place_batch(grouped, mesh))
        moments, _, scalars = one_step_in_float64(4, 1, tiny.NETWORKS)
    assert float(output.scalars["loss"]) == pytest.approx(float(scalars["loss"]), rel=1e-12)
    for a, b in zip(jax.tree.leaves(moments), jax.tree.leaves(state.opt_state), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-14)


DROPOUT_NETWORKS = Networks(tiny.TinyDepthNet("group", dropout=0.5), tiny.TinyPoseNet())


@functools.cache
def step_with_dropout(num_devices=1, seed=3, accumulate=1):
    """Of a batch: losses of three steps that change no parameter, so that only drops differ."""
    mesh = sharding.make_mesh(num_devices)
    step, optimizer = make_step(mesh, DROPOUT_NETWORKS, accumulate, flip_lr_prob=0.0, seed=seed)

    def losses(batch):
        state = start(optimizer, mesh, np.float64, DROPOUT_NETWORKS)
        variables = jax.device_get(state.variables)
        found = []
        for _ in range(3):
            state, output = step(state, sharding.place_batch(batch, mesh))
            found.append(float(output.scalars["loss"]))
            state = state.replace(variables=jax.device_put(variables, sharding.replicated(mesh)))
        assert step._cache_size() == 1
        return found

    return losses


def test_what_is_dropped_follows_from_seed_and_step():
    with jax.enable_x64(True):
        batch = tiny.random_batch(8, np.float64)
        first, again = step_with_dropout()(batch), step_with_dropout()(batch)
        other = step_with_dropout(seed=4)(batch)
    assert first == again
    assert len({*first, *other}) == 6


def test_what_is_dropped_is_the_same_on_one_device_and_on_four():
    with jax.enable_x64(True):
        batch = tiny.random_batch(8, np.float64)
        one, four = (step_with_dropout(n)(batch) for n in (1, 4))
    np.testing.assert_allclose(four, one, rtol=1e-9)


def test_each_part_of_a_batch_drops_what_a_step_of_its_own_would():
    with jax.enable_x64(True):
        batch = tiny.random_batch(8, np.float64)
        twice = jax.tree.map(lambda a: np.repeat(a, 2, axis=0), batch)
        first, second, _ = step_with_dropout()(batch)
        both, *_ = step_with_dropout(accumulate=2)(twice)
    np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-9)


def test_evaluation_drops_nothing():
    variables = DROPOUT_NETWORKS.init(jax.random.key(1), tiny.SHAPE, 2)
    rgb = jnp.asarray(tiny.random_batch().rgb)
    found, expected = (
        infer_inv_depth(networks.depth_net, variables, rgb)
        for networks in (DROPOUT_NETWORKS, GROUP_NETWORKS)
    )
    np.testing.assert_array_equal(found, expected)


def test_bfloat16_changes_what_the_networks_compute_in_and_nothing_else():
    """Parameters, statistics and loss stay float32, and the gradient keeps its direction."""
    mesh = sharding.make_mesh(1)
    results = {}
    for dtype in ("float32", "bfloat16"):
        networks = tiny.NETWORKS._replace(compute_dtype=dtype)
        step, optimizer = make_step(mesh, networks)
        state = start(optimizer, mesh)
        state, output = step(state, sharding.place_batch(tiny.random_batch(), mesh))
        results[dtype] = jax.device_get((state, output))
    (state, output), (narrow_state, narrow_output) = results.values()
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(narrow_state), strict=True):
        assert a.dtype == b.dtype
        assert np.isfinite(b).all()
    loss, narrow_loss = output.scalars["loss"], narrow_output.scalars["loss"]
    assert narrow_loss.dtype == np.float32
    assert loss != narrow_loss  # it did something
    np.testing.assert_allclose(narrow_loss, loss, rtol=0.02)
    moments = [
        np.concatenate([m.ravel() for m in jax.tree.leaves(optax.tree.get(s.opt_state, "mu"))])
        for s in (state, narrow_state)
    ]
    cosine = moments[0] @ moments[1] / np.prod([np.linalg.norm(m) for m in moments])
    assert cosine > 0.98
