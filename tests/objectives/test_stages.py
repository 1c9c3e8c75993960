"""What joins later changes nothing before, and what is frozen stays."""

import functools
import itertools
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict

from packnet_jax import sharding
from packnet_jax.config import OptimConfig
from packnet_jax.loss_config import LossConfig, ObjectiveName
from packnet_jax.objectives import make_objective
from packnet_jax.train.optim import make_learning_rates, make_optimizer
from packnet_jax.train.state import TrainState
from packnet_jax.train.step import make_train_step

pytestmark = pytest.mark.slow

NUM_STEPS = 4
HALF = 0.5
SMALL = LossConfig(num_scales=1, supervised_num_scales=1)
"""Which compiles faster."""
ENCODER = ("depth_net", "encoder")


def sparse(batch_size: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (batch_size, *tiny.SHAPE, 1)
    return np.where(rng.random(shape) < 0.2, rng.uniform(2, 60, shape), 0)


@functools.cache
def parameters_of(objective_name: ObjectiveName, loss: LossConfig) -> list[dict[Any, np.ndarray]]:
    """All parameters before the first step and after each, in float64, by path."""
    with jax.enable_x64(True):
        objective = make_objective(objective_name, loss)
        needs = objective.needs._replace(input_depth=True)  # the same parameters for all
        networks, mesh = tiny.networks_for(needs), sharding.make_mesh(1)
        config = OptimConfig()
        optimizer = make_optimizer(config)
        step = make_train_step(
            networks,
            objective,
            optimizer,
            make_learning_rates(config, steps_per_epoch=100),
            seed=0,
            num_steps=NUM_STEPS,
            mesh=mesh,
        )
        variables = jax.jit(lambda key: networks.init(key, tiny.SHAPE, 2))(jax.random.key(0))
        variables = jax.tree.map(lambda a: np.asarray(a, np.float64), variables)
        state = TrainState.create(variables, optimizer)
        state = jax.device_put(state, sharding.replicated(mesh))
        batch = tiny.random_batch(batch_size=2, dtype=np.float64)
        batch = batch._replace(depth=sparse(2, seed=1), input_depth=sparse(2, seed=2))
        batch = sharding.place_batch(batch, mesh)
        found = [flatten_dict(jax.device_get(state.variables["params"]))]
        for _ in range(NUM_STEPS):
            state, _ = step(state, batch)
            found.append(flatten_dict(jax.device_get(state.variables["params"])))
    return found


def furthest(a: dict[Any, np.ndarray], b: dict[Any, np.ndarray]) -> float:
    """The largest difference of any parameter."""
    assert a.keys() == b.keys()
    return max(float(np.abs(a[path] - b[path]).max()) for path in a)


@pytest.mark.parametrize("name", ["semi_supervised", "reprojected"])
def test_until_measured_depth_joins_training_is_self_supervised(name):
    alone = parameters_of("self_supervised", SMALL)
    joined = parameters_of(name, replace(SMALL, supervision_starts=HALF))
    for before, same in zip(alone[:3], joined[:3], strict=True):
        assert furthest(before, same) < 1e-9
    assert furthest(alone[2], alone[1]) > 1e-5  # they do move
    assert furthest(alone[3], joined[3]) > 1e-5


@pytest.mark.parametrize("weight", [0.9, 1.0])
def test_until_sparse_depth_joins_training_is_that_of_the_picture_alone(weight):
    loss = replace(SMALL, supervised_loss_weight=weight)
    prediction = parameters_of("semi_supervised", loss)
    completion = parameters_of("completion", replace(loss, completion_starts=HALF))
    for before, same in zip(prediction[:3], completion[:3], strict=True):
        assert furthest(before, same) < 1e-9
    assert furthest(prediction[3], completion[3]) > 1e-5


def test_the_pictures_encoder_is_frozen_once_sparse_depth_has_joined():
    loss = replace(
        SMALL, supervised_loss_weight=1.0, completion_starts=HALF, freeze_rgb_encoder=True
    )
    steps = parameters_of("completion", loss)
    for number, (before, after) in enumerate(itertools.pairwise(steps)):
        for path, values in before.items():
            is_same = np.array_equal(values, after[path])
            if path[:2] == ENCODER:
                assert is_same == (number >= NUM_STEPS * HALF), (number, path)
            elif path[1] == "sparse_encoder":
                assert is_same == (number < NUM_STEPS * HALF), (number, path)
            elif path[1] == "heads_0":
                assert not is_same, (number, path)
