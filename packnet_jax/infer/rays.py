"""Where each pixel looks, of networks that have learned it: neural ray surfaces.

Their depth is the distance along each pixel's ray. The rays are those that training ended with,
template + weight * residual: the weight follows the progress of training alone, and from 0.316
('released') or 0.2 ('paper') of it on it is 1. So the template alone is the camera of no finished
training, in the original as here.

Source: packnet-sfm losses/generic_multiview_photometric_loss.py: warp_ref_image; the original's
    inference writes no points, and passes the residual over.
"""

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from packnet_jax.checkpoint import CHECKPOINTS
from packnet_jax.errors import ConfigError
from packnet_jax.geometry.ray_surface import compose_rays, residual_weight
from packnet_jax.infer.options import RayOptions
from packnet_jax.networks.ray_surface_resnet import RaySurfaceResNet
from packnet_jax.ray_template import RUN_TEMPLATE, RayTemplate, load_template
from packnet_jax.trained import TrainedNetwork


class RaySurface(NamedTuple):
    """The camera of one training."""

    template: RayTemplate
    origin: str
    """The template's file."""
    residual_weight: float
    """How much of the network's residual counts."""

    def of(self, residual: Float[ndarray, "h w 3"]) -> RayTemplate:
        """The unit rays that a picture's residual makes of the template."""
        template, added = jnp.asarray(self.template.rays), jnp.asarray(residual)
        rays = compose_rays(template, added, self.residual_weight)
        return RayTemplate(np.asarray(rays), self.template.valid)


def is_ray_surface(trained: TrainedNetwork) -> bool:
    """Whether the network's depth is along rays that it has learned, too.

    The original trains RaySurfaceResNet in no other way, and its weights alone do not say how.
    """
    is_original = trained.step == 0 and isinstance(trained.network, RaySurfaceResNet)
    return trained.config.needs.ray_surface or is_original


def find_ray_surface(
    trained: TrainedNetwork, options: RayOptions, shape: tuple[int, int]
) -> RaySurface | None:
    """The rays that training ended with; None where their template is not to be found.

    The template is that of the options, else the one that the run has left in its workdir, else
    the file that its configuration names.

    Args:
        shape: height and width that the network works at.

    Raises:
        DataError: there is a template, but it can not be read, or is of another size.
    """
    path = options.template or next(filter(Path.is_file, _candidates(trained)), None)
    if path is None:
        return None
    weight = options.residual_weight
    if weight is None:
        weight = trained_residual_weight(trained)
    return RaySurface(load_template(path, shape), str(path), weight)


def no_template(trained: TrainedNetwork) -> str:
    """Why there are no rays, and what to do."""
    searched = ", ".join(f"no file {path}" for path in _candidates(trained))
    return (
        f"the template that the rays of {trained.folder} start from is not to be found "
        f"({searched or 'nothing says where'}); give --ray_template=FILE, the one of its training"
    )


def trained_residual_weight(trained: TrainedNetwork) -> float:
    """The weight at the checkpoint's step.

    Where the length of training is unknown, it is 1: of the original's weights, and of runs whose
    length is a number of epochs.
    """
    num_steps = trained.config.train.num_steps
    if trained.step == 0 or num_steps == 0:
        return 1.0
    schedule = trained.config.loss.ray_residual_schedule
    return float(residual_weight(trained.step / num_steps, schedule))


def check_ray_options(trained: TrainedNetwork, options: RayOptions) -> None:
    """Raises ConfigError where rays are given to a network that has learned none."""
    given = {
        "--ray_template": options.template,
        "--ray_residual_weight": options.residual_weight,
    }
    for flag, value in given.items():
        if value is not None:
            model = trained.config.model.depth_net
            raise ConfigError(
                f"{flag}: given {value}, but {model.name}{model.version} of {trained.folder} has "
                "learned no rays; its camera is a pinhole, which --intrinsics describes"
            )


def _candidates(trained: TrainedNetwork) -> list[Path]:
    """Where the template of a training may be."""
    named, step_folder = trained.config.loss.ray_template, trained.folder.resolve()
    candidates = [Path(named).expanduser()] if named else []
    if step_folder.parent.name == CHECKPOINTS:
        candidates.insert(0, step_folder.parent.parent / RUN_TEMPLATE)
    return candidates
