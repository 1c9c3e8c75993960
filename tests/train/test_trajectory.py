"""Whole training steps from the original's weights and batch: losses and updates follow its own."""

import jax
import numpy as np
import pytest
from golden.models import golden_batch, seeded_variables
from golden.seeded import load_golden

from packnet_jax import sharding
from packnet_jax.config import LossConfig, ModelConfig, NetworkConfig, OptimConfig
from packnet_jax.convert.rules import RULES, target_of
from packnet_jax.objectives.self_supervised import self_supervised
from packnet_jax.sfm import Networks
from packnet_jax.train.optim import make_learning_rates, make_optimizer
from packnet_jax.train.state import TrainState
from packnet_jax.train.step import make_train_step

SHAPE = (64, 96)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "depth_net"),
    [
        pytest.param(
            "trajectory20.SelfSup.DepthResNet18",
            NetworkConfig("DepthResNet", "18"),
            id="DepthResNet18",
        ),
        pytest.param(
            "trajectory5.SelfSup.PackNetSlim01",
            NetworkConfig("PackNetSlim01", "1A"),
            id="PackNetSlim01",
            marks=pytest.mark.soak,
        ),
    ],
)
def test_losses_and_updates_follow_the_original(name, depth_net, parity):
    golden = load_golden(f"models/{name}.npz")
    model = ModelConfig(depth_net, NetworkConfig("PoseNet", ""))
    networks = Networks.from_config(model)
    mesh = sharding.make_mesh(1)
    optimizer = make_optimizer(OptimConfig())
    num_steps = len(golden["loss"])
    step = make_train_step(
        networks,
        self_supervised(LossConfig(flip_lr_prob=0.0)),
        optimizer,
        make_learning_rates(OptimConfig(), num_steps),
        seed=0,
        num_steps=num_steps,
        mesh=mesh,
    )
    before = seeded_variables(model, SHAPE)
    state = jax.device_put(TrainState.create(before, optimizer), sharding.replicated(mesh))
    batch = sharding.place_batch(golden_batch(), mesh)
    losses = []
    for _ in range(num_steps):
        state, output = step(state, batch)
        losses.append(float(output.scalars["loss"]))
    golden_set = f"models/{name}"
    parity.compare(golden_set, "loss", losses, golden["loss"], tolerance=1e-4)
    parity.compare(golden_set, "loss_float64", losses, golden["loss_float64"], tolerance=1e-4)

    after = jax.device_get(state.variables)["params"]
    moved, expected = [], []
    rules = {"depth_net": RULES[depth_net.name], "pose_net": RULES["PoseNet"]}
    for key, norm in zip(golden["param_names"], golden["param_update_norms"], strict=True):
        network, _, source = str(key).partition(".")
        if (found := target_of(source, rules[network])) is None:
            assert norm == 0  # the classifier that nothing reads
            continue
        path = found[0].split("/")[1:]
        a, b = after[network], before["params"][network]
        for part in path:
            a, b = a[part], b[part]
        moved.append(np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64)))
        expected.append(norm)
    assert len(moved) == len(jax.tree.leaves(after))
    # Adam turns the rounding of tiny gradients into whole steps: the original's own float32 and
    # float64 differ likewise, so the updates are compared as a whole.
    parity.compare(
        golden_set,
        "param_update_norms",
        moved,
        expected,
        tolerance=0.02,
        scale=np.max(expected),
    )
