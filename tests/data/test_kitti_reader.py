"""The whole way from KITTI's files to batches, against what the original's reader returned.

Pixels and depth are compared by their CRC-32, so bit by bit. The reference leaves intrinsics
unscaled where it resizes for evaluation; there, ours are compared before resizing.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built_stores import open_built
from reader_findings import Findings
from real_data import end_to_end, kitti_mini, kitti_tiny

from packnet_jax.data.examples import EvalPipeline
from packnet_jax.data.index import SampleIndex, make_index
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.store import FrameStore
from packnet_jax.data.transforms import resize_depth, resize_depth_nearest
from packnet_jax.errors import DataError
from tfds_builders.kitti_raw import KittiRaw

GOLDEN = "end_to_end/kitti_reader"
CROP = (-352, 0, 0.5, 1216)
RAW = {
    "tiny.raw.context11": "kitti_tiny",
    "tiny.raw.context11.kitti_tiny_val": "kitti_tiny_val",
    "tiny.raw.context11.kitti_tiny_test": "kitti_tiny_test",
    "tiny.raw.context11.right_camera_list": "right",
    "mini.raw.context11": "kitti_mini",
}
TRAIN = {
    "tiny.train.192x640.context11": ((192, 640), ()),
    "tiny.train.96x320.context11": ((96, 320), ()),
    "tiny.train.crop352x1216.context11": ((352, 1216), CROP),
}
EVALUATION = {
    "tiny.validation.192x640": ((192, 640), (), None),
    "tiny.validation.crop352x1216": ((352, 1216), CROP, resize_depth),
    "tiny.validation.crop352x1216.resize176x608": ((176, 608), CROP, resize_depth),
    "tiny.test.crop352x1216.resize176x608": ((176, 608), CROP, resize_depth_nearest),
}
OTHERS = {"tiny.boundaries_all7frames", "tiny.pose_all7frames", "tiny.imu2cam"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("reader")


def open_split(folder: Path, split: str, **options: Any) -> FrameStore:
    root = kitti_mini() if split == "kitti_mini" else kitti_tiny()
    if split == "right":  # the second column of KITTI_tiny's list
        lines = (root / "kitti_tiny.txt").read_text().splitlines()
        split = str(folder / "right.txt")
        Path(split).write_text("".join(f"{line.split()[1]}\n" for line in lines))
    return open_built(
        KittiRaw.from_options,
        root=str(root),
        data_dir=str(folder),
        split=split,
        depth_type="velodyne",
        reach=3,
        **options,
    )


def paths(store: FrameStore, index: SampleIndex) -> list[dict[str, Any]]:
    def path(record: int) -> str:
        return f"{store[record].name}.png"

    return [
        {"image": path(target), "context": [path(record) for record in context]}
        for target, context in zip(index.target, index.context, strict=True)
    ]


def test_every_configuration_is_compared():
    assert set(end_to_end("kitti_reader.json")) == {*RAW, *TRAIN, *EVALUATION, *OTHERS}


@pytest.mark.parametrize("name", RAW)
def test_frames_as_read_equal_the_reference(folder, parity, name):
    expected = end_to_end("kitti_reader.json")[name]
    store = open_split(folder, RAW[name])
    index = make_index(store, back_context=1, forward_context=1)
    assert len(index.target) == expected["length"]
    assert paths(store, index) == expected["paths"]
    pipeline = TrainPipeline(
        store, image_shape=(32, 64), batch_size=1, shuffle=False, with_pose=store.has_pose
    )
    findings = Findings(GOLDEN)
    for sample in expected["samples"]:
        frame = store[index.target[sample["idx"]]]
        findings.add_picture("rgb", frame.image(), sample["rgb"])
        findings.add("K", frame.intrinsics, sample["intrinsics"])
        findings.add_depth("depth", frame.depth(), sample["depth"])
        context = [store[record].image() for record in index.context[sample["idx"]]]
        for image, wanted in zip(context, sample["rgb_context"], strict=True):
            findings.add_picture("rgb_context", image, wanted)
        if "input_depth" in sample:
            assert sample["input_depth"] == sample["depth"]
        if "pose" in sample:
            assert store.has_pose
            findings.add("pose", frame.world_T_camera, sample["pose"])
            motion = pipeline.batch(0, sample["idx"]).context_T_target[0]
            findings.add("pose_context", motion, sample["pose_context"])
    findings.compare(parity, name, 12 + 2 * ("pose" in expected["samples"][0]))


@pytest.mark.parametrize("name", TRAIN)
def test_training_batches_equal_the_reference(folder, parity, name):
    expected = end_to_end("kitti_reader.json")[name]
    shape, crop = TRAIN[name]
    store = open_split(folder, "kitti_tiny")
    pipeline = TrainPipeline(
        store,
        image_shape=shape,
        crop=crop,
        batch_size=1,
        shuffle=False,
        with_depth=True,
        with_pose=True,
    )
    assert pipeline.steps_per_epoch == len(pipeline) == expected["length"] == 5
    assert paths(store, pipeline.sets[0].index) == expected["paths"]
    findings = Findings(GOLDEN)
    for step, sample in enumerate(expected["samples"]):
        batch = pipeline.batch(0, step)
        assert batch.index[0] == sample["idx"]
        pictures = {
            "rgb": [batch.rgb[0]],
            "rgb_original": [batch.rgb_original[0]],
            "rgb_context": batch.rgb_context[0],
            "rgb_context_original": batch.rgb_context_original[0],
        }
        for field, images in pictures.items():
            wanted = sample[field] if "context" in field else [sample[field]]
            for image, values in zip(images, wanted, strict=True):
                findings.add_picture(field, image, values)
        findings.add_depth("depth", batch.depth[0, ..., 0], sample["depth"])
        if "input_depth" in sample:
            assert sample["input_depth"] == sample["depth"]
        findings.add("intrinsics", batch.intrinsics[0], sample["intrinsics"])
        findings.add("pose_context", batch.context_T_target[0], sample["pose_context"])
    findings.compare(parity, name, 4 * 4 + 5 + 2)


@pytest.mark.parametrize("name", EVALUATION)
def test_evaluation_examples_equal_the_reference(folder, parity, name):
    expected = end_to_end("kitti_reader.json")[name]
    shape, crop, resize_input_depth = EVALUATION[name]
    store = open_split(folder, "kitti_tiny", input_depth_type="velodyne")
    input_depth: dict[str, Any] = {}
    if resize_input_depth is not None:
        input_depth = {
            "input_depth_feature": "input_depth",
            "resize_input_depth": resize_input_depth,
        }
    examples = list(EvalPipeline(store, image_shape=shape, crop=crop, **input_depth))
    assert [f"{e.name}.png" for e in examples] == [path["image"] for path in expected["paths"]]
    findings = Findings(GOLDEN)
    for example, sample in zip(examples, expected["samples"], strict=True):
        findings.add_picture("rgb", example.rgb, sample["rgb"])
        findings.add_depth("depth", example.depth, sample["depth"])
        shown = (375, 1242) if example.box is None else example.box.shape
        scale = np.array([[shape[1] / shown[1]], [shape[0] / shown[0]], [1]])
        findings.add("intrinsics", example.intrinsics / scale, sample["intrinsics"])
        if resize_input_depth is not None:
            findings.add_depth("input_depth", example.input_depth, sample["input_depth"])
    findings.compare(parity, name, 4 + 5 + 1 + 5 * (resize_input_depth is not None))


def test_contexts_equal_the_reference(folder):
    stored = open_split(folder, "kitti_tiny")
    fields = {"targets": list(range(7)), "stereo": [-1] * 7, "has_pose": True, "has_depth": True}
    every = FrameStore(
        [], {"streams": stored.streams, "missing": [], **fields}, name="all seven frames"
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
        assert [list(pair) for pair in pairs] == expected, key


def test_scans_stand_in_for_maps_that_are_not_there(folder, tmp_path):
    """kitti_mini without its maps: six frames have scans, and the others are listed."""
    for path in kitti_mini().rglob("*"):
        if path.is_file() and "proj_depth" not in path.parts:
            link = tmp_path / path.relative_to(kitti_mini())
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    whole = open_split(folder, "kitti_mini")
    maps = {whole[record].name: whole[record].depth() for record in whole.targets}
    options = {
        "root": str(tmp_path),
        "data_dir": str(tmp_path / "tfds"),
        "split": "kitti_mini",
        "depth_type": "velodyne",
    }
    with pytest.raises(DataError, match=r"of the 38 target frames(.|\n)*data\.allow_missing"):
        open_built(KittiRaw.from_options, **options)
    store = open_built(KittiRaw.from_options, **options, allow_missing=1.0)
    found = [store[record] for record in store.targets]
    assert [int(frame.name[-2:]) for frame in found] == [7, 14, 21, 28, 35]  # 0 is not a target
    for frame in found:
        np.testing.assert_array_equal(frame.depth(), maps[frame.name])
        assert "velodyne_points" in frame.depth_source
    assert len(store.missing) == 38 - 5
    assert list(store.depth_sources.values()) == [5]
