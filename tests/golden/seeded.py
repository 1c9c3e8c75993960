"""Weights made from their names, so that the golden values need no weight files.

The generator of a tensor is PCG64 seeded with crc32(name) + 2**32 * seed. Its values are drawn in
float64 in C order and rounded to float32 last; what is drawn follows from the last part of the
name and from the rank.
"""

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

GOLDEN_DIR = Path(__file__).parent


def generator(name: str, seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64((seed << 32) + zlib.crc32(name.encode())))


def seeded_uniform(
    name: str, shape: tuple[int, ...], seed: int = 0, low: float = 0.0, high: float = 1.0
) -> np.ndarray:
    unit = generator(name, seed).random(shape)
    return (low + (high - low) * unit).astype(np.float32)


def seeded_tensor(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    kind = name.split(".")[-1]
    if kind == "num_batches_tracked":
        return np.ones(shape, np.int64)
    noise = generator(name, seed).standard_normal(shape)
    match kind, len(shape):
        case "weight", 0 | 1:
            values = 1 + 0.1 * noise
        case "weight", _:
            values = noise / math.sqrt(math.prod(shape[1:]))
        case "kernel", _:
            values = noise / math.sqrt(math.prod(shape[:-1]))
        case "bias" | "running_mean", _:
            values = 0.1 * noise
        case "running_var", _:
            values = 1 + 0.1 * np.abs(noise)
        case _:
            raise ValueError(f"no rule for {name!r}")
    return np.asarray(values, np.float32)


def load_manifest(network: str) -> dict:
    return json.loads((GOLDEN_DIR / "manifests" / f"{network}.json").read_text())


def seeded_state_dict(network: str, prefix: str = "") -> dict[str, np.ndarray]:
    """The original's state dict for `network`, such as "PackNet01_1A"; of names with `prefix`."""
    manifest = load_manifest(network)
    return {
        entry["name"]: seeded_tensor(entry["name"], tuple(entry["shape"]), manifest["seed"])
        for entry in manifest["tensors"]
        if entry["name"].startswith(prefix)
    }


def digest(state_dict: Mapping[str, np.ndarray]) -> int:
    crc = 0
    for tensor in state_dict.values():
        crc = zlib.crc32(np.ascontiguousarray(tensor), crc)
    return crc


def load_golden(path: str) -> dict[str, np.ndarray]:
    """The arrays of a golden file, such as "nets/PoseNet.npz"."""
    with np.load(GOLDEN_DIR / path) as arrays:
        return dict(arrays)
