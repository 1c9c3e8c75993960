"""Weights made ready for inference, once."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from packnet_jax.networks.layers import SIZE_DIVISOR
from packnet_jax.networks.packnet import PackNet


def fold(depth_net: nn.Module, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The same weights, with all that inference would else compute from them for every image.

    That is the composed kernels of PackNet's packing blocks, in float32, as the collection
    "composed" (two thirds of the weights again). Of other networks it is nothing. Training must not
    be given the collection: its gradients would not reach the parameters.

    Args:
        depth_net: the network that they are for.
        variables: its `params` and, where it has them, `batch_stats`.
    """
    variables = dict(variables)
    if not isinstance(depth_net, PackNet) or depth_net.packing != "fused":
        return variables
    return {**variables, "composed": _composed(depth_net, variables)}


@partial(jax.jit, static_argnums=0)
def _composed(depth_net: nn.Module, variables: dict[str, Any]) -> dict[str, Any]:
    """What its packing blocks store while it looks at a picture; the compiler drops the rest."""
    picture = jnp.zeros((1, SIZE_DIVISOR, SIZE_DIVISOR, 3))
    _, stored = depth_net.apply(variables, picture, train=False, mutable=["composed"])
    return dict(stored["composed"])
