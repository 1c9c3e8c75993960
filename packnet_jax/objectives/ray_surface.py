"""Depth, motion and the camera itself, learned from video: neural ray surfaces."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from packnet_jax.batch import Batch
from packnet_jax.config import LossConfig
from packnet_jax.geometry.ray_surface import (
    END_TEMPERATURE,
    START_TEMPERATURE,
    ResidualSchedule,
    compose_rays,
    flip_rays,
    residual_weight,
    softmax_temperature,
)
from packnet_jax.geometry.transforms import pose_vector_to_transform
from packnet_jax.image import resize_nearest
from packnet_jax.losses.ray_surface import ray_surface_photometric_loss
from packnet_jax.sfm import (
    Networks,
    Objective,
    Pictures,
    Predictions,
    Variables,
    apply_network,
    flip_if,
)


class RaySurfaceOptions(NamedTuple):
    """How the camera is learned; the defaults are the released code's."""

    residual_schedule: ResidualSchedule = "released"
    """See `residual_weight`."""
    start_temperature: float = START_TEMPERATURE
    """See `softmax_temperature`."""
    end_temperature: float = END_TEMPERATURE
    half_resolution: bool = True
    """See `project_softmax`."""


RELEASED = RaySurfaceOptions()


class RaySurfacePredictions(NamedTuple):
    """What the networks say of a batch."""

    predictions: Predictions
    """The inverse depth is that of the distance along each pixel's ray."""
    ray_residual: Float[Array, "b h w 3"]
    """In (-1, 1); `compose_rays` adds it to a template."""


def predict_ray_surface(
    networks: Networks,
    variables: Variables,
    batch: Batch,
    *,
    flip: Bool[Array, ""] | bool = False,
    dropout_key: PRNGKeyArray | None = None,
) -> RaySurfacePredictions:
    """Runs a RaySurfaceResNet and a pose network in training mode.

    Args:
        flip: whether the depth network sees the mirrored image; depth and rays are mirrored back.
        dropout_key: decides what a depth network with dropout drops; others need none.

    Source: packnet-sfm models/GenericSfmModel.py: GenericSfmModel.forward.
    Differs: can flip; the reference never does.
    """
    flip = jnp.asarray(flip)
    output, depth_stats = apply_network(
        networks,
        "depth_net",
        variables,
        flip_if(flip, batch.rgb),
        key=dropout_key,
        method="with_ray_surface",
    )
    pose_vector, pose_stats = apply_network(
        networks, "pose_net", variables, batch.rgb, batch.rgb_context
    )
    predictions = Predictions(
        inv_depth_pyramid=tuple(flip_if(flip, d) for d in output.inv_depth_pyramid),
        context_T_target=pose_vector_to_transform(pose_vector),
        batch_stats={"depth_net": depth_stats, "pose_net": pose_stats},
    )
    residual = output.ray_surface
    return RaySurfacePredictions(predictions, jnp.where(flip, flip_rays(residual), residual))


def ray_surface_objective(
    networks: Networks,
    variables: Variables,
    batch: Batch,
    loss: LossConfig,
    *,
    template: Float[Array, "h w 3"],
    progress: Float[Array, ""] | float,
    options: RaySurfaceOptions = RELEASED,
    flip: Bool[Array, ""] | bool = False,
    dropout_key: PRNGKeyArray | None = None,
    mask: Float[Array, "b h w 1"] | None = None,
) -> Objective:
    """Photometric and smoothness loss of one batch whose camera is template plus residual.

    Args:
        template: unit rays at the size of the batch's images, which every sample starts from.
        progress: how far training has come, in [0, 1].
        options: how the camera is learned.
        flip: see `predict_ray_surface`.
        dropout_key: see `predict_ray_surface`.
        mask: 1 where a pixel counts.

    Raises:
        ValueError: the template is not of the images' size.

    Source: packnet-sfm models/GenericSelfSupModel.py: GenericSelfSupModel.forward.
    Differs: works, and with any batch; the reference calls a method that does not exist.
    """
    if template.shape[:2] != batch.rgb.shape[1:3]:
        raise ValueError(
            f"the ray template is {template.shape[0]}x{template.shape[1]}, the images "
            f"{batch.rgb.shape[1]}x{batch.rgb.shape[2]}; make one with --image_shape"
        )
    predictions, residual = predict_ray_surface(
        networks, variables, batch, flip=flip, dropout_key=dropout_key
    )
    weight = residual_weight(progress, options.residual_schedule)
    temperature = softmax_temperature(
        progress, start=options.start_temperature, end=options.end_temperature
    )
    pyramid = predictions.inv_depth_pyramid
    if loss.upsample_depth_maps:
        full_shape = pyramid[0].shape[1:3]
        pyramid = tuple(resize_nearest(inv_depth, full_shape) for inv_depth in pyramid)
    result = ray_surface_photometric_loss(
        batch.rgb_original,
        batch.rgb_context_original,
        pyramid,
        compose_rays(template, residual, weight),
        predictions.context_T_target,
        temperature=temperature,
        half_resolution=options.half_resolution,
        num_scales=loss.num_scales,
        ssim_loss_weight=loss.ssim_loss_weight,
        smooth_loss_weight=loss.smooth_loss_weight,
        C1=loss.C1,
        C2=loss.C2,
        photometric_reduce_op=loss.photometric_reduce_op,
        clip_loss=loss.clip_loss,
        automask_loss=loss.automask_loss,
        padding_mode=loss.padding_mode,
        progressive_scaling=loss.progressive_scaling,
        progress=progress,
        mask=mask,
    )
    terms = {
        "loss": result.total,
        "photometric_loss": result.photometric,
        "smoothness_loss": result.smoothness,
        "ray_residual_weight": weight,
        "ray_temperature": temperature,
    }
    pictures = Pictures(
        rgb=batch.rgb_original[0],
        inv_depth=lax.stop_gradient(pyramid[0][0]),
        warped_context=result.maps.warped[0],
        photometric_error=result.maps.error[0],
        automask=result.maps.automask[0],
    )
    return Objective(result.total, terms, predictions.batch_stats, pictures)
