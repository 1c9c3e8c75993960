"""One training step's objective against the original's model, from the same weights and batch."""

import jax
import numpy as np
import pytest
from golden.arrays import nhwc
from golden.seeded import load_golden, seeded_state_dict

from packnet_jax.batch import Batch
from packnet_jax.config import LossConfig, ModelConfig, NetworkConfig
from packnet_jax.convert.rules import RULES
from packnet_jax.convert.state_dict import from_state_dict
from packnet_jax.sfm import Networks, predict, self_supervised_objective

MODEL = ModelConfig(NetworkConfig("DepthResNet", "18"), NetworkConfig("PoseNet", ""))


@pytest.fixture(scope="module")
def batch() -> Batch:
    arrays = load_golden("models/batch_64x96.npz")

    def context(name: str) -> np.ndarray:
        return np.stack([nhwc(arrays[f"{name}.{i}"]) for i in range(2)], axis=1)

    return Batch(
        rgb=nhwc(arrays["rgb"]),
        rgb_original=nhwc(arrays["rgb_original"]),
        rgb_context=context("rgb_context"),
        rgb_context_original=context("rgb_context_original"),
        intrinsics=arrays["intrinsics"],
        index=np.arange(2, dtype=np.int32),
        valid=np.ones(2, bool),
    )


@pytest.fixture(scope="module")
def step(batch):
    networks = Networks.from_config(MODEL)
    template = jax.eval_shape(lambda: networks.init(jax.random.key(0), (64, 96), 2))
    sources = {
        "depth_net": ("DepthResNet", seeded_state_dict("DepthResNet_18")),
        "pose_net": ("PoseNet", seeded_state_dict("PoseNet")),
    }
    filled = {
        name: from_state_dict(source, RULES[kind], {c: template[c][name] for c in template})
        for name, (kind, source) in sources.items()
    }
    variables = {c: {name: filled[name].get(c, {}) for name in filled} for c in template}

    @jax.jit
    def terms_and_motion(variables, batch, flip):
        objective = self_supervised_objective(
            networks, variables, batch, LossConfig(), flip=flip, progress=0.0
        )
        motion = predict(networks, variables, batch, flip=flip).context_T_target
        return objective.terms, motion

    return lambda flip: terms_and_motion(variables, batch, flip)


@pytest.mark.parametrize("flip", [0, 1])
def test_loss_and_motion_equal_the_original(step, flip):
    golden = load_golden(f"models/SelfSup.DepthResNet18.flip{flip}.npz")
    terms, motion = step(bool(flip))
    np.testing.assert_allclose(terms["loss"], golden["loss"][0], rtol=1e-5)
    np.testing.assert_allclose(
        terms["smoothness_loss"], golden["metric.smoothness_loss"], rtol=1e-4
    )
    # The original's metric of this name is the total (reference bug 4).
    np.testing.assert_allclose(
        terms["photometric_loss"] + terms["smoothness_loss"],
        golden["metric.photometric_loss"],
        rtol=1e-5,
    )
    for i in range(2):
        np.testing.assert_allclose(motion[:, i], golden[f"pose_mat{i}"], atol=1e-6)
