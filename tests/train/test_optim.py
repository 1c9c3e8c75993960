"""Learning rates and updates are torch's."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from packnet_jax.config import AdamConfig, OptimConfig
from packnet_jax.train.optim import (
    apply_updates,
    make_learning_rates,
    make_optimizer,
    schedule_factor,
)

GOLDEN_SET = "funcs/optim_schedule_checkpoint"
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / f"{GOLDEN_SET}.json").read_text())
SCHEDULES = [name for name in GOLDEN if "lr=" in name]

CONFIG = OptimConfig(depth=AdamConfig(2e-4), pose=AdamConfig(5e-4), step_size=2, gamma=0.5)


@pytest.mark.parametrize(("step", "factor"), [(0, 1), (19, 1), (20, 0.5), (39, 0.5), (40, 0.25)])
def test_rates_halve_every_step_size_epochs(step, factor):
    rates = make_learning_rates(CONFIG, steps_per_epoch=10)(jnp.asarray(step))
    np.testing.assert_allclose(rates["depth_net"], 2e-4 * factor, rtol=1e-6)
    np.testing.assert_allclose(rates["pose_net"], 5e-4 * factor, rtol=1e-6)


def test_the_rate_rises_over_the_warmup():
    config = OptimConfig(depth=AdamConfig(2e-4, warmup_steps=4))
    rates = make_learning_rates(config, steps_per_epoch=100)
    depth = [float(rates(jnp.asarray(step))["depth_net"]) for step in range(6)]
    np.testing.assert_allclose(depth, 2e-4 * np.array([0.25, 0.5, 0.75, 1, 1, 1]), rtol=1e-6)
    np.testing.assert_allclose(rates(jnp.asarray(0))["pose_net"], 2e-4, rtol=1e-6)


def test_each_network_has_its_own_rate_and_the_result_is_optax_adam():
    params = {"depth_net": {"w": jnp.array([1.0, -2.0])}, "pose_net": {"w": jnp.array([0.5])}}
    gradients = {"depth_net": {"w": jnp.array([0.3, -4.0])}, "pose_net": {"w": jnp.array([2.0])}}
    optimizer = make_optimizer(CONFIG)
    rates = make_learning_rates(CONFIG, 10)(jnp.asarray(0))
    state, ours = optimizer.init(params), params
    for _ in range(3):
        directions, state = optimizer.update(gradients, state)
        ours = apply_updates(ours, directions, rates)
    for name, lr in (("depth_net", 2e-4), ("pose_net", 5e-4)):
        adam = optax.adam(lr)
        theirs, adam_state = params[name], adam.init(params[name])
        for _ in range(3):
            updates, adam_state = adam.update(gradients[name], adam_state)
            theirs = optax.apply_updates(theirs, updates)
        np.testing.assert_allclose(ours[name]["w"], theirs["w"], rtol=1e-6)


def test_clipping_bounds_both_networks_together():
    clipped = make_optimizer(OptimConfig(clip_norm=1.0))
    gradients = {"depth_net": jnp.array([30.0]), "pose_net": jnp.array([40.0])}
    _, state = clipped.update(gradients, clipped.init(gradients))
    mu = optax.tree.get(state, "mu")
    np.testing.assert_allclose(jax.tree.leaves(mu), [[0.06], [0.08]], rtol=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_equal_torch(name, parity):
    """A name is "StepLR step_size=10 gamma=0.5 lr=0.0002"; the values are by epoch."""
    scheduler, *fields = name.split()
    given = {key: float(value) for key, value in (field.split("=") for field in fields)}
    whole = {key: int(given[key]) for key in ("step_size", "T_max") if key in given}
    config = OptimConfig(scheduler=scheduler, gamma=given.get("gamma", 0.5), **whole)
    factors = schedule_factor(config, jnp.arange(len(GOLDEN[name])))
    expected = np.array(GOLDEN[name]) / given["lr"]
    parity.compare(GOLDEN_SET, re.sub(" .*", "", name), factors, expected, tolerance=5e-7)


@pytest.mark.parametrize("case", sorted(GOLDEN["adam"]["after_each_step"]))
def test_ten_steps_of_adam_equal_torch(case, parity):
    """With and without weight decay, in the optimiser both networks share."""
    golden = GOLDEN["adam"]
    decay = float(case.split("=")[-1])
    group = AdamConfig(golden["lr"], weight_decay=decay)
    config = OptimConfig(depth=group, pose=AdamConfig(golden["lr"]))
    optimizer = make_optimizer(config)
    params = {name: {"x": jnp.asarray(golden["x"])} for name in ("depth_net", "pose_net")}
    state = optimizer.init(params)
    rates = make_learning_rates(config, 100)(jnp.asarray(0))
    for i, gradient in enumerate(golden["grads"]):
        gradients = {name: {"x": jnp.asarray(gradient)} for name in params}
        directions, state = optimizer.update(gradients, state, params)
        params = apply_updates(params, directions, rates)
        expected = golden["after_each_step"][case][i]
        parity.compare(
            GOLDEN_SET, f"adam {case}", params["depth_net"]["x"], expected, tolerance=3e-7
        )
    if decay:
        plain = golden["after_each_step"]["weight_decay=0.0"][-1]
        np.testing.assert_allclose(params["pose_net"]["x"], plain, atol=1e-6)
