"""One network for depth from a picture, and from a picture with sparse depth (PackNet-SAN)."""

import jax.numpy as jnp

from packnet_jax.batch import Batch
from packnet_jax.loss_config import LossConfig, needs_of
from packnet_jax.objectives.objective import Measured, Objective, Progress, given, has_begun
from packnet_jax.objectives.self_supervised import shown
from packnet_jax.objectives.semi_supervised import compare_with_measured, semi_supervised
from packnet_jax.sfm import Predictions

RGB_ENCODER = "depth_net/encoder"


def completion(loss: LossConfig) -> Objective:
    """The semi-supervised loss of the picture's depth; the supervised loss of the depth that sparse
    depth helped with, times w and `weight_rgbd`; and how far the features of both are apart.

    Before `completion_starts` the first alone.

    Source: Guizilini et al., CVPR 2021; packnet-sfm models/SemiSupCompletionModel.py.
    Differs: the reference mirrors the picture and its sparse depth for augmentation, but does not
        mirror the resulting depth back, and so compares it with measurements of the other side.
        In its metrics the RGB+depth loss stands under the name of the other. `completion_starts`
        and `freeze_rgb_encoder` are the paper's schedule, which its released code does not have.
    """
    from_picture = semi_supervised(loss)

    def measure(predictions: Predictions, batch: Batch, progress: Progress) -> Measured:
        learnt = from_picture.measure(predictions, batch, progress)
        completed = given(predictions.completed, "a prediction with sparse depth")
        supervised = compare_with_measured(loss, completed.inv_depth_pyramid, batch, progress)
        added = loss.supervised_loss_weight * loss.weight_rgbd * supervised + completed.depth_loss
        has_started = has_begun(progress, loss.completion_starts)
        terms = {"supervised_loss_rgbd": supervised, "depth_loss": completed.depth_loss}
        return Measured(
            learnt.total + jnp.where(has_started, added, 0.0),
            learnt.terms | terms,
            learnt.pictures._replace(inv_depth_rgbd=shown(completed.inv_depth_pyramid)),
        )

    return Objective(
        measure,
        needs_of("completion", loss),
        loss.flip_lr_prob,
        frozen=(RGB_ENCODER,) if loss.freeze_rgb_encoder else (),
        frozen_from=loss.completion_starts,
    )
