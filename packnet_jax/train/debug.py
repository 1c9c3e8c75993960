"""`--debug`: a step that is not finite ends the run, and the operation that made it so is named."""

from typing import Any

import jax

from packnet_jax.batch import Batch
from packnet_jax.errors import TrainingError
from packnet_jax.train.first_nonfinite import first_nonfinite
from packnet_jax.train.state import TrainState
from packnet_jax.train.step import StepOutput, TrainStep


def stop_at_nonfinite(
    train_step: TrainStep, state: TrainState, batch: Batch, output: StepOutput
) -> None:
    """Does nothing after a step with a finite loss and finite gradients.

    Args:
        train_step: what was run.
        state: after the step; one that was skipped has the variables of before.
        batch: what it saw.
        output: what it measured.

    Raises:
        TrainingError: the step was skipped; the message says which operation first had a result
            that is not finite, where it is in the code, and what it was given.
    """
    if not int(output.scalars["nonfinite_in_a_row"]):
        return
    device = jax.local_devices()[0]
    after: Any = state
    before = after.replace(step=state.step - 1)
    arguments = {"state": jax.device_put(before, device), "batch": jax.device_put(batch, device)}
    for name, called in (("loss", "the loss"), ("gradient_norm", "the norm of the gradients")):
        what = first_nonfinite(train_step, arguments, lambda result, n=name: result[1].scalars[n])
        if what is not None:
            raise TrainingError(
                f"--debug: in step {int(state.step)} {called} is {float(output.scalars[name])}. "
                f"First, {what}"
            )
    raise TrainingError(
        f"--debug: step {int(state.step)} is not finite as compiled, but is operation by "
        "operation: the compiler computes in another order, and some value is near the largest "
        "that its type holds. Look at the scalars on the dashboard before this step"
    )
