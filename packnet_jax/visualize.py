"""Pictures of inverse depth, and files of depth, written atomically."""

import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from packnet_jax.errors import DataError
from packnet_jax.untrusted import open_picture, read_arrays

PNG_DEPTH_SCALE = 256  # 16-bit depth pictures hold metres * 256

JPEG_QUALITY = 95  # the original's, which is OpenCV's default

Notes = Mapping[str, str | float]
"""What a file says of itself beside its pixels, such as the unit of its depth."""


def colorize_inv_depth(
    inv_depth: Float[ndarray, "h w"],
    *,
    normalizer: float | None = None,
    percentile: float = 95,
    colormap: str = "plasma",
    ignore_zeros: bool = False,
) -> Float[ndarray, "h w 3"]:
    """Colours in [0, 1]: bright is near.

    Args:
        normalizer: the inverse depth that gets the brightest colour; by default the map's own
            `brightest_inv_depth`, so that pictures of different maps do not share a scale.

    Source: packnet-sfm utils/depth.py: viz_inv_depth.
    Differs: does not change its argument (reference bug 10).
    """
    import matplotlib  # no program waits for it that draws nothing

    if normalizer is None:
        normalizer = brightest_inv_depth(
            inv_depth, percentile=percentile, ignore_zeros=ignore_zeros
        )
    relative = np.clip(inv_depth / np.asarray(normalizer + 1e-6, inv_depth.dtype), 0, 1)
    return matplotlib.colormaps[colormap](relative)[..., :3]


def brightest_inv_depth(
    inv_depth: Float[ndarray, "h w"], *, percentile: float = 95, ignore_zeros: bool = False
) -> float:
    """The inverse depth that gets the brightest colour in a picture of this map alone.

    Args:
        ignore_zeros: leave zeros (no value) out of the percentile.
    """
    counted = inv_depth[inv_depth > 0] if ignore_zeros else inv_depth
    return float(np.percentile(counted, percentile)) if counted.size else 1.0


def stack_picture(
    rgb: Float[ndarray, "h w 3"],
    inv_depth: Float[ndarray, "h w"],
    *,
    normalizer: float | None = None,
) -> UInt8[ndarray, "h2 w 3"]:
    """The picture with its inverse depth below it, coloured by `colorize_inv_depth`."""
    colours = colorize_inv_depth(inv_depth, normalizer=normalizer)
    return to_uint8(np.concatenate([rgb, colours], axis=0))


def to_uint8(image: Float[ndarray, "h w c"]) -> UInt8[ndarray, "h w c"]:
    """[0, 1] to 0..255, rounded."""
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def write_image(path: Path, image: UInt8[ndarray, "h w 3"], notes: Notes | None = None) -> None:
    """Writes a picture in the format of the path's suffix.

    Args:
        notes: written as text chunks of a PNG, or as the comment of a JPEG.
    """
    buffer = io.BytesIO()
    kind = Image.registered_extensions()[path.suffix.lower()]
    Image.fromarray(image).save(buffer, format=kind, **_metadata(kind, notes))
    write_atomically(path, buffer.getvalue())


def write_depth(
    path: Path,
    depth: Float[ndarray, "h w"],
    intrinsics: Float[ndarray, "3 3"] | None = None,
    notes: Notes | None = None,
    *,
    rays: Mapping[str, ndarray] | None = None,
) -> None:
    """Writes a depth map as `.npz` (exact) or 16-bit `.png` (metres * 256, at most 255.99).

    The `.npz` holds `depth` and `intrinsics`; unknown intrinsics are an empty array [0, 0]. Notes
    become further entries of the `.npz`, or text chunks of the `.png`.

    Args:
        rays: entries of the `.npz` instead of `intrinsics`, where the camera is no pinhole.

    Source: packnet-sfm utils/depth.py: write_depth.
    Differs: unknown intrinsics are an empty array and not a pickled None, which numpy refuses to
        load by default.
    """
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        known = np.zeros((0, 0), np.float32) if intrinsics is None else intrinsics
        camera = {"intrinsics": known} if rays is None else rays
        entries: dict[str, Any] = {"depth": depth, **camera, **(notes or {})}
        np.savez_compressed(buffer, **entries)
    elif path.suffix == ".png":
        levels = np.clip(depth * PNG_DEPTH_SCALE, 0, np.iinfo(np.uint16).max)
        picture = Image.fromarray(levels.astype(np.uint16))
        picture.save(buffer, format="PNG", **_metadata("PNG", notes))
    else:
        raise DataError(f"{path}: depth is written as .npz or .png, not {path.suffix!r}")
    write_atomically(path, buffer.getvalue())


def _metadata(kind: str, notes: Notes | None) -> dict[str, Any]:
    """Pillow's options for a file of that kind: the notes, and the quality of a JPEG.

    Raises:
        ValueError: there are notes for a format that takes none.
    """
    texts = {key: str(value) for key, value in (notes or {}).items()}
    match kind:
        case "PNG":
            chunks = PngInfo()
            for key, text in texts.items():
                chunks.add_text(key, text)
            return {"pnginfo": chunks}
        case "JPEG":
            comment = "; ".join(f"{key}: {text}" for key, text in texts.items())
            return {"comment": comment, "quality": JPEG_QUALITY}
        case _ if texts:
            raise ValueError(f"notes are written into PNG and JPEG files, not into {kind}")
        case _:
            return {}


def read_depth(path: Path) -> Float[ndarray, "h w"]:
    """Reads a depth map in metres, 0 where there is none, as `write_depth` or KITTI stores it.

    Returns:
        The `depth` of an `.npz` as it is; the levels of a 16-bit `.png` / 256, float64.

    Raises:
        DataError: the file can not be read, or holds no depth.

    Source: packnet-sfm utils/depth.py: load_depth.
    Differs: tells 8-bit pictures by their format and not by their largest level, so that a map
        with nothing beyond a metre can be read.
    """
    if path.suffix not in (".npz", ".png"):
        raise DataError(f"{path}: depth is read from .npz or .png, not {path.suffix!r}")
    try:
        if path.suffix == ".npz":
            return _checked_map(path, read_arrays(path, ["depth"])["depth"])
        with open_picture(path) as picture:
            mode, levels = picture.mode, np.asarray(picture, np.float64)
    except KeyError as error:
        raise DataError(f"{path}: holds no array 'depth'") from error
    except ValueError as error:
        raise DataError(f"{path}: can not be read as depth: {error}") from error
    if not mode.startswith("I"):
        raise DataError(f"{path}: depth is a 16-bit grey picture, but this one is {mode!r}")
    return levels / PNG_DEPTH_SCALE


def _checked_map(path: Path, depth: ndarray) -> Float[ndarray, "h w"]:
    if depth.ndim != 2 or not depth.size:
        raise DataError(f"{path}: its depth has shape {depth.shape}, expected rows and columns")
    return depth


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file that is either whole or not there, whenever the process is killed."""
    with open_atomically(path) as file:
        file.write(data)


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its path when the block ends, and not if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
