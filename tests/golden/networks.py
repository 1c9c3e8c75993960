"""The networks of the golden files, with the seeded weights and inputs those were made with."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from golden.seeded import load_golden, seeded_state_dict
from packnet_jax.convert.rules import RULES, RuleTable, target_of
from packnet_jax.convert.state_dict import from_state_dict
from packnet_jax.networks import DEPTH_NETS, make_depth_net, make_pose_net


class NetworkCase(NamedTuple):
    net: nn.Module
    inputs: tuple[np.ndarray, ...]
    variables: dict[str, Any]
    rules: RuleTable
    golden: dict[str, np.ndarray]


class TrainResult(NamedTuple):
    loss: float
    outputs: Any
    batch_stats: dict[str, np.ndarray]
    """By path, such as "encoder/bn1/mean"."""
    gradients: dict[str, np.ndarray]


def channels_last(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 1, -1)


def load_case(golden_name: str) -> NetworkCase:
    """The case of a golden file such as "PackNet01_1A"."""
    name, _, version = golden_name.partition("_")
    arrays = load_golden("nets/inputs.npz")
    rgb = channels_last(arrays["rgb"])
    if name in DEPTH_NETS:
        net, inputs = make_depth_net(name, version), (rgb,)
    else:
        context = [channels_last(arrays[f"context{i}"]) for i in range(2)]
        net, inputs = make_pose_net(name, version), (rgb, np.stack(context, axis=1))
    init = functools.partial(net.init, train=False)
    template = jax.eval_shape(init, jax.random.key(0), *inputs)
    variables = from_state_dict(seeded_state_dict(golden_name), RULES[name], template)
    return NetworkCase(net, inputs, variables, RULES[name], load_golden(f"nets/{golden_name}.npz"))


def run_eval(case: NetworkCase) -> tuple[Any, dict[str, tuple[np.ndarray, ...]]]:
    """Outputs, and every submodule's outputs by path, one per call of that submodule."""

    @jax.jit
    def apply(variables):
        return case.net.apply(variables, *case.inputs, train=False, capture_intermediates=True)

    outputs, captured = apply(case.variables)
    flat = traverse_util.flatten_dict(captured["intermediates"], sep="/")
    return outputs, {path.removesuffix("/__call__"): value for path, value in flat.items()}


def run_train(case: NetworkCase) -> TrainResult:
    """One training-mode pass with the loss of the golden files: sum of mean squared outputs."""

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def step(params, batch_stats):
        outputs, updates = case.net.apply(
            {"params": params, **batch_stats}, *case.inputs, train=True, mutable=["batch_stats"]
        )
        loss = sum(jnp.mean(output**2) for output in jax.tree.leaves(outputs))
        return loss, (outputs, updates.get("batch_stats", {}))

    batch_stats = {k: v for k, v in case.variables.items() if k != "params"}
    (loss, (outputs, stats)), gradients = step(case.variables["params"], batch_stats)
    return TrainResult(
        float(loss),
        outputs,
        traverse_util.flatten_dict(stats, sep="/"),
        traverse_util.flatten_dict(gradients, sep="/"),
    )


def assert_features_close(
    golden: Mapping[str, np.ndarray],
    name: str,
    feature: np.ndarray,
    *,
    relative: float,
    activation: Callable[[Any], Any] = lambda x: x,
) -> None:
    """Compares the samples a golden file keeps of the original's module `name`."""
    feature = np.moveaxis(np.asarray(activation(feature), np.float64), -1, 1)
    assert feature.shape == tuple(golden[f"featshape.{name}"])
    expected = golden[f"feat.{name}"]
    samples = feature.ravel()[np.arange(expected.size) * feature.size // expected.size]
    mean, std, largest = golden[f"featstat.{name}"]
    atol = relative * largest
    np.testing.assert_allclose(samples, expected, rtol=0, atol=atol, err_msg=name)
    np.testing.assert_allclose(
        (feature.mean(), feature.std(ddof=1)), (mean, std), rtol=0, atol=atol, err_msg=name
    )


def assert_gradient_norms_close(case: NetworkCase, gradients: Mapping[str, np.ndarray]) -> None:
    """1e-3 relative, with a floor of 1e-4 of the largest norm; unused tensors have none."""
    largest = case.golden["grad.norms"].max()
    compared = set()
    for name, expected in zip(case.golden["grad.names"], case.golden["grad.norms"], strict=True):
        if (found := target_of(str(name), case.rules)) is None:
            assert expected == 0
            continue
        path = found[0].removeprefix("params/")
        norm = np.linalg.norm(np.asarray(gradients[path], np.float64))
        tolerance = 1e-3 * max(expected, 1e-4 * largest)
        np.testing.assert_allclose(norm, expected, rtol=0, atol=tolerance, err_msg=path)
        compared.add(path)
    assert compared == set(gradients)


def assert_running_stats_close(case: NetworkCase, golden_name: str, stats: Mapping) -> None:
    """Every batch normalisation after the one training-mode pass.

    The `train_bn` arrays of the golden files hold the statistics from before that pass (their
    update counters say so), so these were recorded again, by the original with torch 2.13.
    """
    recorded = load_golden(f"nets/{golden_name}_running_stats.npz")
    compared = set()
    for name, expected in recorded.items():
        if (found := target_of(name, case.rules)) is None:
            continue
        path = found[0].removeprefix("batch_stats/")
        np.testing.assert_allclose(stats[path], expected, rtol=1e-5, atol=1e-5, err_msg=path)
        compared.add(path)
    assert compared == set(stats)
