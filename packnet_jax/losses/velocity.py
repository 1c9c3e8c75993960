"""Supervision by measured speed, which gives depth and motion their metric scale."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from packnet_jax.bounds import magnitude
from packnet_jax.losses.safe import norm


def velocity_loss(
    predicted: Float[Array, "b n 4 4"], measured: Float[Array, "b n 4 4"]
) -> Float[Array, ""]:
    """Mean over batch and contexts of | |t predicted| - |t measured| |, in metres.

    Only the distance that the camera moved counts, not the direction, so it does not matter
    whether transforms are from the target to the contexts or back.

    Source: Guizilini et al., CVPR 2020, equation 6; packnet-sfm losses/velocity_loss.py.
    """
    travelled = norm(predicted[..., :3, 3])
    return jnp.mean(magnitude(travelled - norm(measured[..., :3, 3])))
