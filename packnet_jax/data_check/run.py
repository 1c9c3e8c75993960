"""The whole check: every set of a configuration, its table and page, and one document of all."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from packnet_jax.config import Config
from packnet_jax.data.sources import open_source
from packnet_jax.data_check.findings import SetCheck, check_set
from packnet_jax.data_check.page import write_page
from packnet_jax.data_config import SourceConfig
from packnet_jax.report import write_report


class ConfiguredSet(NamedTuple):
    """A set that the configuration names."""

    title: str
    source: SourceConfig
    for_training: bool


def check_data(config: Config, folder: Path, max_frames: int | None = None) -> bool:
    """Checks every set, prints what it finds, and writes it to the folder.

    Args:
        max_frames: look at so many frames of every set; None for all.

    Returns:
        Whether nothing is strange.

    Raises:
        DataError: a set can not be opened.
    """
    checks = []
    for configured in configured_sets(config):
        check = check_and_show(configured, config, folder, max_frames)
        print(f"{check.table()}\n", flush=True)
        checks.append(check)
    document = {c.title: {"warnings": c.warnings, **c.facts} for c in checks}
    write_report(folder / "data_check.json", document)
    print(f"Written to {folder}: data_check.json and pages of samples")
    return not any(check.warnings for check in checks)


def configured_sets(config: Config) -> Iterator[ConfiguredSet]:
    """The sets of training, then those of evaluation, each once."""
    data = config.data
    for source in dict.fromkeys(data.train_sources):
        yield ConfiguredSet(f"train_{source.title}", source, True)
    for source, name in dict.fromkeys(zip(data.eval_sources, data.eval_names, strict=True)):
        yield ConfiguredSet(f"eval_{name}", source, False)


def check_and_show(
    configured: ConfiguredSet, config: Config, folder: Path, max_frames: int | None
) -> SetCheck:
    """Opens a set, checks it, and writes its page."""
    data, with_context = config.data, configured.for_training
    store = open_source(configured.source, data, for_training=with_context)
    check = check_set(
        store,
        title=configured.title,
        data=data,
        with_context=with_context,
        max_frames=max_frames,
    )
    if check.facts.get("samples", 1):
        crop = data.crop_train_borders if with_context else data.crop_eval_borders
        page = folder / f"{configured.title}.png"
        write_page(page, store, data=data, crop=crop, with_context=with_context)
    return check
