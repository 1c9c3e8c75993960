"""Digests of a folder's files, as `sha256sum` writes them, so that damage is seen before use.

Array files have no checksum of their own: a flipped bit in one is read as another number.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from packnet_jax.errors import CheckpointError

SUMS = "SHA256SUMS"
"""Beside what it lists; `sha256sum --check SHA256SUMS` checks it by hand."""


def write_digests(folder: Path) -> None:
    """Writes the digest of every file in the folder's subfolders; whole or not at all."""
    lines = [
        f"{_digest(path)}  {path.relative_to(folder)}\n"
        for path in sorted(folder.glob("*/**/*"))
        if path.is_file()
    ]
    temporary = folder / f".{SUMS}"
    with open(temporary, "w") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / SUMS)


def raise_if_damaged(folder: Path, *items: str) -> None:
    """Compares the files of these subfolders with their digests.

    Raises:
        CheckpointError: some have changed since they were written.
    """
    if not (folder / SUMS).exists():
        logging.info("%s has no %s (it is of an earlier version): not checked", folder, SUMS)
    elif damage := _find_damage(folder, items):
        listed = ", ".join(damage[:3]) + (f", and {len(damage) - 3} more" if damage[3:] else "")
        raise CheckpointError(
            f"{folder} is damaged: {listed}. Take another checkpoint beside it, or a copy"
        )


def _find_damage(folder: Path, items: Sequence[str]) -> list[str]:
    """What differs, in words."""
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return [f"{SUMS} can not be read ({error})"]
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    damage = [f"{SUMS} lists nothing of {i}" for i in items if not _below(i, expected)]
    for name in (name for item in items for name in _below(item, expected)):
        try:
            found = _digest(folder / name)
        except OSError as error:
            damage.append(f"{name} can not be read ({error.strerror})")
        else:
            if found != expected[name]:
                damage.append(f"{name} has changed since it was written")
    return damage


def _below(item: str, names: dict[str, str]) -> list[str]:
    return [name for name in names if name.startswith(f"{item}/")]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
