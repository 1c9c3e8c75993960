"""Depth and motion from video, in metres: the camera's speed is known."""

from packnet_jax.batch import Batch
from packnet_jax.loss_config import LossConfig, needs_of
from packnet_jax.losses.velocity import velocity_loss
from packnet_jax.objectives.objective import Measured, Objective, Progress, given
from packnet_jax.objectives.self_supervised import measure_self_supervised
from packnet_jax.sfm import Predictions


def velocity(loss: LossConfig) -> Objective:
    """Self-supervised loss plus `velocity_loss_weight` times the error of the distance travelled.

    Source: Guizilini et al., CVPR 2020, equation 6; packnet-sfm models/VelSupModel.py.
    Differs: the reference's class can not be built (it assigns into a list by name), and leaves
        the velocity loss out of its metrics.
    """

    def measure(predictions: Predictions, batch: Batch, progress: Progress) -> Measured:
        learnt = measure_self_supervised(loss, predictions, batch, progress)
        speed = velocity_loss(
            given(predictions.context_T_target, "predicted motion"),
            given(batch.context_T_target, "measured motion"),
        )
        total = learnt.total + loss.velocity_loss_weight * speed
        return learnt._replace(total=total, terms=learnt.terms | {"velocity_loss": speed})

    return Objective(measure, needs_of("velocity", loss), loss.flip_lr_prob)
