"""The whole way from KITTI's files to batches, against what the PyTorch reference read."""

import zlib

import numpy as np
import pytest
from real_data import end_to_end, kitti_tiny

from packnet_jax.data.index import make_index
from packnet_jax.data.open import open_kitti_raw
from packnet_jax.data.pipeline import EvalPipeline, TrainPipeline
from packnet_jax.data.store import FrameStore


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FrameStore:
    return open_kitti_raw(
        root=str(kitti_tiny()),
        tfds_dir=str(tmp_path_factory.mktemp("tfds")),
        split="kitti_tiny",
        depth_type="velodyne",
        back_context=3,
        forward_context=3,
    )


def crc32(channels_last: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(np.moveaxis(channels_last, -1, 0)).tobytes())


@pytest.mark.parametrize("shape", [(96, 320), (192, 640)])
def test_training_batches_equal_the_reference(store, shape):
    expected = end_to_end("kitti_reader.json")[f"tiny.train.{shape[0]}x{shape[1]}.context11"][
        "samples"
    ]
    pipeline = TrainPipeline(
        store, image_shape=shape, batch_size=1, shuffle=False, with_depth=True, with_pose=True
    )
    assert pipeline.steps_per_epoch == len(pipeline) == 5
    for step, sample in enumerate(expected):
        batch = pipeline.batch(0, step)
        assert batch.index[0] == sample["idx"]
        assert crc32(batch.rgb[0]) == sample["rgb"]["crc32"]
        assert crc32(batch.rgb_original[0]) == sample["rgb_original"]["crc32"]
        context = [crc32(image) for image in batch.rgb_context[0]]
        assert context == [image["crc32"] for image in sample["rgb_context"]]
        np.testing.assert_allclose(batch.intrinsics[0], sample["intrinsics"], rtol=1e-6)
        assert crc32(batch.depth[0]) == sample["depth"]["crc32_float32"]
        np.testing.assert_allclose(batch.context_T_target[0], sample["pose_context"], atol=2e-6)


def test_evaluation_examples_equal_the_reference(store):
    expected = end_to_end("kitti_reader.json")["tiny.validation.192x640"]
    examples = list(EvalPipeline(store, image_shape=(192, 640)))
    assert [f"{example.name}.png" for example in examples] == [
        path["image"] for path in expected["paths"]
    ]
    for example, sample in zip(examples, expected["samples"], strict=True):
        assert crc32(example.rgb) == sample["rgb"]["crc32"]
        assert crc32(example.depth[..., None]) == sample["depth"]["crc32_float32"]


def test_contexts_equal_the_reference(store):
    every = FrameStore(
        [],
        {
            "streams": store.streams,
            "targets": list(range(7)),
            "stereo": [-1] * 7,
            "has_pose": True,
            "has_depth": True,
            "missing": [],
        },
        name="all seven",
    )
    for key, expected in end_to_end("kitti_reader.json")["tiny.boundaries_all7frames"].items():
        back, forward, strides = key.split("_")
        index = make_index(
            every,
            back_context=int(back.removeprefix("back")),
            forward_context=int(forward.removeprefix("forward")),
            strides=[int(s) for s in strides.removeprefix("strides")[1:-1].split(",")],
        )
        pairs = zip(index.target.tolist(), index.context.tolist(), strict=True)
        samples = [list(pair) for pair in pairs]
        assert samples == expected, key
