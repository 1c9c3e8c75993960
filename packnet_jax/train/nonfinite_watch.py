"""Says which steps were skipped for what was not finite, and ends a run that skips all of them."""

from packnet_jax.errors import TrainingError
from packnet_jax.events import EventLog
from packnet_jax.train.step import StepOutput


class NonFiniteWatch:
    """Ends a run that has stopped learning.

    It reads each step's counters one step late, so that the device never waits for the host.
    """

    def __init__(self, limit: int, events: EventLog):
        self._limit, self._events = limit, events
        self._previous: StepOutput | None = None
        self._step = 0

    def check(self, output: StepOutput, step: int) -> None:
        """Looks at the previous step and remembers this one, after which `step` are done."""
        self.finish()
        self._previous, self._step = output, step

    def finish(self) -> None:
        """Looks at the step that is still unread.

        Raises:
            TrainingError: too many steps in a row were skipped.
        """
        if self._previous is None:
            return
        scalars, self._previous = self._previous.scalars, None
        in_a_row = int(scalars["nonfinite_in_a_row"])
        if in_a_row:
            self._events.tell(
                "skipped",
                f"loss or gradient not finite: step skipped ({in_a_row} in a row)",
                step=self._step,
                in_a_row=in_a_row,
            )
        if in_a_row >= self._limit:
            raise TrainingError(
                f"{in_a_row} steps in a row had no finite loss or gradient, and the limit is "
                f"config.optim.max_nonfinite_steps={self._limit}. The parameters are those before "
                "them. Look for corrupt images, lower config.optim.{depth,pose}.lr, or set "
                "config.optim.clip_norm"
            )
