"""From a configuration to data sets."""

import dataclasses
import shutil

import folders
import numpy as np
import pytest
from fake_kitti import DATE, frame_name, make_kitti, sparse_depth, write_groundtruth
from fake_odometry import make_odometry
from folders import numbered, write_pictures

from packnet_jax import config as config_lib
from packnet_jax.data.open import open_data_sets, open_evaluations
from packnet_jax.data.sources import open_source
from packnet_jax.data_config import DATASETS, DataConfig, SourceConfig
from packnet_jax.errors import ConfigError, DataError
from packnet_jax.visualize import write_depth


def streets(tmp_path):
    raw = config_lib.default()
    raw.data.name, raw.data.depth_type = "synthetic_drive", "dense"
    raw.data.split, raw.data.eval_split = "train", "test"
    raw.data.tfds_dir = str(tmp_path)
    raw.data.image_shape = (32, 64)
    made = raw.data.synthetic
    made.num_streets = made.num_test_streets = 1
    made.frames_per_street = 3
    raw.train.batch_size = 1
    return raw


def test_the_lens_of_rendered_streets_is_the_configured_one(tmp_path):
    raw = streets(tmp_path)
    raw.data.synthetic.focal_ratio = 0.9
    data = open_data_sets(config_lib.resolve(raw))
    focal = 0.9 * 64
    expected = [[focal, 0, 31.5], [0, focal, 15.5], [0, 0, 1]]
    np.testing.assert_allclose(data.train.batch(0, 0).intrinsics[0], expected, rtol=1e-6)


def test_odometry_sequences_are_trained_on(tmp_path):
    raw = config_lib.default()
    raw.data.name, raw.data.depth_type = "kitti_odometry", ""
    raw.data.root = str(make_odometry(tmp_path / "odometry", {"00": 5, "01": 4}))
    raw.data.tfds_dir = str(tmp_path / "tfds")
    raw.data.split, raw.data.eval_split = "00-01", "01"
    raw.data.image_shape = (32, 64)
    raw.train.batch_size = 5
    data = open_data_sets(config_lib.resolve(raw))
    assert (len(data.train), data.train_name) == (5, "kitti_odometry-00-01")
    assert data.train.batch(0, 0).rgb_context.shape == (5, 2, 32, 64, 3)
    (evaluation,) = data.evaluations
    assert (evaluation.name, len(evaluation.examples)) == ("kitti_odometry-01", 4)
    assert evaluation.examples[0].depth is None


def test_odometry_sequences_lack_as_many_pictures_as_the_configuration_lets_go(tmp_path):
    root = make_odometry(tmp_path / "odometry", {"00": 5})
    for number in (1, 3):
        (root / "sequences" / "00" / "image_2" / f"{number:06d}.png").write_bytes(b"cut short")
    fields = {"name": "kitti_odometry", "root": str(root), "split": "00", "depth_type": ""}
    data = DataConfig(tfds_dir=str(tmp_path / "tfds"))
    with pytest.raises(DataError, match=r"2 of the 5 target frames(.|\n)*data\.allow_missing"):
        open_source(SourceConfig(**fields), data, for_training=True)
    store = open_source(SourceConfig(**fields, allow_missing=0.4), data, for_training=True)
    assert (len(store.targets), len(store.missing)) == (3, 2)


def kitti(tmp_path, **fields):
    root = make_kitti(tmp_path / "kitti", {1: 4}, [(1, 1), (1, 2)])
    raw = config_lib.default()
    raw.data.root, raw.data.tfds_dir = str(root), str(tmp_path / "tfds")
    raw.data.eval_split = "fake"
    raw.data.image_shape = (32, 64)
    for name, value in fields.items():
        raw.data[name] = value
    return root, config_lib.resolve(raw)


def test_evaluation_needs_pictures_calibration_and_depth_alone(tmp_path):
    root, config = kitti(tmp_path)
    whole = list(open_evaluations(config)[0].examples)
    drive = root / DATE / f"{DATE}_drive_0001_sync"
    shutil.rmtree(drive / "oxts")
    shutil.rmtree(drive / "image_03")
    (root / DATE / "calib_imu_to_velo.txt").unlink()
    for neighbour in (0, 3):
        (root / f"{frame_name(1, neighbour)}.png").unlink()
    shutil.rmtree(tmp_path / "tfds")
    alone = list(open_evaluations(config)[0].examples)
    for a, b in zip(alone, whole, strict=True):
        assert (a.name, a.index) == (b.name, b.index)
        for field in ("rgb", "depth", "intrinsics"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def test_input_depth_is_of_its_own_type_and_has_a_name_of_its_own(tmp_path):
    second = config_lib.source(
        root=str(tmp_path / "kitti"), split="fake", input_depth_type="groundtruth"
    )
    root, config = kitti(tmp_path, input_depth_type="velodyne", more_eval=(second,))
    accumulated = [write_groundtruth(root, 1, number) for number in (1, 2)]
    first, other = open_evaluations(config)
    assert (first.name, other.name) == (
        "kitti_raw-fake-with_velodyne",
        "kitti_raw-fake-with_groundtruth",
    )
    assert first.split == other.split == "fake"
    for number, (a, b) in enumerate(zip(first.examples, other.examples, strict=True), 1):
        assert "proj_depth/velodyne" in a.input_depth_source
        assert "proj_depth/groundtruth" in b.input_depth_source
        assert a.input_depth.shape == b.input_depth.shape == a.rgb.shape[:2] == (32, 64)
        measured = sparse_depth(1000 + 10 * number)
        np.testing.assert_array_equal(a.depth, measured)
        assert set(np.unique(a.input_depth)) <= set(np.unique(measured))
        assert set(np.unique(b.input_depth)) <= set(np.unique(accumulated[number - 1]))


def test_a_target_without_input_depth_is_left_out_and_listed(tmp_path):
    root, config = kitti(tmp_path, input_depth_type="groundtruth")
    write_groundtruth(root, 1, 2)
    (only,) = open_evaluations(config)[0].examples
    assert only.name == frame_name(1, 2)


def test_rendered_streets_have_laser_ranges_for_input(tmp_path):
    raw = streets(tmp_path)
    raw.data.input_depth_type = "lidar"
    for e in open_evaluations(config_lib.resolve(raw))[0].examples:
        is_measured = e.input_depth > 0
        assert 0.01 < is_measured.mean() < 0.9
        np.testing.assert_array_equal(e.input_depth[is_measured], e.depth[is_measured])


def test_training_is_given_input_depth_where_the_source_has_it(tmp_path):
    _, config = kitti(
        tmp_path, split="fake", input_depth_type="velodyne", crop_train_borders=(2, 10, 4, 30)
    )
    assert open_data_sets(config).train.batch(0, 0).input_depth is None  # nobody asks for it
    config = dataclasses.replace(config, objective="completion")
    batch = open_data_sets(config).train.batch(0, 0)
    assert batch.input_depth.shape == (*batch.rgb.shape[:3], 1)
    for row, index in enumerate(batch.index):
        measured = sparse_depth(1000 + 10 * (1 + int(index)))[2:12, 4:34]
        assert set(np.unique(batch.input_depth[row])) <= {0.0, *np.unique(measured)}
        assert batch.input_depth[row].any()


def test_training_is_given_a_random_share_of_the_beams_asked_for(tmp_path):
    raw = streets(tmp_path)
    raw.objective, raw.data.input_depth_type = "completion", "lidar"
    counts = {}
    for beams in (0, 16):
        for keep in ((1.0, 1.0), (0.4, 0.6)):
            raw.data.beams, raw.data.input_depth_keep = beams, keep
            batch = open_data_sets(config_lib.resolve(raw)).train.batch(0, 0)
            counts[beams, keep[0]] = np.count_nonzero(batch.input_depth)
    assert 0 < counts[16, 0.4] < counts[16, 1.0] < 0.8 * counts[0, 1.0]
    assert counts[0, 0.4] < 0.65 * counts[0, 1.0]


def test_training_sets_with_and_without_input_depth_do_not_mix(tmp_path):
    raw = streets(tmp_path)
    raw.objective, raw.data.input_depth_type = "completion", "lidar"
    raw.data.more_train = (
        config_lib.source(name="synthetic_drive", split="train", depth_type="dense"),
    )
    with pytest.raises(ConfigError, match=r"more_train\[0\].input_depth_type: empty"):
        config_lib.resolve(raw)


def test_beams_thin_out_what_is_trained_with_and_not_what_is_compared_with(tmp_path):
    _, config = kitti(tmp_path, split="fake", beams=8, input_depth_type="velodyne")
    data = open_data_sets(config)
    (trained, *_), (compared, *_) = data.train_examples[0], data.evaluations[0].examples
    assert "8 of 64 beams" in trained.depth_source
    assert "beams" not in compared.depth_source
    assert "8 of 64 beams" in compared.input_depth_source
    assert np.count_nonzero(trained.depth) < np.count_nonzero(compared.depth)
    assert data.evaluations[0].name == "kitti_raw-fake-with_velodyne_8"


def test_rendered_streets_have_the_lens_and_the_cameras_asked_for(tmp_path):
    raw = streets(tmp_path)
    raw.data.synthetic.camera = "fisheye"
    raw.data.synthetic.rig, raw.data.cameras = "six", ("camera_01", "camera_06")
    config = config_lib.resolve(raw)
    store = open_source(config.data.train_sources[0], config.data, for_training=True)
    assert [stream["name"] for stream in store.streams] == [
        "street_0000/camera_01",
        "street_0000/camera_06",
    ]
    assert store.ray_template.shape == (1, 3, 32, 64)
    assert len(open_data_sets(config).train) == 2


def test_no_data_set_is_an_error_that_says_so():
    raw = config_lib.default()
    raw.data.name = ""
    config = config_lib.resolve(raw)
    for open_sets in (open_evaluations, open_data_sets):
        with pytest.raises(ConfigError, match="no data set is chosen") as error:
            open_sets(config)
        assert ", ".join(DATASETS) in str(error.value)


def test_an_absent_root_is_named(tmp_path):
    raw = config_lib.default()
    raw.data.root, raw.data.tfds_dir = str(tmp_path / "nowhere"), str(tmp_path / "tfds")
    with pytest.raises(DataError, match="eigen_test"):
        open_evaluations(config_lib.resolve(raw))


def test_own_frames_are_evaluated_where_they_have_depth(tmp_path):
    root = write_pictures(tmp_path / "walk", numbered(6))
    write_depth(tmp_path / "depth" / "frame5.npz", np.full(folders.SHAPE, 3, np.float32))
    raw = config_lib.default()
    raw.data.name, raw.data.root, raw.data.depth_type = "image_folder", str(root), "files"
    raw.data.split, raw.data.eval_split = "train", "val"
    raw.data.tfds_dir, raw.data.image_shape = str(tmp_path / "tfds"), (32, 64)
    raw.data.frames.depth_root = str(tmp_path / "depth")
    raw.data.frames.val_fraction = 0.4
    data = open_data_sets(config_lib.resolve(raw))
    (scored,) = data.scored
    assert data.shown == ()
    assert [e.name for e in scored.examples] == ["frame5"]
    assert any("guessed" in note for note in (*scored.notes, *data.notes))
    raw.data.depth_type = raw.data.frames.depth_root = ""
    data = open_data_sets(config_lib.resolve(raw))
    assert data.scored == ()
    assert [e.name for e in data.shown[0].examples] == ["frame3", "frame4", "frame5"]
