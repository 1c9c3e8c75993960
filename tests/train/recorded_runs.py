"""Trains as the original did in one of its recorded runs, and prints the losses as JSON.

    python -m train.recorded_runs slim64 FOLDER_FOR_BUILT_SETS

A program of its own, so that it runs on one device as a user's training does: with the tests' four
virtual ones XLA rounds otherwise, which these trajectories amplify.
"""

import itertools
import json
import sys
from typing import NamedTuple

import jax
from golden.models import seeded_variables
from real_data import kitti_tiny

from packnet_jax import config as config_lib
from packnet_jax import sharding
from packnet_jax.config import Config
from packnet_jax.data.open import open_data_sets
from packnet_jax.data.packed import unpack
from packnet_jax.loss_config import ObjectiveName
from packnet_jax.objectives import make_objective
from packnet_jax.sfm import Networks
from packnet_jax.train.optim import make_learning_rates, make_optimizer
from packnet_jax.train.state import TrainState
from packnet_jax.train.step import make_train_step

RESNETS = (("DepthResNet", "18"), ("PoseResNet", "18"))
SLIM = (("PackNetSlim01", "1A"), ("PoseNet", ""))
# From the full pose weights training collapses, in the original as here.
SMALL_POSE = {"decoder.net.3.weight": 0.1, "decoder.net.3.bias": 0.1}


class Run(NamedTuple):
    """How one run was started."""

    networks: tuple[tuple[str, str], tuple[str, str]]
    image_shape: tuple[int, int]
    batch_size: int
    num_steps: int
    scaled: dict[str, float]
    """Factors of seeded weights."""
    objective: ObjectiveName = "self_supervised"


RUNS = {
    "fixed96sp": Run(RESNETS, (96, 320), batch_size=2, num_steps=40, scaled=SMALL_POSE),
    "slim64": Run(SLIM, (64, 192), batch_size=1, num_steps=50, scaled={}),
    "fixed192": Run(RESNETS, (192, 640), batch_size=2, num_steps=30, scaled={}),
    "velsup96": Run(RESNETS, (96, 320), 2, num_steps=3, scaled={}, objective="velocity"),
    "velsup192": Run(RESNETS, (192, 640), 2, num_steps=3, scaled={}, objective="velocity"),
}


def run_config(run: Run, tfds_dir: str) -> Config:
    """The run's configuration: fixed order, no augmentation."""
    raw = config_lib.default()
    (raw.model.depth_net.name, raw.model.depth_net.version) = run.networks[0]
    (raw.model.pose_net.name, raw.model.pose_net.version) = run.networks[1]
    raw.data.root, raw.data.tfds_dir = str(kitti_tiny()), tfds_dir
    raw.data.split = raw.data.eval_split = "kitti_tiny"
    raw.data.image_shape = run.image_shape
    raw.data.shuffle, raw.data.jittering, raw.data.cache_resized = False, (), True
    raw.objective, raw.loss.flip_lr_prob = run.objective, 0.0
    raw.train.batch_size, raw.train.num_steps = run.batch_size, run.num_steps
    return config_lib.resolve(raw)


def train(run: Run, tfds_dir: str) -> list[dict[str, float]]:
    """Loss and terms of every step."""
    config = run_config(run, tfds_dir)
    data = open_data_sets(config)
    optimizer = make_optimizer(config.optim)
    mesh = sharding.make_mesh(1)
    step = make_train_step(
        Networks.from_config(config.model),
        make_objective(config.objective, config.loss),
        optimizer,
        make_learning_rates(config.optim, data.train.steps_per_epoch),
        seed=0,
        num_steps=run.num_steps,
        mesh=mesh,
    )
    variables = seeded_variables(config.model, run.image_shape, scaled=run.scaled)
    state = jax.device_put(TrainState.create(variables, optimizer), sharding.replicated(mesh))
    scalars = []
    for batch in itertools.islice(data.train.iterate(0), run.num_steps):
        state, output = step(state, unpack(sharding.place_batch(batch, mesh)))
        scalars.append({name: float(value) for name, value in output.scalars.items()})
    return scalars


if __name__ == "__main__":
    print(json.dumps(train(RUNS[sys.argv[1]], sys.argv[2])))
