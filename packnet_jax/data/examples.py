"""Pictures to evaluate, one at a time, from stores."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import grain
import numpy as np

from packnet_jax.data.ahead import read_ahead
from packnet_jax.data.resized import ResizeDepth, check_framing, check_input_depth, frame_picture
from packnet_jax.data.store import FrameStore, Framing, StoredFrame
from packnet_jax.data.transforms import resize_depth, to_float
from packnet_jax.errors import DataError
from tfds_builders.pictures import Box, CropBorders


class EvalExample(NamedTuple):
    """One image to evaluate, without batch axis."""

    rgb: np.ndarray
    """float32 [h, w, 3] in [0, 1] at the size the network sees."""

    depth: np.ndarray | None
    """Ground truth at its own, full size, float32 [H, W] in metres, 0 = none; or None."""

    intrinsics: np.ndarray
    """float32 [3, 3], in pixels of `rgb`."""

    name: str
    """Name of the frame."""

    index: int
    """Position in the split."""

    box: Box | None = None
    """The part of the full picture, and so of `depth`, that `rgb` shows; None for all of it."""

    depth_source: str = ""
    """Where the ground truth is from; empty if the store does not say."""

    input_depth: np.ndarray | None = None
    """Sparse depth that the network sees beside `rgb`, float32 [h, w] in metres, 0 = none; or None.
    """

    input_depth_source: str = ""
    """Where that is from; empty without it."""

    mask: np.ndarray | None = None
    """Which pixels of the full picture, and so of `depth`, count, bool [H, W]; None if all do."""


class EvalPipeline:
    """The targets of a store in the order of its split, each once.

    Differs: packnet-sfm leaves the intrinsics at full size while it resizes the image; here they
    follow the image. No depth metric depends on them.
    """

    def __init__(
        self,
        store: FrameStore,
        *,
        image_shape: tuple[int, int],
        crop: CropBorders = (),
        input_depth_feature: str = "",
        resize_input_depth: ResizeDepth = resize_depth,
        num_threads: int = 4,
        prefetch: int = 8,
    ):
        """Args:
        store: the frames.
        image_shape: (height, width) of `EvalExample.rgb`.
        crop: what is cut off the picture and the input depth, but not off the ground truth, before
            resizing; see `tfds_builders.pictures.crop_box`.
        input_depth_feature: the store's feature that becomes `EvalExample.input_depth`; '' for
            none.
        resize_input_depth: brings it from the crop's size to `image_shape`.
        num_threads: threads that prepare examples ahead; 0 for none.
        prefetch: how many are prepared ahead, at most, or one for each thread.

        Raises:
            DataError: the store's pictures can not be cropped or sized so, or it lacks the feature.
        """
        self._store = store
        self._framing = Framing(image_shape, tuple(crop))
        self._input_depth_feature = input_depth_feature
        self._resize_input_depth = resize_input_depth
        check_framing(store, self._framing)
        check_input_depth(store, input_depth_feature)
        self._read_options = read_ahead(num_threads, prefetch)

    def __len__(self) -> int:
        return len(self._store.targets)

    def fingerprint(self) -> str:
        """Of the set that is read; see `FrameStore.fingerprint`."""
        return self._store.fingerprint()

    def __getitem__(self, index: int) -> EvalExample:
        frame = self._store[int(self._store.targets[index])]
        picture = frame_picture(self._store, frame, self._framing)
        example = EvalExample(
            rgb=to_float(picture.image),
            depth=frame.depth(),
            intrinsics=picture.intrinsics.astype(np.float32),
            name=frame.name,
            index=int(index),
            box=picture.box if self._framing.crop else None,
            depth_source=frame.depth_source,
            mask=self._store.mask,
        )
        return self._with_input_depth(example, frame, picture.box)

    def _with_input_depth(self, example: EvalExample, frame: StoredFrame, box: Box) -> EvalExample:
        feature = self._input_depth_feature
        if not feature:
            return example
        depth = frame.depth(feature)
        if depth is None:
            raise DataError(f"{frame.name} has no {feature} in {self._store.name}.")
        return example._replace(
            input_depth=self._resize_input_depth(box.cut(depth), self._framing.shape),
            input_depth_source=frame.source_of(feature),
        )

    def __iter__(self) -> Iterator[EvalExample]:
        return self.at(range(len(self)))

    def at(self, indices: Sequence[int]) -> Iterator[EvalExample]:
        """These examples, in this order; no others are read."""
        if not indices:
            return iter(())
        examples = grain.MapDataset.source(indices).map(self.__getitem__)
        return iter(examples.to_iter_dataset(self._read_options))
