"""Digests of a folder's files, as `sha256sum` writes them, so that damage is seen before use.

Array files have no checksum of their own: a flipped bit in one is read as another number.
"""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from absl import logging

from packnet_jax.errors import CheckpointError, DamagedCheckpointError

SUMS = "SHA256SUMS"
"""Beside what it lists; `sha256sum --check SHA256SUMS` checks it by hand."""

LINE = re.compile("([0-9a-f]{64})  (.+)")

GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""What damage does to a file. Any other error of the system tells of this machine or the disk."""


def write_digests(folder: Path) -> None:
    """Writes the digest of every file in the folder's subfolders; whole or not at all.

    Files beside the subfolders are not listed. Orbax changes its own there up to the moment when a
    checkpoint gets its name, and restores the same without them.
    """
    lines = [f"{_digest(folder / name)}  {name}\n" for name in sorted(_files(folder))]
    temporary = folder / f".{SUMS}"
    with open(temporary, "w") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / SUMS)


def has_digests(folder: Path) -> bool:
    """Whether it is known what the folder held."""
    return (folder / SUMS).exists()


def raise_if_damaged(folder: Path, *items: str) -> None:
    """Compares the files of these subfolders with their digests; a warning if there are none.

    Raises:
        DamagedCheckpointError: some are not as they were written.
        CheckpointError: some can not be read here.
    """
    if not has_digests(folder):
        logging.warning("%s has no %s (it is of an earlier version): not checked", folder, SUMS)
        return
    expected = _expected(folder)
    lacking = [item for item in items if not any(_is_below(name, [item]) for name in expected)]
    damage = [f"{SUMS} lists nothing of {item}" for item in lacking]
    names = {name for name in _files(folder) | expected.keys() if _is_below(name, items)}
    if damage := damage + _find_damage(folder, expected, names):
        raise _damaged(folder, damage)


def raise_if_others_damaged(folder: Path, *items: str) -> None:
    """Compares the files of all other subfolders; quick where these are the large ones.

    Raises:
        DamagedCheckpointError: some are not as they were written.
        CheckpointError: some can not be read here.
    """
    if not has_digests(folder):
        return
    expected = _expected(folder)
    names = {name for name in _files(folder) | expected.keys() if not _is_below(name, items)}
    if damage := _find_damage(folder, expected, names):
        raise _damaged(folder, damage)


def _damaged(folder: Path, damage: list[str]) -> DamagedCheckpointError:
    listed = ", ".join(damage[:3]) + (f", and {len(damage) - 3} more" if damage[3:] else "")
    return DamagedCheckpointError(
        f"{folder} is damaged: {listed}. Take another checkpoint beside it, or a copy"
    )


def _unreadable(folder: Path, name: str, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"{folder}: {name} can not be read here ({error.strerror}), so that nobody knows whether "
        "the checkpoint is damaged. Look for permissions and the disk, and start the same command "
        "again; a checkpoint whose folder is renamed is passed over"
    )


def _expected(folder: Path) -> dict[str, str]:
    """The listed digests by name.

    Raises:
        DamagedCheckpointError: the list itself is damaged.
    """
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except (*GONE, UnicodeDecodeError) as error:
        raise _damaged(folder, [f"{SUMS} can not be read ({error})"]) from error
    except OSError as error:
        raise _unreadable(folder, SUMS, error) from error
    expected = {match[2]: match[1] for line in lines if (match := LINE.fullmatch(line))}
    if len(expected) < len(lines):
        raise _damaged(folder, [f"{SUMS} has lines that are no digests"])
    return expected


def _find_damage(folder: Path, expected: dict[str, str], names: Iterable[str]) -> list[str]:
    """What differs, in words."""
    damage = []
    for name in sorted(names):
        try:
            found = _digest(folder / name)
        except GONE as error:
            damage.append(f"{name} can not be read ({error.strerror})")
        except OSError as error:
            raise _unreadable(folder, name, error) from error
        else:
            if name not in expected:
                damage.append(f"{name} is not listed in {SUMS}")
            elif found != expected[name]:
                damage.append(f"{name} has changed since it was written")
    return damage


def _files(folder: Path) -> set[str]:
    """Below the folder's subfolders."""
    return {str(path.relative_to(folder)) for path in folder.glob("*/**/*") if path.is_file()}


def _is_below(name: str, items: Iterable[str]) -> bool:
    return name.partition("/")[0] in items


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
