"""Batches as they travel: pictures in bytes until a device makes floats of them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from packnet_jax.augment import Jitter, apply_jitter
from packnet_jax.batch import AnyArray, Batch
from packnet_jax.image import to_float


class PackedBatch(NamedTuple):
    """What `unpack` makes a `Batch` of; a pytree whose absent fields are None."""

    frames: tuple[UInt8[AnyArray, "b h w 3"], ...]
    """The target and then its contexts, without jitter."""

    jittered: tuple[UInt8[AnyArray, "b h w 3"], ...] | None
    """The same after jitter; None without jitter, or where it is left to the device."""

    jitter: Jitter | None
    """A draw for each sample, where the jitter is left to the device; else None."""

    stereo: UInt8[AnyArray, "b h w 3"] | None
    """The other eye's image without jitter; None if it is not asked for."""

    others: dict[str, Any]
    """The fields of `Batch` that hold no pictures, by name, without the absent ones."""


@jax.jit
def unpack(packed: PackedBatch) -> Batch:
    """The batch in floats, jittered.

    The floats equal the host's bit by bit (`image.to_float`); jitter that is left to the device is
    at most a level away from the host's (`packnet_jax.augment`).
    """
    frames = jittered = to_float(jnp.stack(packed.frames, axis=1))
    if packed.jittered is not None:
        jittered = to_float(jnp.stack(packed.jittered, axis=1))
    elif packed.jitter is not None:
        jittered = jax.vmap(apply_jitter)(frames, packed.jitter)
    return Batch(
        rgb=jittered[:, 0],
        rgb_original=frames[:, 0],
        rgb_context=jittered[:, 1:],
        rgb_context_original=frames[:, 1:],
        rgb_stereo=None if packed.stereo is None else to_float(packed.stereo),
        **packed.others,
    )


def stack(samples: list[PackedBatch]) -> PackedBatch:
    """Puts samples, without the batch axis, together: the only copy that is made of pictures."""
    return jax.tree.map(lambda *parts: np.stack(parts), *samples)
