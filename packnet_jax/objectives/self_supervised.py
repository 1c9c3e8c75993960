"""Depth and motion from video alone: warped context pictures must look like the target."""

from functools import partial

import jax.numpy as jnp
from jax import lax

from packnet_jax.batch import Batch
from packnet_jax.image import resize_nearest
from packnet_jax.loss_config import LossConfig, needs_of
from packnet_jax.losses.photometric import multi_view_photometric_loss
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
        mask=batch.mask,
    )
    pictures = Pictures(
        rgb=batch.rgb_original[0],
        inv_depth=lax.stop_gradient(pyramid[0][0]),
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
