"""Whole PackNets of full width: one convolution in place of two changes rounding alone."""

from functools import partial

import jax
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict
from golden.models import golden_batch, seeded_variables
from golden.networks import Inputs, make_case

from packnet_jax import sharding
from packnet_jax.config import ModelConfig, NetworkConfig, OptimConfig
from packnet_jax.loss_config import LossConfig
from packnet_jax.networks.folding import fold
from packnet_jax.objectives.self_supervised import self_supervised
from packnet_jax.sfm import Networks
from packnet_jax.train.optim import make_learning_rates, make_optimizer
from packnet_jax.train.state import TrainState
from packnet_jax.train.step import make_train_step

PROMISED = 2e-5
"""Relative difference of inverse depth in float32."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["PackNet01_1A", pytest.param("PackNetSlim01_1A", marks=pytest.mark.soak)]
)
def test_inverse_depth_is_that_of_two_convolutions_up_to_the_border(name):
    rgb = np.random.default_rng(0).random((1, 192, 640, 3), np.float32)
    case = make_case(name, Inputs(rgb, rgb[:, None], rgb[..., :1]))

    def infer(net, variables):
        return jax.device_get(jax.jit(partial(net.apply, train=False))(variables, rgb))

    reference = infer(case.net.clone(packing="reference"), case.variables)
    for variables in (fold(case.net, case.variables), case.variables):
        for actual, expected in zip(infer(case.net, variables), reference, strict=True):
            error = np.abs(actual - expected) / expected
            assert 0 < error.max() < PROMISED  # zero, if it were the same program
            borders = error[:, 0], error[:, -1], error[:, :, 0], error[:, :, -1]
            assert max(border.max() for border in borders) < PROMISED


@pytest.mark.soak
def test_a_training_step_in_half_precision_is_near_that_in_float32():
    """PackNetSlim01 and PoseNet, with the weights and pictures of the golden model steps."""
    model = ModelConfig(NetworkConfig("PackNetSlim01", "1A"), NetworkConfig("PoseNet", ""))
    batch, mesh = golden_batch(), sharding.make_mesh(1)
    variables = seeded_variables(model, batch.rgb.shape[1:3])
    found = {}
    for dtype in ("float32", "bfloat16"):
        networks = Networks.from_config(model)._replace(compute_dtype=dtype)
        optimizer = make_optimizer(OptimConfig())
        step = make_train_step(
            networks,
            self_supervised(LossConfig()),
            optimizer,
            make_learning_rates(OptimConfig(), steps_per_epoch=10),
            seed=0,
            num_steps=10,
            mesh=mesh,
        )
        state = jax.device_put(TrainState.create(variables, optimizer), sharding.replicated(mesh))
        found[dtype] = jax.device_get(step(state, sharding.place_batch(batch, mesh)))
    (state, output), (narrow_state, narrow_output) = found.values()
    for path, leaf in flatten_dict(narrow_state.variables, sep="/").items():
        assert leaf.dtype == np.float32 and np.isfinite(leaf).all(), path
    assert narrow_output.scalars["nonfinite_steps"] == 0
    np.testing.assert_allclose(narrow_output.scalars["loss"], output.scalars["loss"], rtol=0.01)
    for network in ("depth_net", "pose_net"):
        moments = [
            np.concatenate(
                [m.ravel() for m in jax.tree.leaves(optax.tree.get(s.opt_state, "mu")[network])]
            )
            for s in (state, narrow_state)
        ]
        cosine = moments[0] @ moments[1] / np.prod([np.linalg.norm(m) for m in moments])
        assert cosine > 0.98, network
