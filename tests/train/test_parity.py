"""Training on real frames, from the same weights and in the same order, as the original does."""

import itertools
from typing import NamedTuple

import jax
import numpy as np
import pytest
from golden.models import seeded_variables
from real_data import end_to_end, kitti_tiny

from packnet_jax import config as config_lib
from packnet_jax import sharding
from packnet_jax.config import Config
from packnet_jax.data.open import open_data_sets
from packnet_jax.sfm import Networks
from packnet_jax.train.optim import make_learning_rates, make_optimizer
from packnet_jax.train.state import TrainState
from packnet_jax.train.step import make_train_step

RESNETS = (("DepthResNet", "18"), ("PoseResNet", "18"))
SLIM = (("PackNetSlim01", "1A"), ("PoseNet", ""))
# From the full pose weights training collapses, in the original as here.
SMALL_POSE = {"decoder.net.3.weight": 0.1, "decoder.net.3.bias": 0.1}


class Run(NamedTuple):
    """One of the original's recorded runs, and how closely it is followed."""

    name: str
    networks: tuple[tuple[str, str], tuple[str, str]]
    image_shape: tuple[int, int]
    batch_size: int
    num_steps: int
    bounds: tuple[tuple[int, float], ...]
    """Largest relative difference of the loss up to each step (exclusive)."""
    mean_bound: float
    """Relative difference of the mean loss after those steps."""
    scaled: dict[str, float]


RUNS = [
    Run(
        "fixed96sp",
        RESNETS,
        (96, 320),
        batch_size=2,
        num_steps=40,
        # The trajectory is unstable at step 3: there the original's float32 lies 5.4e-4 from its
        # own network in float64, and 3.5e-4 from itself under a newer torch (docs/benchmarks.md).
        bounds=((3, 1e-4), (10, 1e-3)),
        # Rounding alone reaches 1 % by step 26, so only the level is compared from step 10 on.
        mean_bound=0.02,
        scaled=SMALL_POSE,
    ),
    Run(
        "slim64",
        SLIM,
        (64, 192),
        batch_size=1,
        num_steps=50,
        # Unstable from the first update on: our float64 lies 6e-4 from the original's float32 at
        # step 4, and that float32 8e-4 from itself under a newer torch (docs/benchmarks.md).
        bounds=((4, 1e-3), (5, 3e-3)),
        mean_bound=0.03,
        scaled={},
    ),
    pytest.param(
        Run(
            "fixed192",
            RESNETS,
            (192, 640),
            batch_size=2,
            num_steps=30,
            # From these full pose weights the second update is unstable: the original's code under
            # a newer torch is 3e-3 off at step 2 and 3e-2 at step 4 (docs/benchmarks.md).
            bounds=((2, 1e-4), (5, 3e-2)),
            mean_bound=0.03,
            scaled={},
        ),
        marks=pytest.mark.soak,
    ),
]


def run_config(run: Run, tfds_dir) -> Config:
    """The run's configuration: fixed order, no augmentation."""
    raw = config_lib.default()
    (raw.model.depth_net.name, raw.model.depth_net.version) = run.networks[0]
    (raw.model.pose_net.name, raw.model.pose_net.version) = run.networks[1]
    raw.data.root, raw.data.tfds_dir = str(kitti_tiny()), str(tfds_dir)
    raw.data.split = raw.data.eval_split = "kitti_tiny"
    raw.data.image_shape = run.image_shape
    raw.data.shuffle, raw.data.jittering, raw.data.cache_resized = False, (), True
    raw.loss.flip_lr_prob = 0.0
    raw.train.batch_size, raw.train.num_steps = run.batch_size, run.num_steps
    return config_lib.resolve(raw)


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_losses_follow_the_original_on_real_frames(run, tmp_path):
    recorded = end_to_end(f"train/{run.name}.json")["steps"][: run.num_steps]
    expected = np.array([step["loss"] for step in recorded])
    config = run_config(run, tmp_path)
    data = open_data_sets(config)
    optimizer = make_optimizer(config.optim)
    mesh = sharding.make_mesh(1)
    step = make_train_step(
        Networks.from_config(config.model),
        config.loss,
        optimizer,
        make_learning_rates(config.optim, data.train.steps_per_epoch),
        seed=0,
        num_steps=run.num_steps,
        mesh=mesh,
    )
    variables = seeded_variables(config.model, run.image_shape, scaled=run.scaled)
    state = jax.device_put(TrainState.create(variables, optimizer), sharding.replicated(mesh))
    losses = []
    for batch in itertools.islice(data.train.iterate(0), run.num_steps):
        state, output = step(state, sharding.place_batch(batch, mesh))
        losses.append(float(output.scalars["loss"]))
    difference = np.abs(np.array(losses) / expected - 1)
    print("relative differences", difference)
    first = 0
    for end, bound in run.bounds:
        assert difference[first:end].max() <= bound, (first, end)
        first = end
    assert abs(np.mean(losses[first:]) / expected[first:].mean() - 1) <= run.mean_bound
