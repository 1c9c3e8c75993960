"""Checkpoints by Orbax: what is kept, how a run resumes, how a trained network is read back.

A checkpoint is a folder `checkpoints/<step>` with the items `variables` (`params`, `batch_stats`),
`training` (step, optimiser state, counters), `config`, and `metrics` if it was evaluated. Orbax
writes it under another name and renames it when it is whole, so a kill at any moment leaves the
previous checkpoints.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from packnet_jax import config as config_lib
from packnet_jax.errors import CheckpointError
from packnet_jax.quiet import without_warnings

VARIABLES, TRAINING, CONFIG = "variables", "training", "config"
CHECKPOINTS = "checkpoints"


class Checkpointer:
    """Saves and restores the state of one run; leaving the `with` block completes every save.

    The newest `keep_latest` checkpoints stay, and the `keep_best` with the best `monitor`.
    """

    def __init__(self, workdir: Path, *, keep_latest: int, keep_best: int, monitor: str):
        larger_is_better = monitor.rsplit("/", 1)[-1] in ("a1", "a2", "a3")
        policies = [
            checkpoint_managers.LatestN(keep_latest),
            checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: metrics[monitor],
                reverse=not larger_is_better,  # the last of the sorted list are kept
                n=keep_best,
                keep_checkpoints_without_metrics=False,
            ),
        ]
        self.folder = workdir.resolve() / CHECKPOINTS
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
                # Only with this does Orbax store the metrics, without which a resumed run would
                # not know its best checkpoints and delete them.
                best_fn=lambda metrics: metrics[monitor],
                step_format_fixed_length=8,
                cleanup_tmp_directories=True,
            ),
        )

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def save(
        self,
        step: int,
        *,
        variables: Any,
        training: Any,
        config: dict[str, Any],
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Saves in the background, unless this step is saved already."""
        if step in self._manager.all_steps():
            return
        with without_warnings():  # that some checkpoints carry no metrics
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    **{
                        VARIABLES: ocp.args.StandardSave(variables),
                        TRAINING: ocp.args.StandardSave(training),
                        CONFIG: ocp.args.JsonSave(config),
                    }
                ),
                metrics=metrics,
                force=True,
            )

    def wait(self) -> None:
        """Returns when everything is on disk."""
        self._manager.wait_until_finished()

    def restore_latest(self, variables: Any, training: Any) -> tuple[Any, Any] | None:
        """The newest readable checkpoint, or None where there is none yet.

        Args:
            variables: abstract arrays (shape, dtype, sharding) to restore into.
            training: likewise.

        Raises:
            CheckpointError: there are checkpoints, and none of them can be read.
        """
        failures = []
        for step in reversed(self.steps()):
            try:
                restored = self._manager.restore(
                    step,
                    args=ocp.args.Composite(
                        **{
                            VARIABLES: ocp.args.StandardRestore(variables),
                            TRAINING: ocp.args.StandardRestore(training),
                        }
                    ),
                )
            except Exception as error:  # Orbax raises bare exceptions for damaged arrays
                failures.append(f"step {step}: {_first_line(error)}")
                logging.error("Checkpoint %s/%d can not be read: %s", self.folder, step, error)
                continue
            if failures:
                logging.warning("Resuming from step %d; newer ones are damaged: %s", step, failures)
            return restored[VARIABLES], restored[TRAINING]
        if failures:
            raise CheckpointError(
                f"{self.folder}: no checkpoint can be read ({'; '.join(failures)}). If the "
                "networks in the configuration have changed, start in another --workdir; else "
                "restore the folder from a copy"
            )
        return None


class StoredRun(NamedTuple):
    """A checkpoint that has been found, its weights not yet read."""

    folder: Path
    """Of one step."""
    config: config_lib.Config
    """Of the training run."""
    step: int


def has_checkpoint(workdir: Path) -> bool:
    """Whether a run in the workdir has something to resume."""
    try:
        _step_folder(workdir)
    except CheckpointError:
        return False
    return True


def read_config(checkpoint: Path) -> StoredRun:
    """Finds a checkpoint and reads the configuration in it.

    Args:
        checkpoint: a workdir, its `checkpoints` folder, or one step's folder.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    folder = _step_folder(checkpoint)
    try:
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            raw = reader.restore(folder / CONFIG)
    except Exception as error:
        raise CheckpointError(
            f"{folder}: its configuration can not be read ({_first_line(error)})"
        ) from error
    return StoredRun(folder, config_lib.resolve(raw), int(folder.name))


def read_variables(step_folder: Path, abstract_variables: Any) -> Any:
    """The networks' parameters and batch statistics alone.

    Raises:
        CheckpointError: the item is damaged or holds other networks.
    """
    try:
        with ocp.StandardCheckpointer() as reader:
            return reader.restore(step_folder / VARIABLES, abstract_variables)
    except Exception as error:
        raise CheckpointError(
            f"{step_folder}: the weights can not be read ({_first_line(error)}). Are they of other "
            "networks than its configuration names, or is the folder damaged?"
        ) from error


def abstract_like(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    """The tree's shapes and dtypes, to be restored with this sharding."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def _step_folder(checkpoint: Path) -> Path:
    checkpoint = checkpoint.expanduser().resolve()
    if (checkpoint / VARIABLES).is_dir():
        return checkpoint
    for folder in (checkpoint / CHECKPOINTS, checkpoint):
        if folder.is_dir():
            steps = [p for p in folder.iterdir() if p.name.isdigit() and (p / VARIABLES).is_dir()]
            if steps:
                return max(steps, key=lambda p: int(p.name))
    raise CheckpointError(
        f"--checkpoint: no checkpoint at {checkpoint}; give the --workdir of a training run, or "
        f"one of the folders in its {CHECKPOINTS}/"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
