"""Depth and motion from video, with the scale of a few LiDAR beams."""

import jax.numpy as jnp

from packnet_jax.batch import Batch
from packnet_jax.loss_config import LossConfig, needs_of
from packnet_jax.losses.reprojected import reprojected_distance_loss
from packnet_jax.objectives.objective import Measured, Objective, Progress, given, has_begun
from packnet_jax.objectives.self_supervised import measure_self_supervised, upsampled
from packnet_jax.objectives.semi_supervised import counted_depth, with_measured
from packnet_jax.sfm import Predictions


def reprojected(loss: LossConfig) -> Objective:
    """Self-supervised loss plus `reprojected_loss_weight` times the reprojected distance.

    Before `supervision_starts` the loss is the self-supervised one alone: a first stage, without
    which the distance has nothing to say, since it is 0 while nothing moves.

    Source: Guizilini et al., CoRL 2019; see `reprojected_distance_loss` for what is known of it.
    """

    def measure(predictions: Predictions, batch: Batch, progress: Progress) -> Measured:
        learnt = measure_self_supervised(loss, predictions, batch, progress)
        distance = reprojected_distance_loss(
            upsampled(loss, predictions.inv_depth_pyramid),
            counted_depth(batch),
            batch.intrinsics,
            given(predictions.context_T_target, "predicted motion"),
            num_scales=loss.supervised_num_scales,
            update_pose=loss.reprojected_updates_pose,
        )
        has_started = has_begun(progress, loss.supervision_starts)
        weight = jnp.where(has_started, loss.reprojected_loss_weight, 0.0)
        terms = learnt.terms | {"reprojected_distance": distance}
        total = learnt.total + weight * distance
        return Measured(total, terms, with_measured(learnt.pictures, batch))

    return Objective(measure, needs_of("reprojected", loss), loss.flip_lr_prob)
