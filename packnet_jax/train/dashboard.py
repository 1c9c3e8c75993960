"""What a run shows: TensorBoard event files by CLU, and the progress bar's rates."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from packnet_jax.memory import device_peak_bytes, host_peak_bytes
from packnet_jax.objectives.objective import Pictures
from packnet_jax.report import Report
from packnet_jax.visualize import colorize_inv_depth

BYTES_PER_GIB = 2**30


class Dashboard:
    """Scalars, pictures, hyper-parameters and the parameter overview of one run.

    `tensorboard --logdir WORKDIR` shows them. Only the first process writes.
    """

    def __init__(self, workdir: Path):
        # TensorFlow takes seconds to import and would claim the accelerator: here and hidden.
        import tensorflow as tf
        from clu import metric_writers

        tf.config.set_visible_devices([], "GPU")
        writers = [metric_writers.SummaryWriter(str(workdir))] if jax.process_index() == 0 else []
        self._writer = metric_writers.AsyncMultiWriter(writers)

    def __enter__(self) -> "Dashboard":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def start(self, config: dict[str, Any], params: Any) -> None:
        """Hyper-parameters, and every parameter's name and shape."""
        from clu import parameter_overview

        flat = {k: _plain(v) for k, v in flatten_dict(config, sep=".").items()}
        self._writer.write_hparams(flat)
        overview = parameter_overview.get_parameter_overview(params, include_stats=False)
        self._writer.write_texts(0, {"parameters": f"```\n{overview}\n```"})

    def scalars(self, step: int, values: dict[str, float], prefix: str) -> None:
        """`prefix/name` for every value."""
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
        self._writer.write_images(
            step,
            {f"train/{k}": np.clip(v, 0, 1)[None].astype(np.float32) for k, v in images.items()},
        )

    def flush(self) -> None:
        """Everything written so far is in the event file afterwards."""
        self._writer.flush()


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


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else str(value)
