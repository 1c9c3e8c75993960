"""Depth from measured depth, alone or beside video."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from packnet_jax.batch import Batch
from packnet_jax.depth_maps import depth_to_inv_depth
from packnet_jax.loss_config import LossConfig, needs_of
from packnet_jax.losses.photometric import scale_weights
from packnet_jax.losses.supervised import supervised_loss
from packnet_jax.objectives.objective import (
    Measured,
    Objective,
    Pictures,
    Progress,
    given,
    has_begun,
)
from packnet_jax.objectives.self_supervised import measure_self_supervised, shown, upsampled
from packnet_jax.sfm import Predictions


def semi_supervised(loss: LossConfig) -> Objective:
    """(1 - w) times the self-supervised loss plus w times the supervised one.

    With w = 1 there is no motion to learn. Before `supervision_starts` the loss is the
    self-supervised one alone, at full weight.

    Source: packnet-sfm models/SemiSupModel.py: SemiSupModel.
    Differs: the reference does not tell its self-supervised part how far training has come.
        `supervision_starts` is an addition, 0 by default.
    """

    def measure(predictions: Predictions, batch: Batch, progress: Progress) -> Measured:
        pyramid = upsampled(loss, predictions.inv_depth_pyramid)
        supervised = compare_with_measured(loss, pyramid, batch, progress)
        if loss.supervised_loss_weight == 1:
            return Measured(
                supervised,
                {"supervised_loss": supervised},
                with_measured(Pictures(batch.rgb_original[0], shown(pyramid)), batch),
            )
        learnt = measure_self_supervised(loss, predictions, batch, progress)
        has_started = has_begun(progress, loss.supervision_starts)
        weight = jnp.where(has_started, loss.supervised_loss_weight, 0.0)
        total = (1 - weight) * learnt.total + weight * supervised
        terms = learnt.terms | {"supervised_loss": supervised}
        return Measured(total, terms, with_measured(learnt.pictures, batch))

    return Objective(measure, needs_of("semi_supervised", loss), loss.flip_lr_prob)


def compare_with_measured(
    loss: LossConfig,
    pyramid: tuple[Float[Array, "b _h _w 1"], ...],
    batch: Batch,
    progress: Progress,
) -> Float[Array, ""]:
    """The supervised loss of predictions for a batch that holds depth."""
    return supervised_loss(
        pyramid,
        depth_to_inv_depth(counted_depth(batch)),
        supervised_method=loss.supervised_method,
        supervised_num_scales=loss.supervised_num_scales,
        scale_weights=scale_weights(loss.supervised_num_scales, loss.progressive_scaling, progress),
    )


def counted_depth(batch: Batch) -> Float[Array, "b h w 1"]:
    """What was measured, 0 where the mask says that pixels do not count."""
    depth = given(batch.depth, "measured depth")
    return depth if batch.mask is None else depth * batch.mask


def with_measured(pictures: Pictures, batch: Batch) -> Pictures:
    """The pictures and what was measured."""
    return pictures._replace(measured_inv_depth=depth_to_inv_depth(counted_depth(batch)[0]))
