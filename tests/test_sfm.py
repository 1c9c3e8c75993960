"""One training step's objective against the original's models, from the same weights and batch."""

import functools
from typing import NamedTuple

import jax
import numpy as np
import pytest
from golden.models import golden_batch, seeded_variables
from golden.seeded import load_golden

from packnet_jax.config import LossConfig, ModelConfig, NetworkConfig
from packnet_jax.convert.rules import RULES, target_of
from packnet_jax.image import resize_nearest
from packnet_jax.sfm import Networks, predict, self_supervised_objective

RESNET18 = NetworkConfig("DepthResNet", "18")
SLIM = NetworkConfig("PackNetSlim01", "1A")
NATIVE_SCALES = LossConfig(upsample_depth_maps=False)
CLASS_DEFAULTS = LossConfig(
    upsample_depth_maps=False,
    smooth_loss_weight=0.1,
    photometric_reduce_op="mean",
    clip_loss=0.5,
    automask_loss=False,
)


class Case(NamedTuple):
    name: str
    depth_net: NetworkConfig
    loss: LossConfig
    flip: bool = False


CASES = [
    Case("SelfSup.DepthResNet18.flip0", RESNET18, LossConfig()),
    Case("SelfSup.DepthResNet18.flip1", RESNET18, LossConfig(), flip=True),
    Case("SelfSup.DepthResNet18.noupsample", RESNET18, NATIVE_SCALES),
    Case("SelfSup.DepthResNet18.class_loss_defaults", RESNET18, CLASS_DEFAULTS),
    Case("SelfSup.PackNetSlim01.flip0", SLIM, LossConfig()),
    Case("SelfSup.PackNetSlim01.flip1", SLIM, LossConfig(), flip=True),
]


@functools.cache  # flipped or not is the same program
def compiled(depth_net: NetworkConfig, loss: LossConfig):
    """Weights; and the function of weights, batch and flip to objective, predictions, gradients."""
    model = ModelConfig(depth_net, NetworkConfig("PoseNet", ""))
    networks = Networks.from_config(model)

    @jax.jit
    def measure(variables, batch, flip):
        def objective(params):
            own = {**variables, "params": params}
            result = self_supervised_objective(networks, own, batch, loss, flip=flip, progress=0.0)
            return result.loss, (result.terms, predict(networks, own, batch, flip=flip))

        (_, aux), gradients = jax.value_and_grad(objective, has_aux=True)(variables["params"])
        return *aux, gradients

    return seeded_variables(model, (64, 96)), measure


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_step_equals_the_original(case, parity):
    golden, golden_set = load_golden(f"models/{case.name}.npz"), f"models/{case.name}"
    variables, measure = compiled(case.depth_net, case.loss)
    terms, predictions, gradients = measure(variables, golden_batch(), case.flip)

    def compare(entry, actual, tolerance, *, relative=True):
        expected = golden[entry]
        scale = np.abs(expected).max() if relative else 1.0
        actual = np.reshape(actual, expected.shape)
        parity.compare(golden_set, entry, actual, expected, tolerance=tolerance, scale=scale)

    compare("loss", terms["loss"], 1e-5)
    compare("metric.smoothness_loss", terms["smoothness_loss"], 1e-4)
    # The original's metric of this name is the total (reference bug 4).
    total = terms["photometric_loss"] + terms["smoothness_loss"]
    compare("metric.photometric_loss", total, 1e-5)
    for i in range(2):
        compare(f"pose_mat{i}", predictions.context_T_target[:, i], 1e-6, relative=False)
    for i, inv_depth in enumerate(predictions.inv_depth_pyramid):
        if case.loss.upsample_depth_maps:
            inv_depth = resize_nearest(inv_depth, (64, 96))
        flat, count = np.asarray(inv_depth).ravel(), golden[f"inv_depths{i}.sample"].size
        assert flat.size == np.prod(golden[f"inv_depths{i}.shape"])
        sample = flat[np.arange(count) * flat.size // count]
        compare(f"inv_depths{i}.sample", sample, 1e-4, relative=False)

    norms, expected = gradient_norms(golden, case, gradients)
    floor = 1e-4 * max(expected)
    parity.compare(
        golden_set,
        "grad.norms",
        norms,
        expected,
        tolerance=5e-3,
        scale=np.maximum(expected, floor),
    )


def gradient_norms(golden, case, gradients):
    """Ours and the original's, parameter by parameter; every one of ours is met once."""
    rules = {"depth_net": RULES[case.depth_net.name], "pose_net": RULES["PoseNet"]}
    ours, theirs = {}, {}
    for key, norm in zip(golden["grad.names"], golden["grad.norms"], strict=True):
        network, _, source = str(key).partition(".")
        if (found := target_of(source, rules[network])) is None:
            assert norm == 0  # the classifier that nothing reads
            continue
        leaf = gradients[network]
        for part in found[0].split("/")[1:]:
            leaf = leaf[part]
        ours[network, found[0]] = np.linalg.norm(np.asarray(leaf, np.float64))
        theirs[network, found[0]] = norm
    assert len(ours) == len(jax.tree.leaves(gradients))
    return list(ours.values()), list(theirs.values())
