"""Frames at the size of a batch, made anew each time or kept in memory."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from packnet_jax.data.store import FrameStore, Framing, StoredFrame
from packnet_jax.data.transforms import (
    crop_box,
    resize_depth,
    resize_image,
    resize_intrinsics,
    resize_mask,
)
from packnet_jax.errors import DataError
from tfds_builders.pictures import Box

ResizeDepth = Callable[[np.ndarray, tuple[int, int]], np.ndarray]
"""Brings depth [h, w] to a height and width."""


class FramedPicture(NamedTuple):
    """The part of a picture that is shown, at the size of a batch."""

    image: np.ndarray
    """uint8 [h, w, 3]."""
    intrinsics: np.ndarray
    """float64 [3, 3], in pixels of `image`."""
    box: Box
    """The part of the full picture."""


class ResizedFrame(NamedTuple):
    """A frame at the size of a batch."""

    record: int
    """Its position in the store."""
    image: np.ndarray
    intrinsics: np.ndarray
    world_T_camera: np.ndarray
    stereo_T_camera: np.ndarray


def check_framing(store: FrameStore, framing: Framing) -> None:
    """Refuses what the pictures of a store can not show, by looking at one picture per stream.

    Raises:
        DataError: the crop leaves a picture, or the pictures are stored at another size.
    """
    if store.framing is not None and store.framing != framing:
        raise DataError(
            f"{store.name} holds pictures at {store.framing.shape}, cropped by "
            f"{store.framing.crop}, but {framing.shape}, cropped by {framing.crop}, is asked for; "
            "set `data.store_resized` to False, or build a set for that shape and crop."
        )
    if framing.crop and store.framing is None:
        for stream in store.streams:
            crop_box(framing.crop, store[stream["first_record"]].image_shape)


def check_input_depth(store: FrameStore, feature: str) -> None:
    """Refuses a feature that the targets of a store lack; '' asks for none.

    Raises:
        DataError: it was built without.
    """
    if feature and feature not in store[store.targets[0]].encoded:
        raise DataError(f"{store.name} was built without the feature {feature!r}.")


def frame_picture(store: FrameStore, frame: StoredFrame, framing: Framing) -> FramedPicture:
    """Crops a stored picture and then resizes it, unless it is stored so.

    Source: packnet-sfm `datasets/transforms.py`.
    """
    image = frame.image()
    full_shape = image.shape[:2] if store.framing is None else frame.full_shape
    box = crop_box(framing.crop, full_shape)
    if store.framing is None:
        image = resize_image(box.cut(image), framing.shape)
    intrinsics = box.shift_intrinsics(frame.intrinsics)
    return FramedPicture(image, resize_intrinsics(intrinsics, box.shape, framing.shape), box)


def framed_mask(mask: np.ndarray, framing: Framing) -> np.ndarray:
    """Crops a mask [h, w] and then resizes it, as `frame_picture` its pictures."""
    return resize_mask(crop_box(framing.crop, mask.shape).cut(mask), framing.shape)


class ResizedFrames:
    """Frames at one size; a frame that is kept equals one made anew, so keeping is invisible."""

    def __init__(self, store: FrameStore, framing: Framing, *, is_kept: bool):
        """Args:
        store: the frames.
        framing: which part of every picture, at which size.
        is_kept: whether to keep each frame in memory.

        Raises:
            DataError: the store's pictures can not be framed so.
        """
        check_framing(store, framing)
        self._store = store
        self._framing = framing
        self.mask = None if store.mask is None else framed_mask(store.mask, framing)
        """Which pixels count, bool [h, w]; None if all do."""
        self._kept: dict[Any, Any] | None = {} if is_kept else None

    def __getitem__(self, record: int) -> ResizedFrame:
        return self._get(record, lambda: self._resize(record, self._store[record]))

    def depth(
        self, record: int, feature: str = "depth", resize: ResizeDepth = resize_depth
    ) -> np.ndarray:
        """Depth of a target, float32 [h, w]; always ask for a feature with the same `resize`."""
        return self._get((feature, record), lambda: self._resized_depth(record, feature, resize))

    def _get(self, key: Any, make: Callable[[], Any]) -> Any:
        if self._kept is None:
            return make()
        if key not in self._kept:  # two threads may both make it: the same value
            self._kept[key] = make()
        return self._kept[key]

    def _resize(self, record: int, frame: StoredFrame) -> ResizedFrame:
        picture = frame_picture(self._store, frame, self._framing)
        return ResizedFrame(
            record=record,
            image=picture.image,
            intrinsics=picture.intrinsics,
            world_T_camera=frame.world_T_camera,
            stereo_T_camera=frame.stereo_T_camera,
        )

    def _resized_depth(self, record: int, feature: str, resize: ResizeDepth) -> np.ndarray:
        frame = self._store[record]
        depth = frame.depth(feature)
        if depth is None:
            raise DataError(f"{frame.name} has no {feature} in {self._store.name}.")
        box = crop_box(self._framing.crop, depth.shape)
        return resize(box.cut(depth), self._framing.shape)


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
