"""Checkpoints of the original become ours, and ours its:

python -m packnet_jax.convert --input=X.ckpt --output=DIR [--only=depth_net|pose_net]
python -m packnet_jax.convert --input=DIR --output=X.ckpt
"""

from collections.abc import Sequence
from pathlib import Path

import jax
from absl import flags

from packnet_jax import checkpoint
from packnet_jax.command_line import begin, run_program
from packnet_jax.config import NETWORK_KINDS, NetworkKind, to_json_dict
from packnet_jax.convert.export import export_checkpoint
from packnet_jax.convert.original import import_original
from packnet_jax.convert.report import report
from packnet_jax.errors import CheckpointError

INPUT = flags.DEFINE_string(
    "input",
    None,
    "A .ckpt or .pth.tar file of the original; or a folder with a checkpoint of ours.",
)
OUTPUT = flags.DEFINE_string("output", None, "A new folder; for a checkpoint of ours, a new .ckpt.")
ONLY: flags.FlagHolder[NetworkKind | None] = flags.DEFINE_enum(
    "only", None, NETWORK_KINDS, "The network to convert. Default: both."
)  # pyright: ignore[reportAssignmentType]


def main(argv: Sequence[str]) -> None:
    """Converts one checkpoint."""
    begin(argv, INPUT, OUTPUT)
    jax.config.update("jax_platforms", "cpu")  # there is nothing to compute
    source, target = (Path(flag.value or "").expanduser() for flag in (INPUT, OUTPUT))
    convert = export_checkpoint if source.is_dir() else import_checkpoint
    print(convert(source, target, only=ONLY.value))


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


def run() -> None:
    """The command line's entry."""
    run_program(main)


if __name__ == "__main__":
    run()
