"""Files that anybody may have written, read within bounds: pictures, arrays, JSON, text, paths.

Sizes that a file declares are looked at before memory is taken for them, and whatever is wrong with
it is a ValueError that says what.
"""

import io
import json
import math
import struct
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

MAX_SIDE = 2**15
"""Rows or columns of a picture."""
MAX_PIXELS = 2**26
"""8192 x 8192."""
MAX_ARRAY_BYTES = 2**29
"""Of one array."""
MAX_TEXT_BYTES = 2**26
"""As JSON it takes up to twenty times as much memory."""

DATA_SET_FORMATS = ("PNG", "JPEG", "BMP")
ALL_FORMATS = (*DATA_SET_FORMATS, "WEBP", "TIFF", "GIF", "PPM")
"""Pillow has decoders that run other programs; these do not."""

_LONGEST_NAME = 255  # bytes, of every usual file system
_LONGEST_PATH = 1024  # bytes; systems take 4096 or more, the folder included
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DIGITS = 18  # that every integer type holds
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@contextmanager
def open_picture(
    source: Path | bytes, *, formats: tuple[str, ...] = DATA_SET_FORMATS
) -> Iterator[Image.Image]:
    """A file of one of these formats; its pixels are decoded where they are asked for.

    Raises:
        ValueError: it is no picture, larger than `MAX_PIXELS` or `MAX_SIDE`, or, within the block,
            can not be decoded.
    """
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file, formats=formats) as picture:
            check_size(picture.height, picture.width)
            yield picture
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise ValueError(str(error) or type(error).__name__) from error


def check_size(height: int, width: int) -> None:
    """Raises ValueError where a picture is larger than any that is read."""
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise ValueError(
            f"it is {width} pixels wide and {height} high, more than the {MAX_PIXELS} pixels, or "
            f"{MAX_SIDE} along one side, that are read; make it smaller"
        )


def check_png_chunks(data: bytes) -> None:
    """For decoders that reserve what a chunk declares, up to 4 GiB, before they look for it.

    Raises:
        ValueError: a chunk of a PNG file is said to be longer than what is left of the file.
    """
    if not data.startswith(_PNG_SIGNATURE):
        return
    start = len(_PNG_SIGNATURE)
    while start + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        if start + 8 + length > len(data):
            raise ValueError(f"a chunk declares {length} bytes, more than the file has left")
        if name == b"IEND":
            return
        start += 8 + length + 4  # a check sum


def read_arrays(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """The numbers that an `.npz` file has under these names, those of them that there are; of an
    `.npy` file its array, under "". Arrays can not be written to.

    Raises:
        ValueError: it can not be read, or holds something else than numbers, more than
            `MAX_ARRAY_BYTES`, or two arrays of one name.
    """
    try:
        if path.suffix == ".npy":
            with path.open("rb") as file:
                return {"": _read_array(file, path.stat().st_size)}
        found = {}
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            by_name = {entry.filename.removesuffix(".npy"): entry for entry in entries}
            if len(by_name) != len(entries):
                raise ValueError("two of its arrays have the same name")
            for name, entry in by_name.items():
                if name in names:
                    with archive.open(entry) as file:
                        found[name] = _read_array(file, entry.file_size)  # pyright: ignore
        return found
    except Exception as error:  # zip, zlib, numpy and the parser of headers each raise their own
        raise ValueError(str(error) or type(error).__name__) from error


def parse_array(data: bytes) -> np.ndarray:
    """The numbers of an `.npy` file that was read already.

    Raises:
        ValueError: it holds something else than numbers, or more than `MAX_ARRAY_BYTES`.
    """
    try:
        return _read_array(io.BytesIO(data), len(data))
    except Exception as error:  # as above
        raise ValueError(str(error) or type(error).__name__) from error


def _read_array(file: BinaryIO, size: int) -> np.ndarray:
    """What an .npy file of so many bytes holds; no more is read than it declares."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"an array in version {version} of numpy's format")
    shape, is_fortran, dtype = _HEADERS[version](file)
    if dtype.kind not in "biuf":
        raise ValueError(f"an array of {dtype}, and not of numbers")
    num_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or num_bytes > min(size, MAX_ARRAY_BYTES):
        raise ValueError(
            f"an array of shape {shape} and type {dtype}, {num_bytes} bytes, in {size} bytes; at "
            f"most {MAX_ARRAY_BYTES} are read"
        )
    content = file.read(num_bytes)
    return np.ndarray(shape, dtype, content, order="F" if is_fortran else "C")


def read_json(path: Path) -> Any:
    """What a JSON file holds; whole numbers of more than 18 digits become floating-point ones.

    Raises:
        ValueError: there is no such file, or it can not be read, or is larger than
            `MAX_TEXT_BYTES`.
    """
    try:
        return json.loads(read_text(path), parse_int=_parse_int)
    except RecursionError:
        raise ValueError(f"{path} can not be read as JSON: it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} can not be read as JSON: {error}") from error


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS else float(digits)


def read_text(path: Path) -> str:
    """What a file of UTF-8 text holds.

    Raises:
        ValueError: there is no such file, or it can not be read, or is larger than
            `MAX_TEXT_BYTES`.
    """
    try:
        size = path.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise ValueError(f"{path} has {size} bytes; at most {MAX_TEXT_BYTES} are read as text")
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        raise ValueError(f"there is no file {path}") from error
    except OSError as error:
        raise ValueError(f"{path} can not be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error}") from error


def existing_file(text: str) -> Path | None:
    """The file that a user's text names, `~` expanded; None where it is something else."""
    try:
        path = Path(text).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # too long, a user that is none, no name at all
        return None


def relative_path(text: str, place: str) -> PurePosixPath:
    """A path that stays below the folder it is relative to, by its spelling.

    Links in that folder may lead elsewhere: whoever made the folder made them.

    Args:
        text: as a file names another one.
        place: where it stands, for messages.

    Raises:
        ValueError: it is empty or absolute, goes up by '..', or is no name of a file.
    """
    path = PurePosixPath(text)
    is_inside = path.name and not path.is_absolute() and ".." not in path.parts
    is_short = _num_bytes(text) <= _LONGEST_PATH and all(
        _num_bytes(part) <= _LONGEST_NAME for part in path.parts
    )
    if not is_inside or not is_short or "\0" in text:
        shown = f"{text[:100]!r}{'…' if len(text) > 100 else ''}"
        raise ValueError(f"{place} names {shown}, which is no path of a file below its folder")
    return path


def _num_bytes(name: str) -> int:
    return len(name.encode(errors="surrogatepass"))
