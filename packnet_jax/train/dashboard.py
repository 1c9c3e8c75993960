"""What a run shows: TensorBoard event files by CLU, and the progress bar's rates."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
from absl import logging
from flax.traverse_util import flatten_dict

from packnet_jax.errors import TrainingError, first_line
from packnet_jax.memory import device_peak_bytes, host_peak_bytes
from packnet_jax.objectives.objective import Pictures
from packnet_jax.report import Report
from packnet_jax.visualize import colorize_inv_depth

BYTES_PER_GIB = 2**30


class Dashboard:
    """Scalars, pictures, hyper-parameters and the parameter overview of one run.

    `tensorboard --logdir WORKDIR` shows them. Only the first process writes, in a thread: what can
    not be written, on a full disk for example, is a `TrainingError` of a later call, or where
    another error ends the run already, a line of the log beside it.
    """

    def __init__(self, workdir: Path):
        # TensorFlow takes seconds to import and would claim the accelerator: here and hidden.
        import tensorflow as tf
        from clu import metric_writers

        tf.config.set_visible_devices([], "GPU")
        writers = [metric_writers.SummaryWriter(str(workdir))] if jax.process_index() == 0 else []
        self._workdir = workdir
        self._writer = metric_writers.AsyncMultiWriter(writers)

    def __enter__(self) -> "Dashboard":
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        ended_by: BaseException | None,
        __: TracebackType | None,
    ) -> None:
        try:
            with self._failures_named():
                self._writer.close()
        except TrainingError as error:
            if ended_by is None:
                raise
            logging.error("%s", error)  # what ended the run is the story

    def start(self, config: dict[str, Any], params: Any) -> None:
        """Hyper-parameters, and every parameter's name and shape."""
        from clu import parameter_overview

        flat = {k: _plain(v) for k, v in flatten_dict(config, sep=".").items()}
        overview = parameter_overview.get_parameter_overview(params, include_stats=False)
        with self._failures_named():
            self._writer.write_hparams(flat)
            self._writer.write_texts(0, {"parameters": f"```\n{overview}\n```"})

    def scalars(self, step: int, values: dict[str, float], prefix: str) -> None:
        """`prefix/name` for every value."""
        with self._failures_named():
            self._writer.write_scalars(step, {f"{prefix}/{k}": v for k, v in values.items()})

    def report(self, step: int, report: Report) -> None:
        """Every mode and metric of an evaluation."""
        self.scalars(step, report.scalars(), f"eval_{report.dataset}")

    def pictures(self, step: int, pictures: Pictures) -> None:
        """The maps of one sample."""
        maps = jax.tree.map(np.asarray, pictures)
        images = {
            "input": maps.rgb,
            "inverse_depth": colorize_inv_depth(maps.inv_depth[..., 0]),
        }
        if maps.photometric_error is not None:
            brightest = max(1e-6, maps.photometric_error.max())
            images["photometric_error"] = np.repeat(maps.photometric_error / brightest, 3, -1)
            images["automask"] = np.repeat(maps.automask, 3, -1)
            images |= {f"warped_context_{i}": image for i, image in enumerate(maps.warped_context)}
        if maps.measured_inv_depth is not None:
            measured = maps.measured_inv_depth[..., 0]
            images["measured_inverse_depth"] = np.where(
                measured[..., None] > 0, colorize_inv_depth(measured), 0.0
            )
        if maps.inv_depth_rgbd is not None:
            images["inverse_depth_rgbd"] = colorize_inv_depth(maps.inv_depth_rgbd[..., 0])
        shown = {f"train/{k}": np.clip(v, 0, 1)[None].astype(np.float32) for k, v in images.items()}
        with self._failures_named():
            self._writer.write_images(step, shown)

    def flush(self) -> None:
        """Everything written so far is in the event file afterwards."""
        with self._failures_named():
            self._writer.flush()

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        import tensorflow as tf
        from clu.asynclib import AsyncError

        try:
            yield
        except (AsyncError, tf.errors.OpError) as error:
            raise TrainingError(
                f"the dashboard's event file in {self._workdir} can not be written "
                f"({_file_system_reason(error)}); make that possible and start the same command "
                "again: it goes on from the newest checkpoint"
            ) from error


class Rates:
    """Steps and samples per second since the last reading."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._since, self._steps = time.monotonic(), 0

    def count_step(self) -> None:
        """One more step is done."""
        self._steps += 1

    def read(self) -> dict[str, float]:
        """The rates, and starts counting anew."""
        elapsed = max(time.monotonic() - self._since, 1e-9)
        steps_per_second = self._steps / elapsed
        self._since, self._steps = time.monotonic(), 0
        return {
            "steps_per_second": steps_per_second,
            "samples_per_second": steps_per_second * self._batch_size,
        }


def memory_gib() -> dict[str, float]:
    """Peak memory of this process and, where the device tells, of its first device."""
    memory = {"host_memory_gib": host_peak_bytes() / BYTES_PER_GIB}
    if (device := device_peak_bytes()) is not None:
        memory["device_memory_gib"] = device / BYTES_PER_GIB
    return memory


def _file_system_reason(error: BaseException) -> str:
    """TensorFlow's words for it, `path; No space left on device`, without the operation's name."""
    while error.__cause__ is not None:
        error = error.__cause__
    return re.sub(r"\{\{.*?\}\} ?", "", first_line(error))


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else str(value)
