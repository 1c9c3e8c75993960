"""What can be learnt from a batch: one module for each objective, chosen by name."""

from collections.abc import Callable, Mapping

from packnet_jax.loss_config import LossConfig, ObjectiveName
from packnet_jax.objectives.completion import completion
from packnet_jax.objectives.objective import Objective
from packnet_jax.objectives.reprojected import reprojected
from packnet_jax.objectives.self_supervised import self_supervised
from packnet_jax.objectives.semi_supervised import semi_supervised
from packnet_jax.objectives.velocity import velocity

OBJECTIVES: Mapping[ObjectiveName, Callable[[LossConfig], Objective]] = {
    "self_supervised": self_supervised,
    "velocity": velocity,
    "semi_supervised": semi_supervised,
    "reprojected": reprojected,
    "completion": completion,
}
"""By `config.objective`."""
