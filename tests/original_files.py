"""Checkpoints as the original writes them, with the seeded weights of the golden files."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
from golden.seeded import GOLDEN_DIR, seeded_state_dict
from torch_files import CONTAINERS

CONFIG = json.loads((GOLDEN_DIR / "ckpt" / "config.json").read_text())
"""The configuration of a run of the original, as its checkpoints hold it."""

EPOCH = 7


def config_of(depth_net: str, pose_net: str) -> dict[str, Any]:
    """The configuration with other networks, such as "PackNet01_1A"; "" for none."""
    config = copy.deepcopy(CONFIG)
    for kind, network in (("depth_net", depth_net), ("pose_net", pose_net)):
        name, _, version = network.partition("_")
        config["model"][kind] |= {"name": name, "version": version}
    return config


def state_dict_of(depth_net: str, pose_net: str) -> dict[str, np.ndarray]:
    """Seeded weights of both networks under the original's names; "" for none."""
    return {
        f"model.{kind}.{name}": tensor
        for kind, network in (("depth_net", depth_net), ("pose_net", pose_net))
        if network
        for name, tensor in seeded_state_dict(network).items()
    }


def content_of(depth_net: str, pose_net: str) -> dict[str, Any]:
    """A whole checkpoint."""
    return {
        "config": config_of(depth_net, pose_net),
        "epoch": EPOCH,
        "state_dict": state_dict_of(depth_net, pose_net),
        "optimizer": {"state": {0: {"step": 3, "exp_avg": np.ones(5, np.float32)}}},
        "scheduler": {"step_size": 30, "last_epoch": EPOCH},
    }


def write(path: Path, content: Any, container: str = "zip") -> Path:
    path.write_bytes(CONTAINERS[container](content))
    return path
