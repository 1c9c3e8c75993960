"""The store of rendered streets, built for real at a tiny size."""

import numpy as np
import pytest

from packnet_jax.errors import DataError
from tfds_builders.depth_codec import decode_depth
from tfds_builders.frames import SPLIT
from tfds_builders.synthetic_drive import SyntheticDrive
from tfds_builders.synthetic_drive.cameras import default_camera
from tfds_builders.synthetic_drive.render import Renderer
from tfds_builders.synthetic_drive.street import make_street

TINY = {"image_shape": (16, 48), "num_streets": 2, "frames_per_street": 3}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> SyntheticDrive:
    data_dir = str(tmp_path_factory.mktemp("tfds"))
    options = {"data_dir": data_dir, "split": "test", "first_seed": 4, "with_stereo": True} | TINY
    SyntheticDrive.from_options(**options).build()
    return SyntheticDrive.from_options(**options)


def test_metadata_list_streams_targets_and_pairs(built):
    metadata = built.info.metadata
    assert metadata["streams"] == [
        {"name": "street_10004/left", "numbers": [0, 1, 2], "first_record": 0},
        {"name": "street_10004/right", "numbers": [0, 1, 2], "first_record": 3},
        {"name": "street_10005/left", "numbers": [0, 1, 2], "first_record": 6},
        {"name": "street_10005/right", "numbers": [0, 1, 2], "first_record": 9},
    ]
    assert metadata["targets"] == [0, 1, 2, 6, 7, 8]
    assert metadata["stereo"] == [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]
    assert metadata["has_pose"] and metadata["has_depth"]


def test_stored_frame_is_what_was_rendered(built):
    example = built.as_data_source(SPLIT)[7]
    street = make_street(10_005, num_frames=3)
    camera = default_camera(16, 48)
    view = Renderer(street, camera).render(street.world_T_camera[1], 1)
    assert example["name"] == b"street_10005/left/0000000001"
    np.testing.assert_array_equal(example["image"], view.rgb)
    np.testing.assert_array_equal(example["semantics"][..., 0], view.semantics)
    np.testing.assert_array_equal(decode_depth(example["depth"]), view.depth)
    np.testing.assert_array_equal(example["world_T_camera"], street.world_T_camera[1])
    np.testing.assert_array_equal(example["intrinsics"], camera.intrinsics)
    lidar = decode_depth(example["lidar"])
    np.testing.assert_array_equal(lidar[lidar > 0], view.depth[lidar > 0])
    assert (lidar > 0).any()


def test_stereo_transform_agrees_with_the_poses(built):
    source = built.as_data_source(SPLIT)
    left, right = source[0], source[3]
    from_poses = np.linalg.inv(right["world_T_camera"]) @ left["world_T_camera"]
    np.testing.assert_allclose(left["stereo_T_camera"], from_poses, atol=1e-12)
    np.testing.assert_allclose(right["stereo_T_camera"], np.linalg.inv(from_poses), atol=1e-12)


def test_splits_have_no_street_in_common(tmp_path):
    options = {"data_dir": str(tmp_path), "num_streets": 10_000}
    train, test = (SyntheticDrive.from_options(split=s, **options) for s in ("train", "test"))
    assert not set(train.config.seeds()) & set(test.config.seeds())


def test_name_tells_options_apart(tmp_path):
    def name(**options) -> str:
        given = {"data_dir": str(tmp_path), "split": "train"} | options
        return SyntheticDrive.from_options(**given).config.name

    assert name() == name(root="anything", reach=3)
    changes = [
        {},
        {"split": "test"},
        {"image_shape": (64, 192)},
        {"num_streets": 3},
        {"moving_cars": False},
        {"depth_type": "lidar"},
        {"with_stereo": True},
    ]
    assert len({name(**change) for change in changes}) == len(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "val"}, "no split 'val'"),
        ({"depth_type": "velodyne"}, "'velodyne' is unknown"),
        ({"num_streets": 0}, "num_streets must be at least 1"),
        ({"focal_ratio": 0.0}, "focal_ratio must be positive"),
        ({"first_seed": 9_999, "num_streets": 2}, "go beyond"),
    ],
)
def test_wrong_options_are_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        SyntheticDrive.from_options(**{"data_dir": str(tmp_path), "split": "train"} | change)


@pytest.mark.parametrize("depth_type", ["", "lidar"])
def test_depth_type_chooses_the_depth(tmp_path, depth_type):
    builder = SyntheticDrive.from_options(
        data_dir=str(tmp_path), split="train", depth_type=depth_type, **TINY
    )
    frame = next(builder.read_frames())
    assert frame.extra is not None
    if depth_type:
        np.testing.assert_array_equal(frame.depth, decode_depth(frame.extra["lidar"]))
        assert frame.depth_source == "lidar (rendered)"
    else:
        assert frame.depth is None
    assert frame.stereo_T_camera is None
