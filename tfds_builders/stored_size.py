"""Pictures that are cropped and resized before they are stored, for runs at one size alone."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.frame_checks import picture_shape
from tfds_builders.pictures import CropBorders, crop_box, decode_image, resize_image


class StoredSize(NamedTuple):
    """How pictures are stored: as the reader would make them, so that it need not.

    Intrinsics, depth and the feature `full_shape` (int64 [2]) remain those of the full picture.
    """

    shape: tuple[int, int] | None
    """Height and width; None for the files as they are."""
    crop: CropBorders
    """What is cut off before; see `pictures.crop_box`."""

    @property
    def features(self) -> dict[str, tfds.features.FeatureConnector]:
        """What a builder stores besides."""
        if self.shape is None:
            return {}
        encoding = tfds.features.Encoding.BYTES
        return {"full_shape": tfds.features.Tensor(shape=(2,), dtype=np.int64, encoding=encoding)}

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What a builder says of the set besides."""
        if self.shape is None:
            return {}
        return {"stored_shape": list(self.shape), "stored_crop": list(self.crop)}

    def extra(self, full_shape: tuple[int, int]) -> dict[str, Any]:
        """Values of `features` for a picture of that size."""
        return {} if self.shape is None else {"full_shape": np.array(full_shape, np.int64)}

    def store(self, data: bytes) -> bytes | np.ndarray:
        """What is stored of a picture's file.

        Raises:
            ValueError: it is to be resized and can not be decoded.
            DataError: the crop leaves it.
        """
        if self.shape is None:
            return data
        part = crop_box(self.crop, picture_shape(data)).cut(decode_image(data))
        return resize_image(part, self.shape)


FULL_SIZE = StoredSize(None, ())
"""The files as they are."""
