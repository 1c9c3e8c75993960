"""Depth maps as bytes, so that a frame can be read without paying for its depth."""

import struct
import zlib

import numpy as np

# magic, height, width, number of stored values; the count is -1 where all are stored (dense).
_HEADER = struct.Struct("<4sIIi")
_MAGIC = b"dpt1"
_SPARSE_BELOW = 0.5
_MAX_PIXELS = 2**28


def encode_depth(depth: np.ndarray | None) -> bytes:
    """Compresses a depth map without loss of float32 precision; None becomes empty bytes.

    Values that are not finite and positive mean "no depth" and come back as 0. Sparse maps are
    kept as flat positions and values, others whole.
    """
    if depth is None:
        return b""
    if depth.ndim != 2:
        raise ValueError(f"A depth map has shape [h, w], but this one has {depth.shape}.")
    flat = depth.astype("<f4").ravel()
    is_valid = np.isfinite(flat) & (flat > 0)
    positions = np.flatnonzero(is_valid)
    if len(positions) < _SPARSE_BELOW * flat.size:
        steps = np.diff(positions, prepend=0).astype("<u4")
        count, body = len(positions), steps.tobytes() + flat[positions].tobytes()
    else:
        count, body = -1, np.where(is_valid, flat, 0).astype("<f4").tobytes()
    return _HEADER.pack(_MAGIC, *depth.shape, count) + zlib.compress(body, 6)


def decode_depth(data: bytes) -> np.ndarray | None:
    """The inverse of `encode_depth`: float32 [h, w], or None for empty bytes.

    Raises:
        ValueError: if the bytes are not a depth map that `encode_depth` wrote.
    """
    if not data:
        return None
    try:
        magic, height, width, count = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError(f"it starts with {magic!r} instead of {_MAGIC!r}")
        num_pixels = height * width
        if num_pixels > _MAX_PIXELS or count > num_pixels:
            raise ValueError(f"it declares {height} x {width} pixels and {count} values")
        # A wrong size is found out below; no more is decompressed than the header declares.
        expected = 4 * num_pixels if count < 0 else 8 * count
        body = zlib.decompressobj().decompress(data[_HEADER.size :], max(expected, 1))
        if count < 0:
            return np.frombuffer(body, "<f4").reshape(height, width).copy()
        depth = np.zeros(num_pixels, np.float32)
        positions = np.cumsum(np.frombuffer(body, "<u4", count), dtype=np.int64)
        depth[positions] = np.frombuffer(body, "<f4", count, offset=4 * count)
        return depth.reshape(height, width)
    except (struct.error, zlib.error, ValueError, IndexError) as error:
        raise ValueError(f"These {len(data)} bytes are not a depth map: {error}.") from error
