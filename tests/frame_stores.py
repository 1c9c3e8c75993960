"""Frame stores in memory, written without TFDS, so that tests of reading need no build."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fake_kitti import png, sparse_depth
from tensorflow_datasets.proto import tf_example_pb2

from packnet_jax.data.store import FrameStore
from tfds_builders.depth_codec import encode_depth

SHAPE = (24, 40)
K = np.array([[30.0, 0, 19.5], [0, 30.0, 11.5], [0, 0, 1]])


def pose(step: float) -> np.ndarray:
    """world_T_camera after `step` frames of a left-hand bend."""
    angle = 0.05 * step
    matrix = np.eye(4)
    matrix[0, [0, 2]] = np.cos(angle), np.sin(angle)
    matrix[2, [0, 2]] = -np.sin(angle), np.cos(angle)
    matrix[:3, 3] = 0.1 * step, 0.02 * step, 1.5 * step
    return matrix


def record(
    name: str,
    seed: int,
    *,
    image: bytes | None = None,
    has_depth: bool = True,
    depth: np.ndarray | None = None,
    depth_source: str = "",
    intrinsics: np.ndarray = K,
    features: Mapping[str, bytes] | None = None,
) -> bytes:
    """One frame as an array record holds it, with more features than the common ones if given."""
    if depth is None and has_depth:
        depth = sparse_depth(seed, SHAPE)
    stereo_T_camera = np.eye(4)
    stereo_T_camera[0, 3] = -0.5
    values = {
        "name": name.encode(),
        "image": png(seed, SHAPE) if image is None else image,
        "intrinsics": intrinsics.tobytes(),
        "world_T_camera": pose(seed).tobytes(),
        "stereo_T_camera": stereo_T_camera.tobytes(),
        "depth": encode_depth(depth),
        "depth_source": depth_source.encode(),
        **(features or {}),
    }
    example = tf_example_pb2.Example()
    for key, value in values.items():
        example.features.feature[key].bytes_list.value.append(value)
    return example.SerializeToString()


def metadata(
    lengths: Sequence[int],
    targets: Sequence[int],
    *,
    stereo: Sequence[int] | None = None,
    numbers: Sequence[Sequence[int]] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Metadata of streams of these lengths, numbered from 0 unless `numbers` says otherwise."""
    starts = np.cumsum([0, *lengths]).tolist()
    streams = [
        {
            "name": f"stream{i}",
            "numbers": list(numbers[i] if numbers else range(length)),
            "first_record": start,
        }
        for i, (length, start) in enumerate(zip(lengths, starts, strict=False))
    ]
    return {
        "streams": streams,
        "targets": list(targets),
        "stereo": list(stereo) if stereo else [-1] * sum(lengths),
        "has_pose": True,
        "has_depth": True,
        "missing": [],
        **fields,
    }


def memory_store(length: int = 7, targets: Sequence[int] = (1, 2, 3, 4, 5), **fields) -> FrameStore:
    """One stream of `length` frames; the frame after a target serves as its other eye."""
    stereo = [min(i + 1, length - 1) for i in range(length)]
    records = [record(f"stream0/{i}", i) for i in range(length)]
    return FrameStore(records, metadata([length], targets, stereo=stereo, **fields), name="memory")
