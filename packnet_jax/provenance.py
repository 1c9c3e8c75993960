"""Under which conditions a run starts: devices, versions, code, configuration, data."""

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax
from flax.traverse_util import flatten_dict

from packnet_jax import config as config_lib
from packnet_jax.config import Config
from packnet_jax.data.open import DataSets

LIBRARIES = ("packnet_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
ROOT = Path(__file__).parents[1]
HASH_DIGITS = 16


def start_conditions(config: Config, data: DataSets) -> dict[str, Any]:
    """`devices`, `processes`, `versions`, `commit`, `config_hash` and `data`, ready for JSON."""
    return {
        "devices": [str(device) for device in jax.devices()],
        "processes": jax.process_count(),
        "host": platform.node(),
        "versions": versions(),
        "commit": git_commit(),
        "config_hash": config_hash(config),
        "data": data.fingerprints(),
    }


def shared_conditions(config: Config) -> dict[str, Any]:
    """What has to be the same for all processes of a run, before they open data: each field of the
    configuration, the libraries' versions, and the commit, if it is known. By name, for JSON."""
    fields = flatten_dict(config_lib.to_json_dict(config), sep=".")
    found: dict[str, Any] = {f"config.{name}": value for name, value in fields.items()}
    found |= {f"version of {name}": _version(name) for name in LIBRARIES}
    commit = git_commit()
    return found if commit is None else found | {"commit": commit}


def versions() -> dict[str, str]:
    """Of Python, the system, the libraries that numbers depend on, and the kinds of devices."""
    found = {name: _version(name) for name in LIBRARIES}
    found |= {"python": platform.python_version(), "platform": platform.platform()}
    return found | {"devices": ", ".join(sorted({d.device_kind for d in jax.devices()}))}


def config_hash(config: Config) -> str:
    """The same for the same values of all fields."""
    raw = json.dumps(config_lib.to_json_dict(config), sort_keys=True)
    return hashlib.sha256(raw.encode()).hexdigest()[:HASH_DIGITS]


def git_commit(root: Path = ROOT) -> str | None:
    """The commit that is checked out, with `-dirty` where files differ; None outside a checkout."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git, or a folder of somebody else's
        return None


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed (run from its folder)"
