"""Frames at the size of a batch, made anew each time or kept in memory."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from packnet_jax.data.store import FrameStore, StoredFrame
from packnet_jax.data.transforms import resize_depth, resize_image, resize_intrinsics
from packnet_jax.errors import DataError


class ResizedFrame(NamedTuple):
    """A frame at the size of a batch."""

    record: int
    """Its position in the store."""
    image: np.ndarray
    intrinsics: np.ndarray
    world_T_camera: np.ndarray
    stereo_T_camera: np.ndarray


class ResizedFrames:
    """Frames at one size; a frame that is kept equals one made anew, so keeping is invisible."""

    def __init__(self, store: FrameStore, shape: tuple[int, int], *, is_kept: bool):
        self._store = store
        self._shape = shape
        self._kept: dict[Any, Any] | None = {} if is_kept else None

    def __getitem__(self, record: int) -> ResizedFrame:
        return self._get(record, lambda: self._resize(record, self._store[record]))

    def depth(self, record: int) -> np.ndarray:
        """Depth of a target, float32 [h, w]."""
        return self._get(("depth", record), lambda: self._resized_depth(record))

    def _get(self, key: Any, make: Callable[[], Any]) -> Any:
        if self._kept is None:
            return make()
        if key not in self._kept:  # two threads may both make it: the same value
            self._kept[key] = make()
        return self._kept[key]

    def _resize(self, record: int, frame: StoredFrame) -> ResizedFrame:
        image = frame.image()
        return ResizedFrame(
            record=record,
            image=resize_image(image, self._shape),
            intrinsics=resize_intrinsics(frame.intrinsics, image.shape[:2], self._shape),
            world_T_camera=frame.world_T_camera,
            stereo_T_camera=frame.stereo_T_camera,
        )

    def _resized_depth(self, record: int) -> np.ndarray:
        depth = self._store[record].depth()
        if depth is None:
            raise DataError(f"{self._store[record].name} has no depth in {self._store.name}.")
        return resize_depth(depth, self._shape)


def motion(target: ResizedFrame, context: Sequence[ResizedFrame]) -> np.ndarray:
    """context_T_target, float32 [n, 4, 4]."""
    motion = np.zeros((len(context), 4, 4))
    for i, frame in enumerate(context):
        rotation, translation = frame.world_T_camera[:3, :3], frame.world_T_camera[:3, 3]
        context_T_world = np.eye(4)
        context_T_world[:3, :3] = rotation.T
        context_T_world[:3, 3] = -rotation.T @ translation
        motion[i] = context_T_world @ target.world_T_camera
    return motion.astype(np.float32)
