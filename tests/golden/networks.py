"""The networks of the golden files, with the seeded weights and inputs those were made with."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from golden.gradients import compare_gradient_norms
from golden.parity import Parity
from golden.seeded import load_golden, seeded_state_dict
from packnet_jax.convert.rules import RULES, RuleTable, target_of
from packnet_jax.convert.state_dict import from_state_dict
from packnet_jax.networks import DEPTH_NETS, make_depth_net, make_pose_net
from packnet_jax.networks.packnet_san import CompletionOutput
from packnet_jax.networks.ray_surface_resnet import RaySurfaceOutput
from packnet_jax.networks.resnet import STAGE_SIZES

NAMES = (
    "DepthResNet_18",
    "DepthResNet_34",
    "DepthResNet_50",
    "PackNet01_1A",
    "PackNet01_1B",
    "PackNetSAN01_1A",
    "PackNetSlim01_1A",
    "PoseNet",
    "PoseResNet_18",
    "PoseResNet_50",
    "RaySurfaceResNet_18",
)
"""Every network that has a golden file."""

METHODS = {"PackNetSAN01": "with_and_without_depth", "RaySurfaceResNet": "with_ray_surface"}
"""What gives all outputs that a golden file holds; elsewhere it is the call itself."""


class Inputs(NamedTuple):
    """What the networks are run on; each takes its part."""

    rgb: np.ndarray
    rgb_context: np.ndarray
    input_depth: np.ndarray


class NetworkCase(NamedTuple):
    golden_name: str
    """Such as "PackNet01_1A"."""
    net: nn.Module
    inputs: tuple[np.ndarray, ...]
    variables: dict[str, Any]
    rules: RuleTable
    golden: dict[str, np.ndarray]
    method: str

    @property
    def golden_set(self) -> str:
        return f"nets/{self.golden_name}"

    @property
    def is_depth_net(self) -> bool:
        return self.golden_name.partition("_")[0] in DEPTH_NETS

    @property
    def is_50_layers_deep(self) -> bool:
        return self.golden_name.endswith("_50")


class TrainResult(NamedTuple):
    loss: float
    outputs: Any
    batch_stats: dict[str, np.ndarray]
    """By path, such as "encoder/bn1/mean"."""
    gradients: dict[str, np.ndarray]
    convolutions: dict[str, tuple[np.ndarray, ...]]
    """Outputs of the encoder's convolutions by path, one per call."""


def channels_last(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 1, -1)


def load_case(golden_name: str) -> NetworkCase:
    """The case of a golden file, on the inputs of all of them."""
    return make_case(golden_name, golden_inputs())


def golden_inputs() -> Inputs:
    arrays = {name: channels_last(a) for name, a in load_golden("nets/inputs.npz").items()}
    context = np.stack([arrays["context0"], arrays["context1"]], axis=1)
    return Inputs(arrays["rgb"], context, arrays["input_depth"])


def make_case(golden_name: str, given: Inputs) -> NetworkCase:
    """A network with the seeded weights, on images of any size."""
    name, _, version = golden_name.partition("_")
    if name == "PackNetSAN01":
        net, inputs = make_depth_net(name, version), (given.rgb, given.input_depth)
    elif name in DEPTH_NETS:
        net, inputs = make_depth_net(name, version), (given.rgb,)
    else:
        net, inputs = make_pose_net(name, version), (given.rgb, given.rgb_context)
    init = functools.partial(net.init, train=False)
    template = jax.eval_shape(init, jax.random.key(0), *inputs)
    variables = from_state_dict(seeded_state_dict(golden_name), RULES[name], template)
    golden = load_golden(f"nets/{golden_name}.npz")
    method = METHODS.get(name, "__call__")
    return NetworkCase(golden_name, net, inputs, variables, RULES[name], golden, method)


def named_outputs(outputs: Any) -> dict[str, np.ndarray]:
    """By the names of the golden files, without the mode that leads them."""
    match outputs:
        case CompletionOutput():
            return {
                **_named_pyramid("rgb.inv_depth", outputs.inv_depth_pyramid),
                **_named_pyramid("rgbd.inv_depth", outputs.inv_depth_pyramid_rgbd),
                "depth_loss": outputs.depth_loss,
            }
        case RaySurfaceOutput():
            pyramid = _named_pyramid("inv_depth", outputs.inv_depth_pyramid)
            return {**pyramid, "ray_surface": outputs.ray_surface}
        case tuple():
            return _named_pyramid("inv_depth", outputs)
        case _:
            return {"pose": outputs}


def _named_pyramid(name: str, pyramid: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
    """Training numbers the scales, evaluation has the finest alone."""
    assert len(pyramid) == 4
    return {name: pyramid[0], **{f"{name}{i}": scale for i, scale in enumerate(pyramid)}}


def compare_outputs(
    parity: Parity, case: NetworkCase, mode: str, outputs: Any, *, tolerance: float
) -> None:
    """Every output that the golden file holds of a mode, "eval" or "train"."""
    named = named_outputs(outputs)
    entries = [entry for entry in case.golden if entry.startswith(f"{mode}.")]
    assert entries
    for entry in entries:
        expected = case.golden[entry]
        expected = channels_last(expected) if expected.ndim == 4 else expected
        actual = named[entry.removeprefix(f"{mode}.")]
        parity.compare(case.golden_set, entry, actual, expected, tolerance=tolerance)


def run_eval(case: NetworkCase) -> tuple[Any, dict[str, tuple[np.ndarray, ...]]]:
    """Outputs, and every submodule's outputs by path, one per call of that submodule."""

    @jax.jit
    def apply(variables):
        return case.net.apply(
            variables, *case.inputs, train=False, method=case.method, capture_intermediates=True
        )

    outputs, captured = apply(case.variables)
    return outputs, _by_path(captured["intermediates"])


def run_train(case: NetworkCase) -> TrainResult:
    """One training-mode pass with the loss of the golden files: sum of mean squared outputs."""

    def is_residual_convolution(module: nn.Module, _: str) -> bool:
        return isinstance(module, nn.Conv) and module.path[0] == "encoder"

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def step(params, batch_stats):
        outputs, updates = case.net.apply(
            {"params": params, **batch_stats},
            *case.inputs,
            train=True,
            method=case.method,
            mutable=["batch_stats"],
            capture_intermediates=is_residual_convolution,
        )
        loss = sum(jnp.mean(output**2) for output in jax.tree.leaves(outputs))
        return loss, (outputs, updates)

    batch_stats = {k: v for k, v in case.variables.items() if k != "params"}
    (loss, (outputs, updates)), gradients = step(case.variables["params"], batch_stats)
    return TrainResult(
        float(loss),
        outputs,
        traverse_util.flatten_dict(updates.get("batch_stats", {}), sep="/"),
        traverse_util.flatten_dict(gradients, sep="/"),
        _by_path(updates.get("intermediates", {})),
    )


def _by_path(intermediates: Mapping[str, Any]) -> dict[str, tuple[np.ndarray, ...]]:
    flat = traverse_util.flatten_dict(intermediates, sep="/")
    return {path.removesuffix("/__call__"): value for path, value in flat.items()}


def module_of(case: NetworkCase, name: str) -> tuple[str, Callable[[Any], Any]]:
    """Path of the module here whose output, once activated, is that of the original's `name`."""
    if match := re.fullmatch(r"encoder\.encoder\.layer(\d)", name):
        stage = int(match[1])
        last = STAGE_SIZES[case.net.depth][stage - 1] - 1  # pyright: ignore
        return f"encoder/layer{stage}_{last}", _unchanged
    if match := re.fullmatch(r"(decoder|ray_surf)\.decoder\.(\d+)", name):
        decoder = {"decoder": "decoder", "ray_surf": "ray_surface_decoder"}[match[1]]
        i = int(match[2])
        if i >= 10:
            return f"{decoder}/disp_{i - 10}", _unchanged
        return f"{decoder}/upconv_{4 - i // 2}_{i % 2}", nn.elu
    paths = {
        "encoder.encoder.conv1": "encoder/conv1",
        **{
            f"decoder.net.{i}": f"decoder/{path}"
            for i, path in enumerate(("squeeze", "pose_0", "pose_1", "pose_2"))
        },
        "pose_pred": "pose",
    }
    if case.golden_name.startswith("PackNet"):
        name = re.sub(r"^(encoder|decoder)\.", "", name)
        num_blocks = case.net.num_blocks  # pyright: ignore
        paths |= {f"conv{i}": f"conv{i}_{n - 1}" for i, n in enumerate(num_blocks, start=2)}
    return paths.get(name, name), _unchanged


def _unchanged(x: Any) -> Any:
    return x


def compare_features(
    parity: Parity, case: NetworkCase, features: Mapping[str, tuple[np.ndarray, ...]]
) -> int:
    """Compares the samples that a golden file keeps of the original's modules; counts them."""
    names = [key.removeprefix("feat.") for key in case.golden if key.startswith("feat.")]
    for name in names:
        path, activation = module_of(case, name)
        # The last call: the golden files keep the features of the last context image, or pass.
        feature = np.asarray(activation(features[path][-1]), np.float64)
        feature = np.moveaxis(feature, -1, 1)
        assert feature.shape == tuple(case.golden[f"featshape.{name}"])
        expected = case.golden[f"feat.{name}"]
        samples = feature.ravel()[np.arange(expected.size) * feature.size // expected.size]
        *mean_and_std, largest = case.golden[f"featstat.{name}"]
        compare = functools.partial(
            parity.compare, case.golden_set, tolerance=1e-5, scale=float(largest)
        )
        compare(f"feat.{name}", samples, expected)
        compare(f"featstat.{name}", (feature.mean(), feature.std(ddof=1)), mean_and_std)
    return len(names)


def compare_network_gradients(
    parity: Parity, case: NetworkCase, gradients: Mapping[str, np.ndarray], *, tolerance: float
) -> None:
    """The norms of one network's gradients."""

    def path_of(name: str) -> str | None:
        found = target_of(name, case.rules)
        return found and found[0].removeprefix("params/")

    compare_gradient_norms(
        parity, case.golden_set, case.golden, gradients, path_of, tolerance=tolerance
    )


def compare_running_stats(parity: Parity, case: NetworkCase, stats: Mapping) -> None:
    """Every batch normalisation after the one training-mode pass.

    The `train_bn` arrays of the golden files hold the statistics from before that pass (their
    update counters say so), so these were recorded again, by the original with torch 2.13.
    """
    golden_set = f"{case.golden_set}_running_stats"
    compared = set()
    for name, expected in load_golden(f"{golden_set}.npz").items():
        if (found := target_of(name, case.rules)) is None:
            continue
        path = found[0].removeprefix("batch_stats/")
        scale = 1 + np.abs(expected)
        parity.compare(golden_set, name, stats[path], expected, tolerance=1e-5, scale=scale)
        compared.add(path)
    assert compared == set(stats)
