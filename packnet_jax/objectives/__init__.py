"""What can be learnt from a batch: one module for each objective, chosen by name."""

from collections.abc import Callable, Mapping

from packnet_jax.loss_config import LossConfig, ObjectiveName
from packnet_jax.objectives.completion import completion
from packnet_jax.objectives.objective import Objective
from packnet_jax.objectives.ray_surface import ray_surface
from packnet_jax.objectives.reprojected import reprojected
from packnet_jax.objectives.self_supervised import self_supervised
from packnet_jax.objectives.semi_supervised import semi_supervised
from packnet_jax.objectives.velocity import velocity
from packnet_jax.ray_template import RayTemplate

_OBJECTIVES: Mapping[ObjectiveName, Callable[[LossConfig], Objective]] = {
    "self_supervised": self_supervised,
    "velocity": velocity,
    "semi_supervised": semi_supervised,
    "reprojected": reprojected,
    "completion": completion,
}


def make_objective(
    name: ObjectiveName, loss: LossConfig, *, ray_template: RayTemplate | None = None
) -> Objective:
    """The objective of that name.

    Args:
        name: `config.objective`.
        loss: its settings.
        ray_template: the camera that "ray_surface" starts from.

    Raises:
        ValueError: "ray_surface" was given no template.
    """
    if name != "ray_surface":
        return _OBJECTIVES[name](loss)
    if ray_template is None:
        raise ValueError("a ray surface starts from a template, but none was given")
    return ray_surface(loss, ray_template)
