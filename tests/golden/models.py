"""The batch and the seeded networks that the golden model steps were made with."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from golden.arrays import nhwc
from golden.gradients import compare_gradient_norms
from golden.parity import Parity
from golden.seeded import load_golden, seeded_state_dict
from packnet_jax.batch import Batch
from packnet_jax.config import ModelConfig, NetworkConfig
from packnet_jax.convert.rules import RULES, target_of
from packnet_jax.convert.state_dict import from_state_dict
from packnet_jax.loss_config import Needs
from packnet_jax.sfm import PICTURES_ALONE, Networks


def golden_batch(name: str = "batch_64x96") -> Batch:
    """Two samples with two context images each, 64x96; one of 96x96 in "batch_generic_96x96"."""
    arrays = load_golden(f"models/{name}.npz")

    def context(name: str) -> np.ndarray:
        return np.stack([nhwc(arrays[f"{name}.{i}"]) for i in range(2)], axis=1)

    return Batch(
        rgb=nhwc(arrays["rgb"]),
        rgb_original=nhwc(arrays["rgb_original"]),
        rgb_context=context("rgb_context"),
        rgb_context_original=context("rgb_context_original"),
        intrinsics=arrays["intrinsics"],
        index=np.arange(len(arrays["rgb"]), dtype=np.int32),
        valid=np.ones(len(arrays["rgb"]), bool),
        depth=nhwc(arrays["depth"]),
        input_depth=nhwc(arrays["input_depth"]),
    )


def manifest_of(network: NetworkConfig) -> str:
    """Name of the manifest that lists a network's tensors, such as "PackNet01_1A"."""
    return f"{network.name}_{network.version}".removesuffix("_")


def seeded_variables(
    model: ModelConfig,
    image_shape: tuple[int, int],
    *,
    scaled: dict[str, float] | None = None,
    needs: Needs = PICTURES_ALONE,
) -> dict[str, Any]:
    """Both networks with the original's seeded weights.

    Args:
        scaled: tensors of the pose network, under the original's names, and their factors.
        needs: of an objective that may do without a pose network.
    """
    networks = Networks.from_config(model, needs)
    template = jax.eval_shape(lambda: networks.init(jax.random.key(0), image_shape, 2))
    filled = {}
    for name, network in (("depth_net", model.depth_net), ("pose_net", model.pose_net)):
        if name == "pose_net" and networks.pose_net is None:
            filled[name] = {}
            continue
        source = seeded_state_dict(manifest_of(network))
        if name == "pose_net":
            for tensor, factor in (scaled or {}).items():
                source[tensor] = source[tensor] * np.float32(factor)
        own = {collection: template[collection][name] for collection in template}
        filled[name] = from_state_dict(source, RULES[network.name], own)
    return {c: {name: filled[name].get(c, {}) for name in filled} for c in template}


def compare_model_gradients(
    parity: Parity,
    golden_set: str,
    golden: Mapping[str, np.ndarray],
    gradients: Mapping[str, Any],
    model: ModelConfig,
) -> None:
    """The norms of both networks' gradients."""
    rules = {"depth_net": RULES[model.depth_net.name], "pose_net": RULES[model.pose_net.name]}

    def path_of(name: str) -> str | None:
        network, _, source = name.partition(".")
        found = target_of(source, rules[network])
        return found and f"{network}/{found[0].removeprefix('params/')}"

    flat = traverse_util.flatten_dict(gradients, sep="/")
    compare_gradient_norms(parity, golden_set, golden, flat, path_of, tolerance=5e-3)
