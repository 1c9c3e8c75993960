"""The batch every layer agrees on."""

from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Int

AnyArray = Any  # numpy on the host, jax on a device


class Batch(NamedTuple):
    """Training samples; a pytree whose absent fields are None.

    The same colour jitter is applied to a target and its context frames; the `_original` images
    are free of it and are what the photometric loss compares.
    """

    rgb: Float[AnyArray, "b h w 3"]
    """Target image, in [0, 1], after colour jitter: what the networks see."""

    rgb_original: Float[AnyArray, "b h w 3"]
    """Target image without jitter: what the losses see."""

    rgb_context: Float[AnyArray, "b n h w 3"]
    """Context images after jitter: backward frames oldest first, then forward frames."""

    rgb_context_original: Float[AnyArray, "b n h w 3"]
    """Context images without jitter."""

    intrinsics: Float[AnyArray, "b 3 3"]
    """Camera matrix K in pixels of `rgb`."""

    index: Int[AnyArray, " b"]
    """Number of the sample, counted through the training sets one after the other."""

    valid: Bool[AnyArray, " b"]
    """False for rows that only pad a short batch."""

    depth: Float[AnyArray, "b h w 1"] | None = None
    """Measured depth at the size of `rgb`, metres, 0 where there is none; along z, or along the ray
    where the cameras are no pinholes."""

    context_T_target: Float[AnyArray, "b n 4 4"] | None = None
    """Measured camera motion, metres."""

    rgb_stereo: Float[AnyArray, "b h w 3"] | None = None
    """The other eye's image without jitter."""

    stereo_T_target: Float[AnyArray, "b 4 4"] | None = None
    """Transform from the target camera to the other eye, metres."""

    input_depth: Float[AnyArray, "b h w 1"] | None = None
    """Sparse depth that the depth network sees beside `rgb`, at its size, metres, 0 = none."""

    mask: Float[AnyArray, "b h w 1"] | None = None
    """1 where the target's pixels count, 0 where losses must ignore them (a bonnet, a mirror's
    ring); None where all count."""
