"""What is inferred on: `--input`. One frame at a time; videos are never held in memory."""

import glob
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from packnet_jax.errors import DataError
from packnet_jax.untrusted import ALL_FORMATS, check_size, open_picture
from tfds_builders.folder_files import PICTURE_SUFFIXES, VIDEO_SUFFIXES


class Frame(NamedTuple):
    """A picture, and the name that its results get."""

    name: Path
    """Relative, with a picture's suffix: `drive/0000000005.png`, `clip_000005.png`."""
    image: UInt8[ndarray, "h w 3"]


class Unreadable(NamedTuple):
    """A picture that is passed over."""

    reason: str


class Source(NamedTuple):
    """Opened input."""

    title: str
    """Names the video that is made of it."""
    frames: Iterator[Frame | Unreadable]
    files: Sequence[Path] = ()
    """What is read: pictures, or a video."""
    names: Sequence[Path] = ()
    """Of the frames, if they are known beforehand: one for each picture."""
    num_frames: int | None = None
    """None where nobody knows."""
    fps: float | None = None
    """Frames per second; None for pictures."""
    is_stream: bool = False
    """A video or a camera."""
    is_live: bool = False
    """A camera, which ends when it is told to."""


@contextmanager
def open_input(text: str, *, max_frames: int | None = None) -> Iterator[Source]:
    """Opens pictures, a video or a camera for as long as the context lasts.

    Args:
        text: a picture, a folder that is searched for pictures, a pattern such as
            `drive/*/*.png`, a video file, or the number of a camera.
        max_frames: only so many frames from the beginning.

    Raises:
        DataError: there is no such input, or it can not be opened.
    """
    path = _path(text)
    is_video = path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()
    is_camera = text.isdecimal() and not path.exists()
    if not (is_video or is_camera):
        yield _open_pictures(text, max_frames)
        return
    if is_video and not path.is_file():
        raise DataError(f"--input: there is no video {path}")
    what = f"camera {text}" if is_camera else f"video {path}"
    if is_camera and int(text) >= 2**31:
        raise DataError(f"--input: {what} can not be opened")
    capture = cv2.VideoCapture(int(text) if is_camera else str(path))
    try:
        if not capture.isOpened():
            raise DataError(f"--input: {what} can not be opened")
        sides = (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        try:
            check_size(*(int(capture.get(side)) for side in sides))
        except ValueError as error:
            raise DataError(f"--input: {what} can not be read: {error}") from error
        title = f"camera{text}" if is_camera else path.stem
        # OpenCV has 0 or less for what it does not know.
        announced, fps = (capture.get(p) for p in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS))
        announced = int(announced)
        expected = announced if is_video else 0
        frames = itertools.islice(_read_stream(capture, title, text, expected), max_frames)
        counts = [n for n in (announced, max_frames or 0) if n > 0]
        yield Source(
            title,
            frames,
            files=[path] if is_video else [],
            num_frames=min(counts, default=None),
            fps=fps if fps > 0 else None,
            is_stream=True,
            is_live=is_camera,
        )
    finally:
        capture.release()


def _open_pictures(text: str, max_frames: int | None) -> Source:
    folder, paths = find_pictures(text)
    paths = paths[:max_frames]
    names = [_picture_name(path.relative_to(folder)) for path in paths]
    return Source(
        title=(folder.resolve().name or "frames") if len(paths) > 1 else paths[0].stem,
        frames=(_read_frame(*pair) for pair in zip(names, paths, strict=True)),
        files=paths,
        names=names,
        num_frames=len(paths),
    )


def find_pictures(text: str) -> tuple[Path, list[Path]]:
    """The pictures that a path or pattern names, and the folder that their names are relative to.

    A folder is searched together with what is below it. Pictures are sorted by name.

    Raises:
        DataError: there is none.
    """
    path = _path(text)
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        folder, found = path, path.rglob("*")
    elif glob.has_magic(text):
        plain = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        folder, found = Path(*plain), map(Path, glob.iglob(str(path), recursive=True))
    else:
        raise DataError(
            f"--input: {path} does not exist; give a picture, a folder, a pattern, a video, or the "
            "number of a camera"
        )
    pictures = sorted(p for p in found if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
    if not pictures:
        raise DataError(f"--input: {path} holds no {', '.join(PICTURE_SUFFIXES)} file")
    return folder, pictures


def _path(text: str) -> Path:
    """Raises DataError where no path can be called so."""
    try:
        path = Path(text).expanduser()
        path.exists()
        return path
    except (OSError, RuntimeError) as error:  # too long, a user that is none
        raise DataError(f"--input: given {text[:100]!r}, which is no path ({error})") from error


def read_picture(path: Path) -> UInt8[ndarray, "h w 3"]:
    """Reads a picture as RGB.

    Raises:
        DataError: it is not a picture, or damaged.
    """
    try:
        with open_picture(path, formats=ALL_FORMATS) as image:
            return np.asarray(image.convert("RGB"))
    except ValueError as error:
        raise DataError(f"{path} can not be read as a picture ({error})") from error


def _picture_name(path: Path) -> Path:
    """The name of what is written for a picture: pictures of other formats become PNG files."""
    return path if path.suffix.lower() in PICTURE_SUFFIXES else path.with_suffix(".png")


def _read_frame(name: Path, path: Path) -> Frame | Unreadable:
    try:
        return Frame(name, read_picture(path))
    except DataError as error:
        return Unreadable(str(error))


def _read_stream(
    capture: cv2.VideoCapture, title: str, text: str, expected: int
) -> Iterator[Frame | Unreadable]:
    """The frames; at last a complaint where they are too few.

    Args:
        expected: how many; some containers only estimate it, so that one less is no reason.
    """
    for number in itertools.count():
        is_read, bgr = capture.read()
        if not is_read:
            if number < expected - 1:
                yield Unreadable(
                    f"{text} ends after {number} of the {expected} frames it announces"
                )
            return
        try:
            check_size(*bgr.shape[:2])
        except ValueError as error:
            yield Unreadable(f"{text} ends after {number} frames, since of the next one {error}")
            return
        yield Frame(Path(f"{title}_{number:06d}.png"), cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
