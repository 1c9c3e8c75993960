"""Depth, motion and the camera itself, learned from video: neural ray surfaces."""

import jax.numpy as jnp

from packnet_jax.batch import Batch
from packnet_jax.errors import ConfigError
from packnet_jax.geometry.ray_surface import (
    compose_rays,
    fitting_temperature,
    residual_weight,
    softmax_temperature,
)
from packnet_jax.loss_config import LossConfig, needs_of
from packnet_jax.losses.ray_surface import ray_surface_photometric_loss
from packnet_jax.objectives.objective import Measured, Objective, Progress, given
from packnet_jax.objectives.self_supervised import (
    measured_by_pictures,
    photometric_settings,
    upsampled,
)
from packnet_jax.ray_template import RayTemplate
from packnet_jax.sfm import Predictions


def ray_surface(loss: LossConfig, template: RayTemplate) -> Objective:
    """Photometric and smoothness loss of pictures whose camera is template plus residual.

    The depth is the distance along each pixel's ray.

    Args:
        loss: settings.
        template: unit rays at the size of the batch's images, which every sample starts from.

    Raises:
        ConfigError: a temperature is to fit the template, whose rays are too close for that.

    Source: packnet-sfm models/GenericSelfSupModel.py: GenericSelfSupModel.forward.
    Differs: works, and with any batch; the reference calls a method that does not exist.
    """
    settings = photometric_settings(loss)
    start, end = _temperatures(loss, template)

    def measure(predictions: Predictions, batch: Batch, progress: Progress) -> Measured:
        motion = given(predictions.context_T_target, "predicted motion")
        residual = given(predictions.ray_residual, "a predicted ray surface")
        if template.rays.shape[:2] != batch.rgb.shape[1:3]:
            raise ValueError(
                f"the ray template is {template.rays.shape[0]}x{template.rays.shape[1]}, the "
                f"images {batch.rgb.shape[1]}x{batch.rgb.shape[2]}; make one with --image_shape"
            )
        weight = residual_weight(progress, loss.ray_residual_schedule)
        temperature = softmax_temperature(progress, start=start, end=end)
        pyramid = upsampled(loss, predictions.inv_depth_pyramid)
        sees = jnp.asarray(template.valid, batch.rgb.dtype)[None, ..., None]
        shape = (*batch.rgb.shape[:3], 1)
        mask = jnp.broadcast_to(sees if batch.mask is None else sees * batch.mask, shape)
        result = ray_surface_photometric_loss(
            batch.rgb_original,
            batch.rgb_context_original,
            pyramid,
            compose_rays(jnp.asarray(template.rays), residual, weight),
            motion,
            temperature=temperature,
            half_resolution=loss.ray_half_resolution,
            settings=settings,
            progress=progress,
            mask=None if template.valid.all() and batch.mask is None else mask,
        )
        measured = measured_by_pictures(batch, pyramid, result)
        of_rays = {"ray_residual_weight": weight, "ray_temperature": temperature}
        return measured._replace(terms=measured.terms | of_rays)

    return Objective(measure, needs_of("ray_surface", loss), loss.flip_lr_prob)


def _temperatures(loss: LossConfig, template: RayTemplate) -> tuple[float, float]:
    """At the start and the end of training; the configuration's 0 is what fits the template."""
    given_both = loss.ray_start_temperature, loss.ray_end_temperature
    if all(given_both):
        return given_both
    try:
        fitting = fitting_temperature(template.rays, half_resolution=loss.ray_half_resolution)
    except ValueError as error:
        raise ConfigError(
            "config.loss.ray_start_temperature, config.loss.ray_end_temperature: given "
            f"{given_both}, where 0 is what fits the ray template, but {error}; give both"
        ) from error
    return given_both[0] or fitting, given_both[1] or fitting
