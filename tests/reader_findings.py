"""What the original's readers returned on real frames, against ours: pixels by their CRC-32."""

import zlib
from collections import defaultdict
from typing import Any

import numpy as np


class Findings:
    """What two readers say, field by field, over the samples of a configuration."""

    def __init__(self, golden_set: str):
        self._golden_set = golden_set
        self._pairs: dict[str, list[tuple[Any, Any]]] = defaultdict(list)

    def add(self, field: str, actual: Any, expected: Any) -> None:
        self._pairs[field].append((actual, expected))

    def add_picture(self, field: str, image: np.ndarray, expected: dict[str, Any]) -> None:
        """uint8 as read, or float32 as a batch holds it."""
        if image.dtype == np.uint8:
            self.add(f"{field}.size", image.shape[1::-1], expected["size"])
            self.add(f"{field}.crc32", zlib.crc32(image.tobytes()), expected["crc32"])
        else:
            self.add(f"{field}.shape", np.moveaxis(image, -1, 0).shape, expected["shape"])
            self.add(f"{field}.crc32", crc32_of_channels_first(image), expected["crc32"])
            levels = np.round(image * 255).astype(np.uint8).tobytes()
            self.add(f"{field}.crc32_uint8", zlib.crc32(levels), expected["crc32_uint8_hwc"])
        self.add(f"{field}.mean", image.mean(dtype=np.float64), expected["mean"])

    def add_depth(self, field: str, depth: np.ndarray, expected: dict[str, Any]) -> None:
        valid = depth[depth > 0]
        counted = {
            "count": valid.size,
            "crc32_float32": zlib.crc32(depth.tobytes()),
            "min": valid.min(),
            "max": valid.max(),
        }
        for name, value in counted.items():
            self.add(f"{field}.{name}", value, expected[name])
        self.add(f"{field}.sum", valid.sum(dtype=np.float64), expected["sum"])

    def compare(self, parity, configuration: str, num_fields: int) -> None:
        assert len(self._pairs) == num_fields, sorted(self._pairs)
        for field, pairs in self._pairs.items():
            actual, expected = (np.array(values, np.float64) for values in zip(*pairs, strict=True))
            entry, is_exact = f"{configuration}|{field}", not field.endswith((".mean", ".sum"))
            if field == "pose":  # earth coordinates of millions of metres cancel in it
                tolerance, scale = 1e-7, 0.1 + np.abs(expected)
            elif field in (
                "pose_context",
                "world_pose",
                "intrinsics",
                "extrinsics",
            ):  # in float32 here and there
                tolerance, scale = 1e-6, 1 + np.abs(expected)
            else:
                tolerance, scale = 0.0 if is_exact else 1e-6, np.abs(expected).max()
            parity.compare(
                self._golden_set, entry, actual, expected, tolerance=tolerance, scale=scale
            )


def crc32_of_channels_first(image: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(np.moveaxis(image, -1, 0)).tobytes())
