"""Sequences of the KITTI odometry benchmark: pictures in time order, with poses and times."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import tensorflow_datasets as tfds

from packnet_jax.errors import DataError
from packnet_jax.untrusted import open_picture
from tfds_builders.frames import Frame, FramesBuilder, Missing
from tfds_builders.kitti_files import make_transform, read_rows
from tfds_builders.velodyne import project_scan, read_scan

DEPTH_TYPES = ("", "velodyne")
DEFAULT_CAMERA = "image_2"

_PART = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?(?:_(image_[0-3]))?")
_SUFFIXES = (".png", ".jpg")
_RIGID = 1e-3
"""How far a rotation in a file may be from an exact one; KITTI's are to about 1e-6."""


class SequenceId(NamedTuple):
    """One camera along one sequence."""

    sequence: str
    """Name of its folder: '09'."""
    camera: str
    """'image_0' or 'image_1' (grey), 'image_2' or 'image_3' (colour)."""

    @property
    def stream(self) -> str:
        """As the frames name it: '09/image_2'."""
        return f"{self.sequence}/{self.camera}"


@dataclasses.dataclass
class KittiOdometryConfig(tfds.core.BuilderConfig):
    """Says which frames a store holds; its name contains a hash of the fields below."""

    root: str = ""
    split: str = ""
    depth_type: str = ""


class KittiOdometry(FramesBuilder):
    """Whole sequences; see `parse_split`. Every frame is a target.

    `root` holds `sequences/NN/{image_K/*.png,calib.txt,times.txt}` and `poses/NN.txt`. A pose is
    exactly that of the camera whose pictures are read. The files give that of the left grey camera,
    which lies up to 0.6 m beside the others; the calibration says where. The world is that camera
    at the sequence's first frame. Without a file of poses (sequences 11 to 21) frames have none.

    With depth, the scans in `sequences/NN/velodyne` are projected by the calibration's row Tr.
    The feature `timestamp` is in seconds from the first frame, not-a-number without `times.txt`.
    """

    @classmethod
    def from_options(cls, *, data_dir: str, root: str, split: str, depth_type: str = "") -> Self:
        """The builder for some sequences; see `FramesBuilder.from_options`.

        Args:
            data_dir: where built sets are kept.
            root: the folder that holds `sequences` and `poses`.
            split: see `parse_split`.
            depth_type: 'velodyne', or '' for none.

        Raises:
            DataError: the split or depth type is none, or a folder is missing.
        """
        if depth_type not in DEPTH_TYPES:
            raise DataError(f"Depth type {depth_type!r} is unknown; there are {DEPTH_TYPES}.")
        folder = Path(root).expanduser().resolve()
        for sequence in parse_split(split):
            _check_folder(folder, sequence)
        options = [str(folder), split, depth_type]
        fingerprint = hashlib.sha256(json.dumps(options).encode()).hexdigest()[:10]
        config = KittiOdometryConfig(
            name=f"{re.sub('[^0-9a-z_-]', '_', split)}-{fingerprint}",
            root=str(folder),
            split=split,
            depth_type=depth_type,
        )
        return cls(config=config, data_dir=data_dir)

    @property
    def config(self) -> KittiOdometryConfig:
        """Which frames this set holds."""
        assert isinstance(self.builder_config, KittiOdometryConfig)
        return self.builder_config

    @property
    def extra_features(self) -> dict[str, tfds.features.FeatureConnector]:
        """The time of every frame."""
        encoding = tfds.features.Encoding.BYTES
        return {"timestamp": tfds.features.Tensor(shape=(), dtype=np.float64, encoding=encoding)}

    def targets(self) -> Sequence[str]:
        """All frames."""
        root = Path(self.config.root)
        return [
            f"{sequence.stream}/{path.stem}"
            for sequence in parse_split(self.config.split)
            for path in _pictures(root, sequence)
        ]

    def read_frames(self) -> Iterator[Frame | Missing]:
        """The frames of one sequence after the other."""
        root = Path(self.config.root)
        for sequence in parse_split(self.config.split):
            reader = _SequenceReader.open(root, sequence, with_depth=bool(self.config.depth_type))
            for path in _pictures(root, sequence):
                yield from reader.read(path)


class _SequenceReader(NamedTuple):
    """Reads the frames of one sequence, whose calibration, poses and times it holds."""

    sequence: SequenceId
    intrinsics: np.ndarray
    world_T_camera: np.ndarray | None
    """[n, 4, 4]."""
    times: np.ndarray | None
    """Seconds, [n]."""
    image_T_velodyne: np.ndarray | None
    """[3, 4]; None where no depth is asked for."""

    @classmethod
    def open(cls, root: Path, sequence: SequenceId, *, with_depth: bool) -> Self:
        folder = root / "sequences" / sequence.sequence
        calibration = folder / "calib.txt"
        rows = read_rows(calibration)
        projection = _row(rows, f"P{sequence.camera[-1]}", calibration)
        intrinsics = projection[:, :3]
        try:
            shift = np.linalg.solve(intrinsics, projection[:, 3])
        except np.linalg.LinAlgError as error:
            raise DataError(
                f"{calibration}: the row P{sequence.camera[-1]} is of no camera"
            ) from error
        camera_T_camera0 = make_transform(np.eye(3), shift)
        poses = root / "poses" / f"{sequence.sequence}.txt"
        world_T_camera = None
        if poses.is_file():
            world_T_camera = read_poses(poses) @ np.linalg.inv(camera_T_camera0)
        times = folder / "times.txt"
        image_T_velodyne = None
        if with_depth:
            camera0_T_velodyne = np.vstack([_row(rows, "Tr", calibration), [[0, 0, 0, 1]]])
            image_T_velodyne = projection @ camera0_T_velodyne
        return cls(
            sequence,
            intrinsics,
            world_T_camera,
            _read_table(times, 1)[:, 0] if times.is_file() else None,
            image_T_velodyne,
        )

    def read(self, path: Path) -> Iterator[Frame | Missing]:
        """The frame, after a note if its depth is missing: it may still serve as context."""
        name, number = f"{self.sequence.stream}/{path.stem}", int(path.stem)
        depth, data = None, path.read_bytes()
        if self.image_T_velodyne is not None:
            try:
                depth = self._depth(path, self.image_T_velodyne, data)
            except (OSError, ValueError) as error:
                yield Missing(name, str(error))
        time = self._of_frame(self.times, number, "times.txt")
        yield Frame(
            name=name,
            stream=self.sequence.stream,
            number=number,
            image=data,
            intrinsics=self.intrinsics,
            world_T_camera=self._of_frame(
                self.world_T_camera, number, f"poses/{self.sequence.sequence}.txt"
            ),
            depth=depth,
            depth_source="" if depth is None else "velodyne, one scan (projected from velodyne)",
            extra={"timestamp": np.float64(np.nan if time is None else time)},
        )

    def _depth(self, path: Path, image_T_velodyne: np.ndarray, data: bytes) -> np.ndarray:
        scan = read_scan(path.parents[1] / "velodyne" / f"{path.stem}.bin")
        with open_picture(data) as picture:
            return project_scan(scan, image_T_velodyne, (picture.height, picture.width))

    def _of_frame(self, values: np.ndarray | None, number: int, file: str) -> np.ndarray | None:
        """The row of a frame; None without the file."""
        if values is None:
            return None
        if number >= len(values):
            raise DataError(
                f"{file} has {len(values)} rows, but sequence {self.sequence.stream} has a picture "
                f"{number:06d}; the file is cut short or of another sequence"
            )
        return values[number]


def parse_split(split: str) -> list[SequenceId]:
    """The sequences that a split names, in its order.

    '09' is one sequence, '00-08' nine, '09,10' two; colour pictures (image_2), unless a camera
    follows: '06_image_0' is the left grey one.

    Raises:
        DataError: it names none, or one twice.
    """
    sequences: list[SequenceId] = []
    for part in split.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise DataError(
                f"The split {split!r} names no sequences of KITTI odometry; expected such as '09', "
                "'00-08', '09,10' or '06_image_0'."
            )
        first, last, camera = match.groups()
        sequences += [
            SequenceId(f"{number:0{len(first)}d}", camera or DEFAULT_CAMERA)
            for number in range(int(first), int(last or first) + 1)
        ]
    if not sequences or len(set(sequences)) < len(sequences):
        raise DataError(f"The split {split!r} names a sequence twice, or a range of none.")
    return sequences


def read_poses(path: Path) -> np.ndarray:
    """The poses [n, 4, 4] of a file with twelve numbers a row, the upper rows of each matrix.

    Raises:
        DataError: the file can not be read, or a row is no finite rotation and translation.
    """
    poses = np.tile(np.eye(4), (len(table := _read_table(path, 12)), 1, 1))
    poses[:, :3] = table.reshape(-1, 3, 4)
    rotations = poses[:, :3, :3]
    deviation = np.abs(rotations @ rotations.swapaxes(1, 2) - np.eye(3)).max((1, 2))
    wrong = np.flatnonzero(~(deviation < _RIGID))
    if len(wrong):
        raise DataError(
            f"{path}: row {wrong[0] + 1} is no pose: its rotation is not orthonormal "
            f"({len(wrong)} of {len(poses)} rows)"
        )
    return poses


def _read_table(path: Path, columns: int) -> np.ndarray:
    """Finite numbers, so many in each row."""
    try:
        table = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can not be read as rows of numbers: {error}") from error
    if table.shape[1:] != (columns,) or not len(table):
        raise DataError(f"{path} holds a table {table.shape}; expected {columns} numbers a row")
    wrong = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(wrong):
        raise DataError(f"{path}: row {wrong[0] + 1} holds a value that is not finite")
    return table


def _row(rows: Mapping[str, np.ndarray], key: str, path: Path) -> np.ndarray:
    if key not in rows or rows[key].size != 12:
        raise DataError(f"{path} has no row '{key}:' of twelve numbers; it has {', '.join(rows)}")
    return rows[key].reshape(3, 4)


def _check_folder(root: Path, sequence: SequenceId) -> None:
    folder = root / "sequences" / sequence.sequence
    if (folder / sequence.camera).is_dir():
        return
    there = sorted(path.name for path in folder.glob("image_*"))
    remedy = "`data.root` is the folder that holds `sequences`"
    if there:
        remedy = f"it has {', '.join(there)}: name one, as in '{sequence.sequence}_{there[0]}'"
    raise DataError(f"There is no folder {folder / sequence.camera}; {remedy}.")


def _pictures(root: Path, sequence: SequenceId) -> list[Path]:
    """By rising number; raises DataError where two have the same."""
    folder = root / "sequences" / sequence.stream
    found = [
        path
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES and path.stem.isdecimal() and path.is_file()
    ]
    found.sort(key=lambda path: (int(path.stem), path.name))
    for a, b in pairwise(found):
        if int(a.stem) == int(b.stem):
            raise DataError(
                f"{folder} holds {a.name} and {b.name}, two pictures of one number; remove one."
            )
    return found
