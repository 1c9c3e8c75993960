"""Training on real frames, from the same weights and in the same order, as the original does."""

import itertools

import jax
import numpy as np
import pytest
from golden.seeded import seeded_state_dict
from real_data import end_to_end, kitti_tiny

from configs.overfit_kitti import get_config
from packnet_jax import config as config_lib
from packnet_jax import sharding
from packnet_jax.convert.rules import RULES
from packnet_jax.convert.state_dict import from_state_dict
from packnet_jax.data.open import open_data_sets
from packnet_jax.sfm import Networks
from packnet_jax.train.optim import make_learning_rates, make_optimizer
from packnet_jax.train.state import TrainState
from packnet_jax.train.step import make_train_step

NUM_STEPS = 40


def seeded_variables(networks: Networks, image_shape, num_context: int):
    """DepthResNet18 and PoseResNet18 with seeded weights and a tenth of the pose head's.

    From the full pose weights training collapses, in the original as here.
    """
    template = jax.eval_shape(lambda: networks.init(jax.random.key(0), image_shape, num_context))
    pose = seeded_state_dict("PoseResNet_18")
    for name in ("decoder.net.3.weight", "decoder.net.3.bias"):
        pose[name] = pose[name] * np.float32(0.1)
    sources = {"depth_net": seeded_state_dict("DepthResNet_18"), "pose_net": pose}
    kinds = {"depth_net": "DepthResNet", "pose_net": "PoseResNet"}
    filled = {
        name: from_state_dict(source, RULES[kinds[name]], {c: template[c][name] for c in template})
        for name, source in sources.items()
    }
    return {c: {name: filled[name][c] for name in filled} for c in template}


@pytest.mark.slow
def test_losses_follow_the_original_on_real_frames(tmp_path):
    expected = np.array(
        [s["loss"] for s in end_to_end("train/fixed96sp.json")["steps"][:NUM_STEPS]]
    )
    raw = get_config()
    raw.data.root, raw.data.tfds_dir = str(kitti_tiny()), str(tmp_path)
    raw.data.shuffle, raw.data.jittering, raw.loss.flip_lr_prob = False, (), 0.0
    config = config_lib.resolve(raw)
    data = open_data_sets(config)
    networks = Networks.from_config(config.model)
    optimizer = make_optimizer(config.optim)
    mesh = sharding.make_mesh(1)
    step = make_train_step(
        networks,
        config.loss,
        optimizer,
        make_learning_rates(config.optim, data.train.steps_per_epoch),
        seed=0,
        num_steps=NUM_STEPS,
        mesh=mesh,
    )
    variables = seeded_variables(networks, config.data.image_shape, data.num_context)
    state = jax.device_put(TrainState.create(variables, optimizer), sharding.replicated(mesh))
    losses = []
    for batch in itertools.islice(data.train.iterate(0), NUM_STEPS):
        state, output = step(state, sharding.place_batch(batch, mesh))
        losses.append(float(output.scalars["loss"]))
    difference = np.abs(np.array(losses) / expected - 1)
    print("relative differences", difference)
    assert difference[:3].max() <= 1e-4
    # The trajectory is unstable at step 3: there the original's float32 lies 5.4e-4 from its own
    # network in float64, and 3.5e-4 from itself under a newer torch (docs/benchmarks.md).
    assert difference[3:10].max() <= 1e-3
    # Rounding alone reaches 1 % by step 26, so only the level is compared from step 10 on.
    assert abs(np.mean(losses[10:]) / expected[10:].mean() - 1) <= 0.02
