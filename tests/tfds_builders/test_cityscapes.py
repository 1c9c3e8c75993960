from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built_stores import open_built
from fake_cityscapes import K, camera_file, picture_file, write_snippet

from packnet_jax.data.index import make_index
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.store import FrameStore
from packnet_jax.errors import DataError
from tfds_builders.cityscapes import Cityscapes
from tfds_builders.stored_size import StoredSize


@pytest.fixture
def root(tmp_path) -> Path:
    """One short recording, and two snippets of a long one that follow each other."""
    folder = tmp_path / "cityscapes"
    write_snippet(folder, "aachen_000004", 19)
    write_snippet(folder, "hanover_000000", 164)
    write_snippet(folder, "hanover_000000", 194, fx=36.0)
    return folder


def opened(root: Path, **options: Any) -> FrameStore:
    defaults = {"data_dir": str(root.parent / "tfds"), "root": str(root), "split": "train"}
    return open_built(Cityscapes.from_options, **(defaults | options))


def test_each_snippet_is_a_stream_with_the_calibration_of_its_twentieth_frame(root):
    store = opened(root)
    assert [(s["name"], s["numbers"][0], len(s["numbers"])) for s in store.streams] == [
        ("train/aachen/aachen_000004_000019", 0, 30),
        ("train/hanover/hanover_000000_000164", 145, 30),
        ("train/hanover/hanover_000000_000194", 175, 30),
    ]
    assert len(store.targets) == 90
    assert not store.missing
    assert not store.has_depth
    assert not store.has_pose
    frame = store[store.streams[0]["first_record"] + 3]
    assert frame.name == "train/aachen/aachen_000004_000003_leftImg8bit"
    np.testing.assert_array_equal(frame.intrinsics, K)
    assert frame.encoded["image"] == picture_file(root, "aachen_000004", 3).read_bytes()
    assert store[-1 + len(store)].intrinsics[0, 0] == 36.0


def test_context_stays_within_a_snippet(root):
    store = opened(root)
    index = make_index(store, back_context=1, forward_context=1)
    assert len(index.target) == 3 * 28
    for target, (before, after) in zip(index.target, index.context, strict=True):
        assert (before, after) == (target - 1, target + 1)


def test_samples_are_cropped_and_resized(root):
    pipeline = TrainPipeline(
        opened(root), image_shape=(32, 64), crop=(0, 8, 0, 32), batch_size=2, shuffle=False
    )
    batch = pipeline.batch(0, 0)
    assert batch.rgb.shape == (2, 32, 64, 3)
    np.testing.assert_allclose(batch.intrinsics[0], [[70.6, 0, 34.2], [0, 139.6, 32.8], [0, 0, 1]])
    assert (batch.depth, batch.context_T_target) == (None, None)


def test_samples_of_a_stored_size_equal_those_made_from_full_pictures(root):
    framing = {"image_shape": (32, 64), "crop": (0, 12, 0, 32)}
    resized = opened(root, stored_size=StoredSize((32, 64), framing["crop"]))
    assert len(resized[0].encoded["image"]) != len(opened(root)[0].encoded["image"])
    batches = [
        TrainPipeline(store, batch_size=2, **framing).batch(0, 0)
        for store in (resized, opened(root))
    ]
    for small, full in zip(*batches, strict=True):
        np.testing.assert_array_equal(small, full)


def test_a_snippet_may_lack_frames(root):
    picture_file(root, "aachen_000004", 7).unlink()
    store = opened(root)
    assert len(store.streams[0]["numbers"]) == 29
    assert not store.missing  # a folder lists no more than it holds
    assert len(make_index(store, back_context=1, forward_context=1).target) == 3 * 28 - 3 + 0


def test_a_picture_cut_short_is_listed(root):
    path = picture_file(root, "aachen_000004", 7)
    path.write_bytes(path.read_bytes()[:60])
    (item,) = opened(root).missing
    assert item["name"] == "train/aachen/aachen_000004_000007_leftImg8bit"
    assert "decoded" in item["reason"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no calibration is for it"),
        ("{", "can not be read"),
        ("{}", "lacks 'intrinsic'"),
        ('{"intrinsic": {"fx": 3, "fy": 3, "u0": 1}}', "lacks 'v0'"),
        ('{"intrinsic": {"fx": 0, "fy": 3, "u0": 1, "v0": 1}}', "gives no camera: fx=0"),
        ('{"intrinsic": {"fx": 1e-50, "fy": 3, "u0": 1, "v0": 1}}', "gives no camera: fx=1e-50"),
        ('{"intrinsic": {"fx": NaN, "fy": 3, "u0": 1, "v0": 1}}', "gives no camera: fx=nan"),
        ('{"intrinsic": {"fx": 2262, "fy": 2265, "u0": 1096, "v0": 513}}', "not of this picture"),
        ('{"intrinsic": [1, 2]}', "can not be read"),
    ],
)
def test_a_snippet_without_a_calibration_is_an_error_unless_let_go(root, content, reason):
    path = camera_file(root, "aachen_000004", 19)
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=r"of the 90 target frames(.|\n)*aachen_000004") as error:
        opened(root)
    assert reason in str(error.value)
    store = opened(root, allow_missing=0.34)
    assert len(store.streams) == 2
    assert len(store.missing) == 30
    if content is not None and "not of" not in reason:
        assert str(path) in store.missing[0]["reason"]


def test_a_set_follows_what_was_unpacked(root):
    assert len(opened(root)) == 90
    write_snippet(root, "zurich_000000", 19)
    assert len(opened(root)) == 120


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "train_extra"}, "'train_extra' is unknown; Cityscapes has train, val, test"),
        ({"split": "val"}, "no folder .*leftImg8bit_sequence/val"),
    ],
)
def test_an_option_that_can_not_be_is_named(root, options, message):
    with pytest.raises(DataError, match=message):
        opened(root, **options)


def test_folders_without_pictures_are_an_error(tmp_path):
    for kind in ("leftImg8bit_sequence", "camera"):
        (tmp_path / "empty" / kind / "train" / "aachen").mkdir(parents=True)
    with pytest.raises(DataError, match="No target frame of cityscapes"):
        opened(tmp_path / "empty")
