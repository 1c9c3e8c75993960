"""Lists of KITTI raw frames, in the three ways they are handed round."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from packnet_jax.errors import DataError
from packnet_jax.untrusted import relative_path
from tfds_builders.kitti_files import OTHER_CAMERA

CAMERA_OF_SIDE = {"l": "image_02", "r": "image_03"}
SUFFIXES = (".png", ".jpg")

_FOLDERS = (".", "data_splits", "splits")
_NUM_DIGITS = 10
_MAX_DIGITS = 18


class FrameId(NamedTuple):
    """One picture of KITTI raw: 'date/drive/camera/data/digits.png'."""

    stream: str
    """'date/drive/camera/data'."""

    digits: str
    suffix: str
    """Of the picture's file, as the list says; see `picture_path`."""

    @property
    def name(self) -> str:
        return f"{self.stream}/{self.digits}"

    @property
    def number(self) -> int:
        return int(self.digits)

    def beside(self, offset: int) -> "FrameId":
        """The frame that many steps later in the same stream."""
        return self._replace(digits=f"{self.number + offset:0{len(self.digits)}d}")

    def other_eye(self) -> "FrameId":
        """The frame of the other colour camera at the same time."""
        date, drive, camera, data = self.stream.split("/")
        return self._replace(stream=f"{date}/{drive}/{OTHER_CAMERA[camera]}/{data}")

    def picture_path(self, root: Path) -> Path | None:
        """The picture's file: with the list's suffix, else the other one; None without either.

        Lists with '.jpg' lines are in use with the '.png' files that KITTI ships, and the reverse.
        """
        for suffix in dict.fromkeys((self.suffix, *SUFFIXES)):
            path = root / f"{self.name}{suffix}"
            if path.is_file():
                return path
        return None


def find_split(root: str, split: str) -> Path:
    """The split file of that name beside the data, or at that path.

    In the root and in its folders `data_splits` and `splits`, the name 'eigen_zhou' finds
    'eigen_zhou.txt', 'eigen_zhou_files.txt' (packnet-sfm), 'eigen_zhou_train_files.txt' and
    'eigen_zhou/train_files.txt' (monodepth2), in this order; 'eigen_val' and 'eigen_test' find
    'eigen/val_files.txt' and 'eigen/test_files.txt' of monodepth2 last.

    Raises:
        DataError: if there is none; the message lists the places looked at.
    """
    folder = Path(root).expanduser()
    places = [folder / beside / name for beside in _FOLDERS for name in _file_names(split)]
    places.append(Path(split).expanduser())
    for place in places:
        if split and place.is_file():
            return place
    looked = ", ".join(str(place) for place in places)
    raise DataError(
        f"There is no split {split!r}: looked for {looked}. Set `data.split` to a file with one "
        "picture path per line, and `data.root` to the folder those paths start from."
    )


def split_name(path: Path) -> str:
    """A name for what was built from that file: monodepth2's need their folder's, too."""
    if path.stem in ("train_files", "val_files", "test_files"):
        return f"{path.parent.name}_{path.stem}"
    return path.stem


def parse_line(line: str) -> FrameId:
    """The target of one line of a split.

    Accepted are a picture's path below the root (packnet-sfm), two of them (monodepth; the second
    is ignored), and 'date/drive number l' or 'r' for the left or right colour camera (monodepth2).

    Raises:
        DataError: if the line is something else.
    """
    words = line.split()
    try:
        path = relative_path(words[0] if words else "", "it")
    except ValueError:
        path = PurePosixPath()
    if len(path.parts) == 5 and path.parts[2] in OTHER_CAMERA and _is_number(path.stem):
        return FrameId(str(path.parent), path.stem, path.suffix)
    if len(path.parts) == 2 and len(words) == 3:
        number, side = words[1:]
        if _is_number(number) and side in CAMERA_OF_SIDE:
            stream = f"{path}/{CAMERA_OF_SIDE[side]}/data"
            return FrameId(stream, f"{int(number):0{_NUM_DIGITS}d}", SUFFIXES[0])
    raise DataError(
        f"The split line {line[:200]!r} is neither a path like "
        "'2011_09_26/2011_09_26_drive_0023_sync/image_02/data/0000000001.png' nor like "
        "'2011_09_26/2011_09_26_drive_0023_sync 1 l'; no path may be absolute or go up by '..'."
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS


def _file_names(split: str) -> list[str]:
    if split.endswith(".txt"):
        return [split]
    stem, _, part = split.rpartition("_")
    if stem and part in ("train", "val", "test"):
        return [f"{split}.txt", f"{split}_files.txt", f"{stem}/{part}_files.txt"]
    names = ("{}.txt", "{}_files.txt", "{}_train_files.txt", "{}/train_files.txt")
    return [name.format(split) for name in names]
