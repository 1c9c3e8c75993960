"""Checkpoints by Orbax: their folders, weights from elsewhere, how a trained network is read back.

A checkpoint is a folder `checkpoints/<step>` with the items `variables` (`params`, `batch_stats`),
`training` (step, optimiser state, counters), `config`, and `metrics` if it was evaluated. Weights
that came from elsewhere are step 0, with `origin` and without `training`. Orbax writes under
another name and renames when all is there, so a kill at any moment leaves the checkpoints before.
`SHA256SUMS` is among what is renamed: a checkpoint that has changed since is never restored.

`checkpointer.py` saves and resumes a run.
"""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict

from packnet_jax import config as config_lib
from packnet_jax import distributed
from packnet_jax.digests import has_digests, raise_if_damaged, write_digests
from packnet_jax.errors import CheckpointError, DamagedCheckpointError, first_line
from packnet_jax.quiet import without_warnings

VARIABLES, TRAINING, CONFIG, ORIGIN = "variables", "training", "config", "origin"
CHECKPOINTS = "checkpoints"
STEP_DIGITS = 8
UNFINISHED = ".orbax-checkpoint-tmp"
"""Ends the name of a folder that Orbax does not take for a checkpoint."""


def write_weights(
    folder: Path, *, variables: Any, config: dict[str, Any], origin: dict[str, Any]
) -> Path:
    """Writes weights that came from elsewhere, as step 0 of a run; whole or not at all.

    Args:
        folder: to be made; `read_config` and `read_variables` then find what is in it.
        variables: `params` and `batch_stats`, each with one network or both.
        config: names these networks.
        origin: where they came from, and what of it is not in the configuration.

    Returns:
        The step's folder.

    Raises:
        CheckpointError: there is a checkpoint already, or the folder can not be written.
    """
    checkpoints = folder.expanduser().resolve() / CHECKPOINTS
    if has_checkpoint(folder):
        raise CheckpointError(f"{folder} holds a checkpoint already; choose another folder")
    options = ocp.CheckpointManagerOptions(
        step_format_fixed_length=STEP_DIGITS,
        enable_async_checkpointing=False,  # which would hold one, too
    )
    arrays = jax.device_put(variables)  # of numpy's, Orbax would hold a second copy
    items = {
        VARIABLES: ocp.args.StandardSave(arrays),
        CONFIG: ocp.args.JsonSave(config),
        ORIGIN: ocp.args.JsonSave(origin),
    }
    name = f"{0:0{STEP_DIGITS}d}"
    unfinished = checkpoints / f"{name}{UNFINISHED}"
    try:
        remove_unfinished(checkpoints)
        with ocp.CheckpointManager(unfinished, options=options) as manager:
            manager.save(0, args=ocp.args.Composite(**items), force=True)
        write_digests(unfinished / name)
        (unfinished / name).rename(checkpoints / name)
        unfinished.rmdir()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} can not be written ({first_line(error)})") from error
    return checkpoints / name


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
        CheckpointError: there is no such checkpoint, or it is damaged.
    """
    folder = _step_folder(checkpoint)
    raise_if_damaged(folder, CONFIG)
    return StoredRun(folder, config_lib.resolve(_read_json(folder / CONFIG)), int(folder.name))


def resumed_config(workdir: Path) -> dict[str, Any] | None:
    """The fields of the configuration that a run's newest checkpoint was trained with.

    Of damaged ones the checkpoint before says it. None where there is nothing to resume.

    Raises:
        CheckpointError: it can not be read here.
    """
    for folder in reversed(_step_folders(workdir.expanduser().resolve() / CHECKPOINTS)):
        if (folder / TRAINING).is_dir():
            with suppress(DamagedCheckpointError):
                if has_digests(folder):  # if not, restoring will warn of it
                    raise_if_damaged(folder, CONFIG)
                return _read_json(folder / CONFIG)
    return None


def read_origin(step_folder: Path) -> dict[str, Any]:
    """What `write_weights` was told; {} for a checkpoint of a training run.

    Raises:
        CheckpointError: the item is damaged.
    """
    return _read_json(step_folder / ORIGIN) if (step_folder / ORIGIN).is_dir() else {}


def read_variables(step_folder: Path, abstract_variables: Any) -> Any:
    """Parameters and batch statistics of the networks that are asked for.

    Args:
        step_folder: of one checkpoint.
        abstract_variables: `params` and `batch_stats`, each with the networks to read.

    Raises:
        CheckpointError: the item is damaged or holds other networks.
    """
    raise_if_damaged(step_folder, VARIABLES)
    _check_shapes(step_folder, abstract_variables)
    try:
        with ocp.PyTreeCheckpointer() as reader:
            return reader.restore(
                step_folder / VARIABLES,
                args=ocp.args.PyTreeRestore(
                    item=abstract_variables,
                    restore_args=ocp.checkpoint_utils.construct_restore_args(abstract_variables),
                    partial_restore=True,  # the other network stays on disk
                ),
            )
    except Exception as error:
        raise CheckpointError(_unreadable_weights(step_folder, error)) from error


def _check_shapes(step_folder: Path, abstract_variables: Any) -> None:
    """Raises CheckpointError unless the checkpoint holds these very networks."""
    wanted = _shapes(abstract_variables)
    networks = {path[:2][-1] for path in wanted}
    try:
        with without_warnings(), ocp.StandardCheckpointer() as reader:
            metadata: Any = reader.metadata(step_folder / VARIABLES)
            stored = _shapes(metadata.item_metadata.tree)
    except Exception as error:
        raise CheckpointError(_unreadable_weights(step_folder, error)) from error
    stored = {path: shape for path, shape in stored.items() if path[:2][-1] in networks}
    paths = sorted(wanted.keys() | stored.keys())
    differing = [
        f"{'/'.join(path)}: shape {stored.get(path, 'none')}, expected {wanted.get(path, 'none')}"
        for path in paths
        if wanted.get(path) != stored.get(path)
    ]
    if differing:
        raise CheckpointError(
            f"{step_folder}: it holds the weights of other networks:\n  " + "\n  ".join(differing)
        )


def _shapes(tree: Any) -> dict[tuple[str, ...], tuple[int, ...]]:
    leaves: dict[tuple[str, ...], Any] = flatten_dict(tree)
    return {path: tuple(leaf.shape) for path, leaf in leaves.items()}


def _unreadable_weights(step_folder: Path, error: Exception) -> str:
    return (
        f"{step_folder}: the weights can not be read ({first_line(error)}). Is the folder damaged?"
    )


def remove_unfinished(folder: Path) -> None:
    """Deletes what a killed save has left.

    Orbax's own `cleanup_tmp_directories` goes on after `close()`: a manager that is opened next
    finds folders that vanish under its hands.
    """
    if distributed.is_first() and folder.is_dir():
        for unfinished in ocp.path.step.all_temporary_paths(folder):
            shutil.rmtree(unfinished.get())


def _read_json(item: Path) -> dict[str, Any]:
    try:
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            found = reader.restore(item)
    except Exception as error:
        raise CheckpointError(
            f"{item.parent}: its {item.name} can not be read ({first_line(error)})"
        ) from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{item.parent}: its {item.name} holds no fields")
    return found


def _step_folder(checkpoint: Path) -> Path:
    checkpoint = checkpoint.expanduser().resolve()
    if (checkpoint / VARIABLES).is_dir():
        if checkpoint.name.isdecimal():
            return checkpoint
        raise CheckpointError(
            f"--checkpoint: {checkpoint} is the folder of one step, whose name has to say which; "
            "call it by its number again, such as 00000500"
        )
    for folder in (checkpoint / CHECKPOINTS, checkpoint):
        if steps := _step_folders(folder):
            return steps[-1]
    raise CheckpointError(
        f"--checkpoint: no checkpoint at {checkpoint}; give the --workdir of a training run, or "
        f"one of the folders in its {CHECKPOINTS}/"
    )


def _step_folders(folder: Path) -> list[Path]:
    """Of all checkpoints in it, oldest first."""
    if not folder.is_dir():
        return []
    steps = [p for p in folder.iterdir() if p.name.isdecimal() and (p / VARIABLES).is_dir()]
    return sorted(steps, key=lambda p: int(p.name))
