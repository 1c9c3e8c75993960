"""A checkpoint of the original as one of ours."""

from pathlib import Path

from packnet_jax import checkpoint
from packnet_jax.config import NetworkKind, to_json_dict
from packnet_jax.convert.original import import_original
from packnet_jax.convert.report import report
from packnet_jax.errors import CheckpointError


def import_checkpoint(source: Path, folder: Path, *, only: NetworkKind | None = None) -> str:
    """Turns a checkpoint of the original into one of ours; writes all of it or nothing.

    Returns:
        What was imported, and where it is.

    Raises:
        CheckpointError: the file is refused (see `import_original`), or the folder is taken.
    """
    if checkpoint.has_checkpoint(folder) or folder.is_file():
        raise CheckpointError(f"--output: {folder} is taken; choose another folder")
    imported = import_original(source, only=only)
    found = report(imported, source)
    written = checkpoint.write_weights(
        folder,
        variables=imported.variables,
        config=to_json_dict(imported.config),
        origin={"file": source.name, "epoch": imported.epoch, "config": imported.settings},
    )
    return f"{found}\nWritten to {written}"
