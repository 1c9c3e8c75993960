"""Measures every frame of a set."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from packnet_jax.data.store import FrameStore, StoredFrame
from packnet_jax.errors import DataError
from tfds_builders.pictures import grey_thumbnail, mean_difference

STATIC_BELOW = 1.0
"""Levels of 0 to 255; what a camera that stands still differs by from frame to frame."""

UNIFORM_BELOW = 2.0
"""Standard deviation, in the same levels, of a picture that shows nothing."""


class Camera(NamedTuple):
    """A camera matrix and the size of its pictures."""

    shape: tuple[int, int]
    fx: float
    fy: float
    cx: float
    cy: float


class Step(NamedTuple):
    """The measured motion between neighbours."""

    name: str
    """Of the later frame."""
    metres: float
    degrees: float


class DepthMap(NamedTuple):
    """What a target's ground truth holds."""

    name: str
    coverage: float
    """Share of the pixels."""
    nearest: float
    farthest: float


@dataclass
class Walk:
    """What was found on the way through a set."""

    num_frames: int = 0
    cameras: Counter[Camera] = field(default_factory=Counter)
    """Number of frames by camera."""
    unreadable: list[str] = field(default_factory=list)
    static: list[str] = field(default_factory=list)
    """Frames nearly equal to the one before."""
    uniform: list[str] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)
    """Frames whose files are equal to an earlier one's, and that one."""
    steps: list[Step] = field(default_factory=list)
    num_neighbours: int = 0
    """Frames whose number follows the one before in the same stream."""
    depths: list[DepthMap] = field(default_factory=list)


def walk_through(store: FrameStore, *, max_frames: int | None = None) -> Walk:
    """Decodes the frames one after the other, `max_frames` from the beginning, or all."""
    walk = Walk()
    first_seen: dict[bytes, str] = {}
    targets = set(store.targets.tolist())
    previous: tuple[StoredFrame, np.ndarray] | None = None
    for record, follows in tqdm(_records(store, max_frames), desc=store.name, leave=False):
        frame = store[record]
        walk.num_frames += 1
        try:
            image, depth = frame.image(), frame.depth() if record in targets else None
        except DataError as error:
            walk.unreadable.append(str(error))
            previous = None
            continue
        walk.cameras[_camera(store, frame, image.shape[:2])] += 1
        _note_copy(walk, first_seen, frame)
        thumbnail = grey_thumbnail(image)
        if thumbnail.std() < UNIFORM_BELOW:
            walk.uniform.append(frame.name)
        if follows and previous is not None:
            walk.num_neighbours += 1
            if mean_difference(thumbnail, previous[1]) < STATIC_BELOW:
                walk.static.append(frame.name)
            if store.has_pose:
                walk.steps.append(_step(previous[0], frame))
        if depth is not None:
            walk.depths.append(_depth_map(frame.name, depth))
        previous = frame, thumbnail
    return walk


def _records(store: FrameStore, max_frames: int | None) -> Sequence[tuple[int, bool]]:
    """Records, each with whether it follows the one before in time."""

    def all_of_them() -> Iterator[tuple[int, bool]]:
        for stream in store.streams:
            numbers = stream["numbers"]
            for position, number in enumerate(numbers):
                follows = position > 0 and number == numbers[position - 1] + 1
                yield stream["first_record"] + position, follows

    return list(all_of_them())[:max_frames]


def _camera(store: FrameStore, frame: StoredFrame, shape: tuple[int, int]) -> Camera:
    K = frame.intrinsics
    full = shape if store.framing is None else frame.full_shape
    return Camera(full, *(float(K[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2))))


def _note_copy(walk: Walk, first_seen: dict[bytes, str], frame: StoredFrame) -> None:
    digest = hashlib.sha256(frame.encoded["image"]).digest()
    if digest in first_seen:
        walk.copies.append((frame.name, first_seen[digest]))
    first_seen.setdefault(digest, frame.name)


def _step(before: StoredFrame, after: StoredFrame) -> Step:
    motion = np.linalg.inv(before.world_T_camera) @ after.world_T_camera
    cosine = np.clip((np.trace(motion[:3, :3]) - 1) / 2, -1, 1)
    return Step(
        after.name, float(np.linalg.norm(motion[:3, 3])), float(np.degrees(np.arccos(cosine)))
    )


def _depth_map(name: str, depth: np.ndarray) -> DepthMap:
    known = depth[depth > 0]
    if not known.size:
        return DepthMap(name, 0.0, 0.0, 0.0)
    return DepthMap(name, known.size / depth.size, float(known.min()), float(known.max()))
