"""Checkpoints of the original become ours, and ours its:

python -m packnet_jax.convert --input=X.ckpt --output=DIR [--only=depth_net|pose_net]
python -m packnet_jax.convert --input=DIR --output=X.ckpt
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from packnet_jax.command_line import begin, run_program
from packnet_jax.config import NETWORK_KINDS, NetworkKind

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
    import jax  # takes a second, as what follows: only where nothing is wrong with the flags

    from packnet_jax.convert.export import export_checkpoint
    from packnet_jax.convert.from_original import import_checkpoint

    jax.config.update("jax_platforms", "cpu")  # there is nothing to compute
    source, target = (Path(flag.value or "").expanduser() for flag in (INPUT, OUTPUT))
    convert = export_checkpoint if source.is_dir() else import_checkpoint
    print(convert(source, target, only=ONLY.value))


def run() -> None:
    """The command line's entry."""
    run_program(main)


if __name__ == "__main__":
    run()
