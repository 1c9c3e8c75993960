"""Depth and motion from video alone: warped context pictures must look like the target."""

from dataclasses import fields
from functools import partial

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from packnet_jax.batch import Batch
from packnet_jax.image import resize_nearest
from packnet_jax.loss_config import LossConfig, needs_of
from packnet_jax.losses.photometric import (
    PhotometricResult,
    PhotometricSettings,
    multi_view_photometric_loss,
)
from packnet_jax.objectives.objective import Measured, Objective, Pictures, Progress, given
from packnet_jax.sfm import Predictions


def self_supervised(loss: LossConfig) -> Objective:
    """Photometric and smoothness loss.

    Source: packnet-sfm models/SelfSupModel.py: SelfSupModel.
    """
    measure = partial(measure_self_supervised, loss)
    return Objective(measure, needs_of("self_supervised", loss), loss.flip_lr_prob)


def measure_self_supervised(
    loss: LossConfig, predictions: Predictions, batch: Batch, progress: Progress
) -> Measured:
    """Terms `photometric_loss` and `smoothness_loss`, which add up to the total."""
    pyramid = upsampled(loss, predictions.inv_depth_pyramid)
    result = multi_view_photometric_loss(
        batch.rgb_original,
        batch.rgb_context_original,
        pyramid,
        batch.intrinsics,
        given(predictions.context_T_target, "predicted motion"),
        settings=photometric_settings(loss),
        progress=progress,
        mask=batch.mask,
    )
    return measured_by_pictures(batch, pyramid, result)


def photometric_settings(loss: LossConfig) -> PhotometricSettings:
    """The settings of the photometric loss, which `LossConfig` has under the same names."""
    own = {field.name: getattr(loss, field.name) for field in fields(PhotometricSettings)}
    return PhotometricSettings(**own)


def measured_by_pictures(
    batch: Batch, pyramid: tuple[Float[Array, "b _h _w 1"], ...], result: PhotometricResult
) -> Measured:
    """What a photometric loss of these inverse depths says, and what it looked at."""
    pictures = Pictures(
        rgb=batch.rgb_original[0],
        inv_depth=shown(pyramid),
        warped_context=result.maps.warped[0],
        photometric_error=jnp.mean(result.maps.error[0], -1, keepdims=True),
        automask=jnp.mean(result.maps.automask[0], -1, keepdims=True),
    )
    terms = {"photometric_loss": result.photometric, "smoothness_loss": result.smoothness}
    return Measured(result.total, terms, pictures)


def upsampled(loss: LossConfig, pyramid):
    """All scales at the finest one's size, if the configuration wants that."""
    if not loss.upsample_depth_maps:
        return pyramid
    return tuple(resize_nearest(inv_depth, pyramid[0].shape[1:3]) for inv_depth in pyramid)


def shown(pyramid: tuple[Float[Array, "b _h _w 1"], ...]) -> Float[Array, "h w 1"]:
    """The first sample's finest map, for a picture."""
    return lax.stop_gradient(pyramid[0][0])
