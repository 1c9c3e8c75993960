"""Checks the data of a configuration: `python -m packnet_jax.data_check --config=FILE`.

Exit status: 0 when nothing is strange; 1 when something is, which is marked with "!"; 2 when the
data can not be opened, or something given does not fit.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags, logging
from ml_collections import config_flags

from packnet_jax import config as config_lib
from packnet_jax.command_line import parse_flags, run_program
from packnet_jax.config import Config
from packnet_jax.data.sources import open_source
from packnet_jax.data_check.findings import SetCheck, check_set
from packnet_jax.data_check.page import write_page
from packnet_jax.data_config import SourceConfig
from packnet_jax.errors import ConfigError
from packnet_jax.report import write_report

CONFIG = config_flags.DEFINE_config_file("config", None, "A file in configs/.", lock_config=True)
OUTPUT = flags.DEFINE_string(
    "output", "data_check", "Folder for data_check.json and a page of samples of every set."
)
MAX_FRAMES = flags.DEFINE_integer(
    "max_frames", None, "Look at so many frames of every set, from its beginning; default: all.", 1
)


class ConfiguredSet(NamedTuple):
    """A set that the configuration names."""

    title: str
    source: SourceConfig
    for_training: bool


def main(argv: Sequence[str]) -> int:
    """Checks every set; returns the exit status."""
    if len(argv) > 1:
        raise ConfigError(f"unknown arguments {argv[1:]}; fields are set as --config.FIELD=VALUE")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)  # what warnings would say is in the table
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's banner
    config = config_lib.resolve(CONFIG.value)
    folder = Path(OUTPUT.value or "").expanduser()
    checks = []
    for configured in configured_sets(config):
        check = check_and_show(configured, config, folder)
        print(f"{check.table()}\n", flush=True)
        checks.append(check)
    document = {c.title: {"warnings": c.warnings, **c.facts} for c in checks}
    write_report(folder / "data_check.json", document)
    print(f"Written to {folder}: data_check.json and pages of samples")
    return 1 if any(check.warnings for check in checks) else 0


def configured_sets(config: Config) -> Iterator[ConfiguredSet]:
    """The sets of training, then those of evaluation, each once."""
    data = config.data
    for source in dict.fromkeys(data.train_sources):
        yield ConfiguredSet(f"train_{source.title}", source, True)
    for source, name in dict.fromkeys(zip(data.eval_sources, data.eval_names, strict=True)):
        yield ConfiguredSet(f"eval_{name}", source, False)


def check_and_show(configured: ConfiguredSet, config: Config, folder: Path) -> SetCheck:
    """Opens a set, checks it, and writes its page."""
    data, with_context = config.data, configured.for_training
    store = open_source(configured.source, data, for_training=with_context)
    check = check_set(
        store,
        title=configured.title,
        data=data,
        with_context=with_context,
        max_frames=MAX_FRAMES.value,
    )
    if check.facts.get("samples", 1):
        crop = data.crop_train_borders if with_context else data.crop_eval_borders
        page = folder / f"{configured.title}.png"
        write_page(page, store, data=data, crop=crop, with_context=with_context)
    return check


def run() -> None:
    """The command line's entry."""
    run_program(main, parse=lambda argv: parse_flags(argv, needs_config=lambda: True))


if __name__ == "__main__":
    run()
