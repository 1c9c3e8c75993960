"""Frames in the order of time, for whoever follows a camera along a drive."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import grain
import numpy as np
from absl import logging

from packnet_jax.config import Config
from packnet_jax.data.ahead import read_ahead
from packnet_jax.data.resized import check_framing, frame_picture
from packnet_jax.data.sources import open_source
from packnet_jax.data.store import FrameStore, Framing
from packnet_jax.data.transforms import to_float
from packnet_jax.errors import DataError


class Drive(NamedTuple):
    """Frames of one stream whose numbers follow one another."""

    name: str
    """The stream's, and the first and last number where it is cut into several."""
    records: range
    """Positions in the store."""
    first_number: int


class DriveFrame(NamedTuple):
    """One frame, its picture at the size of a network."""

    rgb: np.ndarray
    """float32 [h, w, 3] in [0, 1]."""
    world_T_camera: np.ndarray
    """True pose, float64 [4, 4], metres."""
    timestamp: float | None
    """Seconds; None where the store has no times."""


class DriveSet:
    """The drives of a store that are long enough, their frames with true poses."""

    def __init__(
        self,
        store: FrameStore,
        *,
        name: str,
        framing: Framing,
        min_length: int,
        num_threads: int = 4,
        prefetch: int = 8,
    ):
        """Args:
        store: the frames.
        name: of the report.
        framing: which part of every picture, at which size.
        min_length: frames of the shortest drive that is kept; `left_out` names the others.
        num_threads: threads that prepare frames ahead; 0 for none.
        prefetch: how many are prepared ahead, at most, or one for each thread.

        Raises:
            DataError: the store has no poses, no drive is long enough, or its pictures can not be
                framed so.
        """
        if not store.has_pose:
            raise DataError(
                f"{store.name} has no camera poses to compare with: the poses of some or all of "
                "its frames are missing (KITTI raw keeps them in oxts/, KITTI odometry in poses/, "
                "and only for sequences 00 to 10)"
            )
        check_framing(store, framing)
        found = find_drives(store)
        self.name = name
        self.drives = [drive for drive in found if len(drive.records) >= min_length]
        self.left_out = [drive.name for drive in found if len(drive.records) < min_length]
        if not self.drives:
            longest = max((len(drive.records) for drive in found), default=0)
            raise DataError(
                f"{store.name} has no {min_length} frames in a row, only {longest}; give a split "
                "that lists whole drives"
            )
        if self.left_out:
            logging.warning(
                "%s: %d drives of less than %d frames are left out, first: %s",
                store.name,
                len(self.left_out),
                min_length,
                ", ".join(self.left_out[:3]),
            )
        self._store = store
        self._framing = framing
        self._read_options = read_ahead(num_threads, prefetch)

    def frames(self, drive: Drive) -> Iterator[DriveFrame]:
        """The frames of a drive, each once, in order."""
        frames = grain.MapDataset.range(len(drive.records)).map(
            lambda position: self._read(drive.records[position])
        )
        return iter(frames.to_iter_dataset(self._read_options))

    def _read(self, record: int) -> DriveFrame:
        frame = self._store[record]
        if not np.isfinite(frame.world_T_camera).all():
            raise DataError(f"The pose of {frame.name} in {self._store.name} is not finite.")
        picture = frame_picture(self._store, frame, self._framing)
        return DriveFrame(to_float(picture.image), frame.world_T_camera, frame.timestamp)


def find_drives(store: FrameStore) -> list[Drive]:
    """All drives of a store; streams are cut wherever a number is missing."""
    drives = []
    for stream in store.streams:
        numbers = np.array(stream["numbers"])
        starts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
        parts = [range(a, b) for a, b in itertools.pairwise(starts)]
        for part in parts:
            first, last = int(numbers[part[0]]), int(numbers[part[-1]])
            name = stream["name"] if len(parts) == 1 else f"{stream['name']}/{first}-{last}"
            at = stream["first_record"]
            drives.append(Drive(name, range(at + part.start, at + part.stop), first))
    return drives


def open_drives(config: Config, *, min_length: int) -> tuple[DriveSet, ...]:
    """The drives of each of `data.eval_sources`, framed as in training.

    No depth is read, and frames that only serve as context belong to the drives.

    Raises:
        ConfigError: no data set is chosen.
        DataError: files, splits or poses are missing, or a set has no drive long enough.
    """
    data = config.data
    sets = []
    for source, name in zip(data.eval_sources, data.eval_names, strict=True):
        without_depth = dataclasses.replace(source, depth_type="", input_depth_type="")
        sets.append(
            DriveSet(
                open_source(without_depth, data, for_training=True),
                name=name,
                framing=Framing(data.image_shape, data.crop_train_borders),
                min_length=min_length,
                num_threads=data.num_threads,
                prefetch=data.prefetch,
            )
        )
    return tuple(sets)
