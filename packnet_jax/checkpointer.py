"""A run's checkpoints: which of them stay, how a run resumes, what becomes of damaged ones."""

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from packnet_jax import distributed
from packnet_jax.checkpoint import (
    CHECKPOINTS,
    CONFIG,
    STEP_DIGITS,
    TRAINING,
    VARIABLES,
    remove_unfinished,
)
from packnet_jax.digests import (
    has_digests,
    raise_if_damaged,
    raise_if_others_damaged,
    write_digests,
)
from packnet_jax.errors import CheckpointError, DamagedCheckpointError, first_line, reason
from packnet_jax.quiet import without_warnings

OUTDATED = "outdated"
"""Where checkpoints that do not stay are moved, all at once, before they are deleted there."""


class _Manager(ocp.CheckpointManager):
    """One whose saves fail at once on the process where something fails.

    Orbax tells only after a barrier, to which others come once this process has saved. And a
    checkpoint that can not be deleted would be a failure to save the next one.
    """

    failure: Exception | None = None
    """What the last save has failed with, as far as is known."""

    def _finalize(self, step: int, steps_to_remove: list[int]) -> None:
        """Orbax's thread does so for each save: it waits, and meets the others."""
        try:
            self._non_blocking_metadata_store.wait_until_finished()
            self._wait_for_checkpointers()
        except Exception as error:
            self.failure = error
            raise
        super()._finalize(step, steps_to_remove)
        delete_outdated(Path(self.directory))

    def raise_failure(self) -> None:
        """Raises what the last save has failed with, if it has."""
        if self.failure is not None:
            raise self.failure


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
        self._monitor = monitor
        self._unconfirmed: list[int] = []
        self._saving = 0
        with _clear_errors(self.folder, "opened"):
            remove_unfinished(self.folder)
            delete_outdated(self.folder)
            if distributed.is_first():  # Orbax reads the metrics of all of them
                _set_aside_with_damaged_metrics(self.folder)
            distributed.meet("damaged checkpoints are set aside")
            self._manager = _Manager(
                self.folder,
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
                    # Only with this does Orbax store the metrics, without which a resumed run would
                    # not know its best checkpoints and delete them.
                    best_fn=lambda metrics: metrics[monitor],
                    step_format_fixed_length=STEP_DIGITS,
                    todelete_subdir=OUTDATED,
                    # Called when all files are there, before the folder gets its name.
                    async_options=ocp.AsyncOptions(post_finalization_callback=self._write_digests),
                ),
            )

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        is_alone = jax.process_count() == 1
        if error is not None and not is_alone:
            return  # the others may never come to where Orbax would wait for them
        try:
            self.wait()
        except CheckpointError as failed:
            if error is None:
                raise
            if error.__cause__ is not failed.__cause__:
                logging.error("%s", failed)  # what is raised already tells more
        finally:
            if is_alone or self._manager.failure is None:
                with suppress(Exception):  # waiting has told of all that failed
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
        """Saves in the background, unless this step is saved already.

        Args:
            metrics: of its evaluation. If `monitor` is not finite, it is none of the best.

        Raises:
            CheckpointError: this one, or the one before, can not be written.
        """
        if step in self._manager.all_steps():
            return
        if metrics is not None and not math.isfinite(metrics[self._monitor]):
            logging.warning(
                "Step %d: %s is %s, so that its checkpoint is none of the best",
                step,
                self._monitor,
                metrics[self._monitor],
            )
            metrics = None  # Orbax would sort by it
        self.wait()  # Orbax would, too
        self._saving = step
        # Orbax warns that some checkpoints carry no metrics.
        with _clear_errors(self.folder, "written"), without_warnings():
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
            self._unconfirmed.append(step)

    def wait(self) -> None:
        """Returns when everything is on disk.

        Raises:
            CheckpointError: it can not be written.
        """
        with _clear_errors(self.folder, "written"):
            self._manager.wait_until_finished()
            self._manager.raise_failure()  # Orbax says it once

    def confirmed(self) -> list[int]:
        """The steps that are on disk, and were not when this was asked last; quick.

        Raises:
            CheckpointError: one can not be written.
        """
        if not self._unconfirmed:
            return []
        with _clear_errors(self.folder, "written"):
            self._manager.raise_failure()
        there = [step for step in self._unconfirmed if self.step_folder(step).is_dir()]
        self._unconfirmed = [step for step in self._unconfirmed if step not in there]
        return there

    def step_folder(self, step: int) -> Path:
        """Of a checkpoint, whether it is there or not."""
        return self.folder / f"{step:0{STEP_DIGITS}d}"

    def _write_digests(self) -> None:
        if distributed.is_first():
            saved = self.step_folder(self._saving).name
            for unfinished in ocp.path.step.all_temporary_paths(self.folder):
                if unfinished.get_final().name == saved:
                    write_digests(Path(unfinished.get()))

    def restore_latest(self, variables: Any, training: Any) -> tuple[Any, Any] | None:
        """The newest whole checkpoint, or None where there is none yet; newer ones are set aside.

        The first process alone looks which one that is, and all restore it. Whole are files that
        are as they were written; of a checkpoint without digests, those that can be restored,
        where one process is alone.

        Args:
            variables: abstract arrays (shape, dtype, sharding) to restore into.
            training: likewise.

        Raises:
            CheckpointError: there are checkpoints, and none of them is whole; or the newest whole
                one can not be restored here: memory, disk, other networks.
        """
        damaged: dict[int, str] = {}
        while True:
            newest = self._newest_whole(damaged) if distributed.is_first() else None
            step, num_damaged = distributed.from_first(
                (-1 if newest is None else newest, len(damaged))
            )
            if step < 0:
                return None
            try:
                restored = self._restore(step, variables, training)
            except Exception as error:  # Orbax raises bare exceptions
                if has_digests(self.step_folder(step)) or jax.process_count() > 1:
                    raise CheckpointError(_unrestorable(self.step_folder(step), error)) from error
                self._note_damage(damaged, step, first_line(error))
                continue
            if num_damaged:
                self._set_aside(damaged, step)
            return restored

    def _newest_whole(self, damaged: dict[int, str]) -> int | None:
        """The newest step beside these; what it finds damaged becomes one of them.

        Raises:
            CheckpointError: there is no other, and some are damaged; or one can not be read here.
        """
        for step in reversed(self.steps()):
            if step in damaged:
                continue
            folder = self.step_folder(step)
            if not (folder / TRAINING).is_dir():
                why = "weights from elsewhere, with no training to go on"
                self._note_damage(damaged, step, why)
                continue
            try:
                raise_if_damaged(folder, VARIABLES, TRAINING)
                return step
            except DamagedCheckpointError as error:
                self._note_damage(damaged, step, str(error))
        if damaged:
            raise CheckpointError(_none_whole(self.folder, damaged))
        return None

    def _note_damage(self, damaged: dict[int, str], step: int, why: str) -> None:
        damaged[step] = why
        logging.error("Checkpoint %s/%d can not be used: %s", self.folder, step, why)

    def _restore(self, step: int, variables: Any, training: Any) -> tuple[Any, Any]:
        items = {
            VARIABLES: ocp.args.StandardRestore(variables),
            TRAINING: ocp.args.StandardRestore(training),
        }
        restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        return restored[VARIABLES], restored[TRAINING]

    def _set_aside(self, damaged: dict[int, str], step: int) -> None:
        """So that the run, which goes on from `step`, can save these again."""
        if distributed.is_first():
            told = _listed(damaged)
            logging.warning("Resuming from step %d; newer ones are damaged: %s", step, told)
            for number in damaged:
                _rename_damaged(self.step_folder(number))
        distributed.meet("newer checkpoints are set aside")
        self._manager.reload()


def delete_outdated(checkpoints: Path) -> None:
    """Deletes what does not stay; what can not be deleted is told, and tried again next time."""
    folder = checkpoints / OUTDATED
    if distributed.is_first() and folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            logging.warning("%s can not be deleted (%s)", folder, reason(error))


def _set_aside_with_damaged_metrics(checkpoints: Path) -> None:
    """Renames those of which small files have changed: metrics, configuration, origin.

    Arrays are not looked at: that takes long, and only one checkpoint will be restored.

    Raises:
        CheckpointError: nothing would be left; or one can not be read here.
    """
    folders = [p for p in checkpoints.glob("[0-9]" * STEP_DIGITS) if p.is_dir()]
    damaged: dict[int, str] = {}
    for folder in sorted(folders):
        try:
            raise_if_others_damaged(folder, VARIABLES, TRAINING)
        except DamagedCheckpointError as error:
            damaged[int(folder.name)] = str(error)
            logging.error("Checkpoint %s can not be used: %s", folder, error)
    if damaged and len(damaged) == len(folders):
        raise CheckpointError(_none_whole(checkpoints, damaged))
    for folder in folders:
        if int(folder.name) in damaged:
            _rename_damaged(folder)


def _rename_damaged(folder: Path) -> None:
    aside = folder.with_name(f"damaged-{folder.name}-{time.time_ns()}")
    folder.rename(aside)
    logging.warning("%s is kept as %s; delete it when you like", folder, aside.name)


def _listed(damaged: dict[int, str]) -> str:
    return "; ".join(f"step {number}: {why}" for number, why in damaged.items())


def _none_whole(checkpoints: Path, damaged: dict[int, str]) -> str:
    return (
        f"{checkpoints}: no checkpoint can be read ({_listed(damaged)}). Start in another "
        "--workdir; to start from its weights, there, too, with --config.init.model=DIR; or "
        "restore the folder from a copy"
    )


def _unrestorable(folder: Path, error: Exception) -> str:
    if has_digests(folder):
        state = "its files are as they were written"
    else:
        state = "it has no digests, so that damage is possible; renamed, it is passed over"
    return (
        f"{folder} can not be restored ({reason(error)}); {state}. If the networks in the "
        "configuration have changed, start in another --workdir; to start from its weights, there, "
        "too, with --config.init.model=DIR; else look for memory and the disk, and start the same "
        "command again"
    )


@contextmanager
def _clear_errors(folder: Path, done: str) -> Iterator[None]:
    """Orbax and the system raise what they like."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{folder}: a checkpoint can not be {done} ({reason(error)}). The earlier ones are as "
            "they were. Look for space and permissions, and start the same command again to go on "
            "from the newest"
        ) from error
