"""Where tests find real frames, which are not ours to ship."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "PACKNET_JAX_TEST_DATA"


def kitti_tiny() -> Path:
    """The folder of KITTI_tiny; skips the test where it is missing."""
    return _existing("kitti_tiny/KITTI_tiny", "KITTI_tiny")


def end_to_end(name: str) -> Any:
    """A JSON result of the original on KITTI_tiny; skips the test where it is missing."""
    return json.loads(
        _existing(f"../reference/end_to_end/{name}", "results of the original").read_text()
    )


def _existing(path: str, what: str) -> Path:
    root = os.environ.get(VARIABLE)
    if not root:
        pytest.skip(f"{VARIABLE} is not set: {what} can not be had without real frames")
    found = Path(root) / path
    if not found.exists():
        pytest.skip(f"{found} is missing: no {what}")
    return found
