"""Videos that are either whole or not there."""

import os
import tempfile
from pathlib import Path
from typing import Self

import cv2
from jaxtyping import UInt8
from numpy import ndarray

from packnet_jax.errors import DataError

CODEC = "mp4v"
"""MPEG-4 part 2, the one .mp4 codec that every build of OpenCV writes. Players show it, browsers do
not; `ffmpeg -i OUT.mp4 -c:v libx264 WEB.mp4` changes that."""


class VideoFile:
    """Writes an `.mp4` under another name; leaving the `with` block gives it its own.

    An error in the block leaves nothing behind. Without any frame there is no file.
    """

    def __init__(self, path: Path, *, fps: float):
        self.path, self._fps = path, fps
        self.num_frames = 0
        self._temporary: Path | None = None
        self._writer = cv2.VideoWriter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._writer.release()
        if self._temporary is None:
            return
        try:
            if error is None:
                self._check(self._temporary)
                self._temporary.chmod(0o644)
                self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def write(self, picture: UInt8[ndarray, "h w 3"]) -> None:
        """Adds a frame; all have the size of the first, even numbers.

        Raises:
            DataError: the file can not be written.
        """
        if self._temporary is None:
            self._open(picture.shape[:2])
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self.num_frames += 1

    def _open(self, shape: tuple[int, int]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(".mp4", f".{self.path.stem}.", self.path.parent)
        os.close(handle)
        self._temporary = Path(name)
        codec = cv2.VideoWriter.fourcc(*CODEC)
        if not self._writer.open(name, codec, self._fps, shape[::-1]):
            raise DataError(f"{self.path}: OpenCV can not write a video in {CODEC} there")

    def _check(self, written: Path) -> None:
        """OpenCV keeps quiet about full disks."""
        reader = cv2.VideoCapture(str(written))
        num_written = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
        reader.release()
        if num_written != self.num_frames:
            raise DataError(
                f"{self.path}: {num_written} of {self.num_frames} frames could be written; is the "
                "disk full?"
            )
