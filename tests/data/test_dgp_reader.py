"""The whole way from DGP's files to batches, against what the original's reader returned.

Pixels and depth are compared by their CRC-32, so bit by bit. Two things differ by design: the
original's `pose_context` is target_T_context here, and its translations were rounded to float32
where the world's origin is kilometres away.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built_stores import open_built
from reader_findings import Findings, crc32_of_channels_first
from real_data import ddad_tiny, dgp_scenes, end_to_end

from packnet_jax.data.examples import EvalPipeline
from packnet_jax.data.index import make_index
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.store import FrameStore, StoredFrame
from tfds_builders.ddad import Ddad

GOLDEN = "end_to_end/dgp_reader"
RAW = {"ddad_tiny.raw.context11.CAMERA_01": 1, "ddad_tiny.raw.context00.CAMERA_01": 0}
TRAIN = "ddad_tiny.train.384x640.context11.CAMERA_01"
EVALUATION = "ddad_tiny.validation.384x640.CAMERA_01"
STACK = "ddad_tiny.train.96x160.context11.CAMERA_01_05"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("reader")


@pytest.fixture(scope="module")
def front(folder) -> FrameStore:
    return open_tiny(folder, "Camera_01", input_depth_type="lidar")


def open_tiny(folder: Path, *cameras: str, **options: Any) -> FrameStore:
    return open_split(folder, ddad_tiny(), "train", cameras=cameras, **options)


def open_split(folder: Path, root: Path, split: str, **options: Any) -> FrameStore:
    return open_built(
        Ddad.from_options,
        root=str(root),
        data_dir=str(folder),
        split=split,
        depth_type="lidar",
        **options,
    )


def rounded(transform: np.ndarray) -> np.ndarray:
    """With the translation as the original's reader keeps it."""
    kept = np.array(transform, np.float64)
    kept[:3, 3] = kept[:3, 3].astype(np.float32)
    return kept


def extrinsics(frame: StoredFrame) -> np.ndarray:
    return np.frombuffer(frame.encoded["vehicle_T_camera"], np.float64).reshape(4, 4)


def test_every_configuration_is_compared():
    assert set(end_to_end("dgp_reader.json")) == {*RAW, TRAIN, EVALUATION, STACK}


@pytest.mark.parametrize("name", RAW)
def test_frames_as_read_equal_the_reference(front, parity, name):
    expected = end_to_end("dgp_reader.json")[name]
    index = make_index(front, back_context=RAW[name], forward_context=RAW[name])
    assert len(index.target) == expected["length"]
    findings = Findings(GOLDEN)
    for sample in expected["samples"]:
        frame = front[index.target[sample["idx"]]]
        assert frame.name.split("/")[2:] == sample["filename"].split("/")[2:]
        findings.add_picture("rgb", frame.image(), sample["rgb"])
        findings.add("intrinsics", frame.intrinsics.astype(np.float32), sample["intrinsics"])
        findings.add_depth("depth", frame.depth(), sample["depth"])
        np.testing.assert_array_equal(frame.depth("lidar"), frame.depth())
        findings.add("extrinsics", rounded(extrinsics(frame)), sample["extrinsics"])
        findings.add("world_pose", rounded(frame.world_T_camera), sample["pose"])
        context = [front[record] for record in index.context[sample["idx"]]]
        for i, other in enumerate(context):
            findings.add_picture("rgb_context", other.image(), sample["rgb_context"][i])
            target_T_world = np.linalg.inv(rounded(frame.world_T_camera))
            target_T_context = target_T_world @ rounded(other.world_T_camera)
            findings.add("pose_context", target_T_context, sample["pose_context"][i])
    findings.compare(parity, name, 11 + 4 * bool(RAW[name]))


def test_training_batches_equal_the_reference(front, parity):
    expected = end_to_end("dgp_reader.json")[TRAIN]
    pipeline = TrainPipeline(
        front,
        image_shape=(384, 640),
        batch_size=1,
        shuffle=False,
        with_depth=True,
        with_pose=True,
    )
    assert len(pipeline) == expected["length"] == 3
    findings = Findings(GOLDEN)
    for step, sample in enumerate(expected["samples"]):
        batch = pipeline.batch(0, step)
        findings.add_picture("rgb", batch.rgb[0], sample["rgb"])
        findings.add_picture("rgb_original", batch.rgb_original[0], sample["rgb_original"])
        for i, wanted in enumerate(sample["rgb_context"]):
            findings.add_picture("rgb_context", batch.rgb_context[0, i], wanted)
        findings.add_depth("depth", batch.depth[0, ..., 0], sample["depth"])
        findings.add("intrinsics", batch.intrinsics[0], sample["intrinsics"])
        for ours, theirs in zip(batch.context_T_target[0], sample["pose_context"], strict=True):
            # Theirs is target_T_context, of translations rounded to a quarter of a millimetre.
            np.testing.assert_allclose(np.linalg.inv(ours), theirs, atol=5e-4)
            moved = np.linalg.norm(ours[:3, 3])
            assert 0.94 < moved < 0.98  # metres in a tenth of a second, both ways
    findings.compare(parity, TRAIN, 3 * 4 + 5 + 1)


def test_forward_and_backward_context_have_opposite_motion(front):
    pipeline = TrainPipeline(
        front, image_shape=(32, 64), batch_size=1, shuffle=False, with_pose=True
    )
    backward, forward = pipeline.batch(0, 0).context_T_target[0]
    # A point ahead is further off for the frame before, and nearer for the one after.
    assert backward[2, 3] > 0.9
    assert forward[2, 3] < -0.9


def test_evaluation_examples_equal_the_reference(front, parity):
    expected = end_to_end("dgp_reader.json")[EVALUATION]
    examples = EvalPipeline(
        front, image_shape=(384, 640), input_depth_feature="lidar", num_threads=0
    )
    assert len(examples) == expected["length"] == 5
    findings = Findings(GOLDEN)
    for example, sample in zip(examples, expected["samples"], strict=True):
        findings.add_picture("rgb", example.rgb, sample["rgb"])
        findings.add_depth("depth", example.depth, sample["depth"])
        assert example.depth_source == "lidar, one sweep (depth/lidar)"
        assert example.input_depth_source == example.depth_source
    findings.compare(parity, EVALUATION, 4 + 5)


def test_a_stack_of_cameras_equals_the_reference(folder, parity):
    expected = end_to_end("dgp_reader.json")[STACK]
    store = open_tiny(folder, *expected["cameras"])
    pipeline = TrainPipeline(
        store,
        image_shape=(96, 160),
        batch_size=2,
        shuffle=False,
        with_depth=True,
        with_pose=True,
        stack_cameras=True,
    )
    assert len(pipeline) == 2 * expected["length"]
    findings = Findings(GOLDEN)
    for step, sample in enumerate(expected["samples"]):
        batch = pipeline.batch(0, step)
        whole = np.concatenate([np.moveaxis(rgb, -1, 0) for rgb in batch.rgb])
        crc32 = crc32_of_channels_first(np.moveaxis(whole, 0, -1))
        findings.add("rgb.crc32", crc32, sample["rgb"]["crc32"])
        for i, wanted in enumerate(sample["rgb_context"]):
            means = batch.rgb_context[:, i].mean((1, 2, 3), dtype=np.float64)
            findings.add("rgb_context.mean", means, wanted["mean"])
        findings.add("intrinsics", batch.intrinsics, sample["intrinsics"]["value"])
        counts = (batch.depth > 0).sum((1, 2, 3))
        findings.add("depth.count", counts, sample["depth"]["count"])
        sums = batch.depth.sum((1, 2, 3), dtype=np.float64)
        findings.add("depth.sum", sums, sample["depth"]["sum"])
        theirs = np.array(sample["pose_context"]).swapaxes(0, 1)  # camera by camera
        np.testing.assert_allclose(np.linalg.inv(batch.context_T_target), theirs, atol=5e-4)
    findings.compare(parity, STACK, 5)


def test_scans_of_real_scenes_are_projected(folder):
    """There is no reference of these maps; what is known of the scenes holds."""
    store = open_split(folder, dgp_scenes(), "val")
    assert len(store.streams) == 3 + 6
    assert len(store.rigs) == 3  # of the scene that has all six cameras
    assert {item["name"] for item in store.missing} == {
        f"scene_01/camera_{number:02d}" for number in (7, 8, 9)
    }
    assert store.has_pose
    assert store.has_depth
    for record in range(len(store)):
        depth = store[record].depth()
        assert depth is not None
        assert depth.shape == (1216, 1936)
        assert 4000 < (depth > 0).sum() < 14000
        assert (depth[:400] > 0).sum() < 0.1 * (depth > 0).sum()  # the sky
        road = depth[1000:][depth[1000:] > 0]
        assert 1 < np.median(road) < 12
