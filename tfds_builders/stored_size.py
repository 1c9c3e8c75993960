"""Pictures that are cropped and resized before they are stored, for runs at one size alone."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from packnet_jax.errors import DataError
from tfds_builders.frame_checks import picture_shape
from tfds_builders.pictures import CropBorders, crop_box, decode_image, encode_bmp, resize_image


@dataclasses.dataclass(frozen=True)
class StoredSize:
    """How pictures are stored: as the reader would make them, so that it need not.

    Resized ones are stored as BMP, a fifth larger than PNG in a record and read six times as fast.
    Intrinsics, depth, mask and the feature `full_shape` (int64 [2]) remain those of the full
    picture.

    Raises:
        DataError: a crop is given without a shape.
    """

    shape: tuple[int, int] | None = None
    """Height and width; None for the files as they are."""
    crop: CropBorders = ()
    """What is cut off before; see `pictures.crop_box`."""

    def __post_init__(self) -> None:
        if self.crop and self.shape is None:
            raise DataError(
                f"Pictures were to be stored with the crop {self.crop} but without a shape, that "
                "is, as their files are; give the height and width to resize them to, or no crop."
            )

    @property
    def settings(self) -> dict[str, Any]:
        """Both, by their names in metadata and in what the names of sets are hashed from."""
        return {"stored_shape": self.shape, "stored_crop": self.crop}

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
        return {key: list(value) for key, value in self.settings.items()}

    def extra(self, full_shape: tuple[int, int]) -> dict[str, Any]:
        """Values of `features` for a picture of that size."""
        return {} if self.shape is None else {"full_shape": np.array(full_shape, np.int64)}

    def store(self, picture: bytes | np.ndarray) -> bytes | np.ndarray:
        """What is stored of a picture: its file, or a video's frame, uint8 [h, w, 3].

        Raises:
            ValueError: it is to be resized and can not be decoded.
            DataError: the crop leaves it.
        """
        if self.shape is None:
            return picture
        image = whole_image(picture)
        resized = resize_image(crop_box(self.crop, image.shape[:2]).cut(image), self.shape)
        return encode_bmp(resized)


def whole_image(picture: bytes | np.ndarray) -> np.ndarray:
    """The pixels of a file or of a video's frame, uint8 [h, w, 3].

    Raises:
        ValueError: the file is no picture, or cut short.
    """
    if not isinstance(picture, bytes):
        return picture
    picture_shape(picture)  # refuses a file cut short, where OpenCV would fill in grey
    return decode_image(picture)


FULL_SIZE = StoredSize()
"""The files as they are."""
