"""Frame stores as builders write them, opened without a configuration."""

from collections.abc import Callable
from functools import partial
from typing import Any

from packnet_jax.data.store import FrameStore, open_store
from tfds_builders.frames import ALLOW_MISSING, FramesBuilder


def open_built(
    from_options: Callable[..., FramesBuilder],
    *,
    allow_missing: float = ALLOW_MISSING,
    **options: Any,
) -> FrameStore:
    """The frames of the set that `from_options` makes the builder of, built on first use."""
    return open_store(partial(from_options, **options), allow_missing=allow_missing)
