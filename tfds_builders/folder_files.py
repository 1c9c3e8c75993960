"""Which pictures a folder or a video holds, in which order: streams of numbered frames."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path, PurePath
from string import Formatter
from typing import NamedTuple

import cv2
import numpy as np

from packnet_jax.errors import DataError
from packnet_jax.untrusted import check_size
from tfds_builders.frames import MAX_FRAMES

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ts")

_DIGITS = re.compile(r"(0?[1-9][0-9]?)?d?")
"""How a number in a name is written out: with how many digits."""

COUNT_SLACK = 2
"""Containers that hold no count announce one from duration and rate, wrong by so many frames."""


class Entry(NamedTuple):
    """A frame of a stream that has not been read yet."""

    name: str
    """Relative to the root and without suffix: 'garden/frame2', 'clip/000012'."""
    number: int
    """`number + 1` is the next picture in time."""
    path: Path
    """Of the picture, or of the video."""


class Stream(NamedTuple):
    """The frames of one folder, or of one video, by rising number."""

    name: str
    entries: tuple[Entry, ...]
    stride: int = 1
    """Of a video: every which of its frames there is an entry for."""

    @property
    def is_video(self) -> bool:
        return self.entries[0].path.suffix.lower() in VIDEO_SUFFIXES


def find_streams(
    root: Path, *, pattern: str = "", stride: int = 1, exclude: Iterable[Path] = ()
) -> tuple[Stream, ...]:
    """The streams of a video, or of a folder and all below it.

    Every folder that holds pictures is a stream. Names that begin with a dot are passed over.

    Args:
        root: the folder or the video.
        pattern: which files: '' for all pictures, in natural order ('frame2' before 'frame10');
            '*.png' or 'left/*.png' likewise for some, or '*.mp4' for videos, each a stream; or,
            with a number in braces, '{:09}' or 'frame_{}.jpg': the numbers of such files then say
            which are neighbours, and where one is missing, none are.
        stride: keep one picture of so many.
        exclude: folders or files below the root that are something else, such as depth maps.

    Raises:
        DataError: there is none, or the pattern is malformed.

    Source: packnet-sfm `datasets/image_dataset.py: ImageDataset` (a number in braces).
    Differs: all depths of folders are searched, folders come in order, and a file that the pattern
        does not fit is never a target.
    """
    if root.is_file() and root.suffix.lower() in VIDEO_SUFFIXES:
        return (_video_stream(root, root.stem, stride),)
    if not root.is_dir():
        raise DataError(
            f"{root}: there is no such folder or video; set `data.root` to a folder of pictures, "
            f"or to a video ({', '.join(VIDEO_SUFFIXES)})."
        )
    excluded = [path.resolve() for path in exclude]
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(root.rglob("*"), key=natural_key):
        relative = path.relative_to(root)
        is_hidden = any(part.startswith(".") for part in relative.parts)
        if is_hidden or not path.is_file() or not _fits(relative, pattern):
            continue
        if not any(path.resolve().is_relative_to(other) for other in excluded):
            by_folder.setdefault(relative.parent, []).append(path)
    streams = []
    for folder, paths in by_folder.items():
        name = root.resolve().name if folder == PurePath(".") else folder.as_posix()
        videos = [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES]
        pictures = [path for path in paths if path.suffix.lower() in PICTURE_SUFFIXES]
        streams += [
            _video_stream(path, path.relative_to(root).with_suffix("").as_posix(), stride)
            for path in videos
        ]
        if pictures:
            streams.append(_picture_stream(root, name, pictures, pattern, stride))
    if not streams:
        what = f"file like {pattern!r}" if pattern else f"{', '.join(PICTURE_SUFFIXES)} file"
        raise DataError(
            f"{root} holds no {what}, nor does any folder below it. Set `data.root` to the folder "
            "of the pictures, or `data.frames.pattern` to what they are named like; for videos, "
            "give one as `data.root`, or a pattern such as '*.mp4'."
        )
    _check_names(streams)
    return tuple(streams)


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sorts numbers in names by value: 'frame2' before 'frame10'."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def read_video(path: Path, wanted: range) -> Iterator[np.ndarray | None]:
    """The wanted frames of a video, uint8 [h, w, 3], rgb; None for those that are not there.

    Raises:
        DataError: the video can not be opened, or its pictures are larger than any that is read.
    """
    with _opened(path) as capture:
        position = 0
        for number in wanted:
            while position < number and capture.grab():
                position += 1
            is_read, bgr = capture.read() if position == number else (False, None)
            position += is_read
            if not is_read or bgr is None:
                yield None
                continue
            _check_size(path, *bgr.shape[:2])
            yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def count_frames(path: Path, *, most: int = MAX_FRAMES) -> int:
    """How many frames a video announces; those that are there if it announces none.

    More than `most`, or than the file has bytes, is no announcement.

    Args:
        path: of the video.
        most: counting ends one frame beyond it.

    Raises:
        DataError: the video can not be opened, or has no frame.
    """
    with _opened(path) as capture:
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        is_credible = 1 <= announced <= min(most, path.stat().st_size)
        count = int(announced) if is_credible else 0
        while not is_credible and count <= most and capture.grab():
            count += 1
    if count == 0:
        raise DataError(f"The video {path} holds no frame; copy it again from where it is from.")
    return count


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise DataError(
                f"The video {path} can not be opened: it is cut off, or in a format that OpenCV "
                "does not read. Copy it again, or convert it: ffmpeg -i IN -c:v libx264 OUT.mp4"
            )
        sides = (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        _check_size(path, *(int(capture.get(side)) for side in sides))
        yield capture
    finally:
        capture.release()


def _check_size(path: Path, height: int, width: int) -> None:
    """Raises DataError where a video's pictures are larger than any that is read."""
    try:
        check_size(height, width)
    except ValueError as error:
        raise DataError(f"The video {path} can not be read: {error}.") from error


def _video_stream(path: Path, name: str, stride: int) -> Stream:
    positions = range(0, count_frames(path, most=MAX_FRAMES * stride), stride)
    if len(positions) > MAX_FRAMES:
        raise DataError(
            f"The video {path} has more frames than the {MAX_FRAMES} that a store holds; split it, "
            "or raise `data.frames.stride`."
        )
    entries = (Entry(f"{name}/{p:06d}", i, path) for i, p in enumerate(positions))
    return Stream(name, tuple(entries), stride)


def _picture_stream(root: Path, name: str, paths: list[Path], pattern: str, stride: int) -> Stream:
    numbered = [(_number_in(path.name, pattern), path) for path in paths]
    if "{" in pattern:
        numbered = sorted((n, path) for n, path in numbered if n is not None)
    else:
        numbered = [(position, path) for position, (_, path) in enumerate(numbered)]
    first = numbered[0][0]
    assert first is not None
    entries = [
        Entry(path.relative_to(root).with_suffix("").as_posix(), (n - first) // stride, path)
        for n, path in numbered
        if n is not None and (n - first) % stride == 0
    ]
    return Stream(name, tuple(entries), stride)


def _fits(relative: PurePath, pattern: str) -> bool:
    """Whether a file is meant."""
    suffix = relative.suffix.lower()
    if "{" in pattern:
        return suffix in PICTURE_SUFFIXES and _number_in(relative.name, pattern) is not None
    if pattern:
        try:
            return suffix in PICTURE_SUFFIXES + VIDEO_SUFFIXES and relative.match(pattern)
        except ValueError as error:
            raise _malformed(pattern) from error
    return suffix in PICTURE_SUFFIXES


def _number_in(name: str, pattern: str) -> int | None:
    """The number that makes the file's name of a pattern with braces; None if none does."""
    if "{" not in pattern:
        return None
    before, after = _around_number(pattern)
    found = re.fullmatch(rf"{re.escape(before)}(\d+){re.escape(after)}(\.\w+)?", name)
    if found is None:
        return None
    number = int(found[1])
    return number if name.removesuffix(found[2] or "") == pattern.format(number) else None


def _around_number(pattern: str) -> tuple[str, str]:
    """What stands before and after the number."""
    try:
        pieces = list(Formatter().parse(pattern))
    except ValueError as error:
        raise _malformed(pattern) from error
    fields = [piece[1:] for piece in pieces if piece[1] is not None]
    if (
        len(fields) != 1
        or fields[0][0]
        or fields[0][2]
        or not _DIGITS.fullmatch(fields[0][1] or "")
    ):
        raise _malformed(pattern)
    return pieces[0][0], "".join(literal for literal, _, _, _ in pieces[1:])


def _malformed(pattern: str) -> DataError:
    return DataError(
        f"`data.frames.pattern`: given {pattern!r}, expected a name with one number in braces, "
        "such as '{:09}' or 'frame_{}.jpg', or one with stars, such as '*.png'."
    )


def _check_names(streams: Iterable[Stream]) -> None:
    """Raises DataError where two files would have one name."""
    for stream in streams:
        entries = sorted(stream.entries, key=lambda entry: entry.name)
        for a, b in pairwise(entries):
            if a.name == b.name:
                raise DataError(
                    f"{a.path} and {b.path} have the same name but for their suffix; set "
                    "`data.frames.pattern` to one of them, such as '*.png'."
                )
