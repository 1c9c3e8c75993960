"""Pictures that are stored at the size of a batch give the batches of full-size ones."""

import numpy as np
import pytest
from built_stores import open_built
from fake_kitti import make_kitti, png, replace_depth_by_scan
from frame_stores import memory_store

from packnet_jax import config as config_lib
from packnet_jax.data.examples import EvalPipeline
from packnet_jax.data.open import open_data_sets
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.store import FrameStore
from packnet_jax.errors import DataError
from tfds_builders.kitti_raw import KittiRaw
from tfds_builders.stored_size import FULL_SIZE, StoredSize

SHAPE = (6, 20)
CROPS = [(), (-10, 0, 0.5, 34)]
OTHER_SIZE = (14, 44)  # as KITTI's pictures differ from day to day


@pytest.fixture(scope="module")
def kitti(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("resized")
    root = make_kitti(folder / "kitti", {1: 4, 2: 3}, [(1, 1), (2, 1), (1, 2)])
    for path in root.rglob("*_drive_0002_sync/image_0?/data/*.png"):
        path.write_bytes(png(int(path.stem), OTHER_SIZE))
    for camera in ("image_02", "image_03"):
        for path in root.rglob(f"*_drive_0002_sync/proj_depth/velodyne/{camera}/*.npz"):
            depth = np.zeros(OTHER_SIZE, np.float32)
            depth[::3, ::4] = 5 + int(path.stem)
            np.savez(path, velodyne_depth=depth)
    return {
        "root": str(root),
        "data_dir": str(folder / "tfds"),
        "split": "fake",
        "reach": 1,
        "depth_type": "velodyne",
        "with_stereo": True,
    }


def stored_at(size, kitti) -> FrameStore:
    return open_built(KittiRaw.from_options, **kitti, stored_size=size)


def stores(kitti, crop) -> tuple[FrameStore, FrameStore]:
    """Full-size and resized."""
    return stored_at(FULL_SIZE, kitti), stored_at(StoredSize(SHAPE, crop), kitti)


@pytest.mark.parametrize("crop", CROPS)
def test_training_batches_are_the_same_bit_by_bit(kitti, crop):
    full, resized = (
        TrainPipeline(
            store,
            image_shape=SHAPE,
            crop=crop,
            batch_size=3,
            jittering=(0.2, 0.2, 0.2, 0.05),
            with_depth=True,
            with_pose=True,
            with_stereo=True,
            num_threads=0,
        )
        for store in stores(kitti, crop)
    )
    for step in range(2):
        one, other = full.batch(0, step), resized.batch(0, step)
        assert one.depth.any()
        for field, a, b in zip(one._fields, one, other, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=field)


@pytest.mark.parametrize("crop", CROPS)
def test_evaluation_examples_are_the_same_and_their_depth_is_whole(kitti, crop):
    full, resized = (
        EvalPipeline(store, image_shape=SHAPE, crop=crop, num_threads=0)
        for store in stores(kitti, crop)
    )
    shapes = []
    for one, other in zip(full, resized, strict=True):
        for field, a, b in zip(one._fields, one, other, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=field)
        shapes.append(other.depth.shape)
    assert set(shapes) == {(12, 40), OTHER_SIZE}


def test_resized_sets_are_small_pictures_under_a_name_of_their_own(kitti):
    full, resized = stores(kitti, ())
    assert resized[0].image().shape == (*SHAPE, 3)
    assert resized[0].full_shape == full[0].image().shape[:2]
    sizes = (FULL_SIZE, StoredSize(SHAPE), StoredSize((6, 10)))
    names = {stored_at(size, kitti).name for size in sizes}
    assert len(names) == 3


@pytest.mark.parametrize("framing", [((6, 10), ()), (SHAPE, CROPS[1])])
def test_a_resized_set_is_refused_for_any_other_size_or_crop(kitti, framing):
    _, resized = stores(kitti, ())
    for pipeline, options in ((TrainPipeline, {"batch_size": 1}), (EvalPipeline, {})):
        with pytest.raises(DataError, match=r"\(6, 20\).*store_resized"):
            pipeline(resized, image_shape=framing[0], crop=framing[1], **options)


def test_a_crop_that_leaves_some_picture_is_refused_at_once(kitti):
    full, _ = stores(kitti, ())
    for pipeline, options in ((TrainPipeline, {"batch_size": 1}), (EvalPipeline, {})):
        with pytest.raises(DataError, match="12 rows and 40 columns"):
            pipeline(full, image_shape=SHAPE, crop=(0, 13, 0, 40), **options)


def test_cropping_comes_before_resizing():
    store = memory_store()  # of 24x40 pictures
    crop = (4, 20, -30, 30)
    (batch,) = (
        TrainPipeline(
            store, image_shape=(20, 30), crop=crop, batch_size=1, with_stereo=True, shuffle=False
        ).batch(0, 0),
    )
    images = [store[i].image() for i in (1, 0, 2)]
    found = [batch.rgb[0], *batch.rgb_context[0]]
    for image, actual in zip(images, found, strict=True):
        np.testing.assert_array_equal(np.round(actual * 255), image[4:, 10:])
    np.testing.assert_array_equal(np.round(batch.rgb_stereo[0] * 255), images[2][4:, 10:])
    np.testing.assert_array_equal(batch.intrinsics[0, :2, 2], store[1].intrinsics[:2, 2] - (10, 4))


@pytest.mark.parametrize("store_resized", [False, True])
def test_a_configuration_reaches_both_sets(kitti, store_resized):
    raw = config_lib.default()
    raw.data.root, raw.data.tfds_dir = kitti["root"], kitti["data_dir"]
    raw.data.split = raw.data.eval_split = "fake"
    raw.data.image_shape = (32, 64)
    raw.data.crop_train_borders, raw.data.crop_eval_borders = (-10, 0, 0, 0), (-8, 0, 0.5, 30)
    raw.data.store_resized = store_resized
    raw.train.batch_size = 1
    data = open_data_sets(config_lib.resolve(raw))
    batch, example = data.train.batch(0, 0), data.evaluations[0].examples[0]
    assert batch.rgb.shape == (1, 32, 64, 3)
    assert example.box.shape == (8, 30)
    assert data.train_examples[0][0].box.shape == (10, 40)
    assert example.depth.shape == (12, 40)
    np.testing.assert_allclose(example.intrinsics[1, 2], (5.5 - 4) * 32 / 8)


def test_mixed_sources_of_depth_are_counted_and_said(tmp_path, caplog):
    root = make_kitti(tmp_path / "kitti", {1: 4}, [(1, i) for i in range(1, 4)])
    replace_depth_by_scan(root, 1, 2)
    store = open_built(
        KittiRaw.from_options,
        root=str(root),
        data_dir=str(tmp_path),
        split="fake",
        depth_type="velodyne",
    )
    assert sorted(store.depth_sources.values()) == [1, 2]
    assert "mixes sources of depth" in caplog.text
    sources = [e.depth_source for e in EvalPipeline(store, image_shape=SHAPE, num_threads=0)]
    assert ["velodyne_points" in source for source in sources] == [False, True, False]
