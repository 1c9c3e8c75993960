"""The store of rendered streets, built for real at a tiny size."""

from pathlib import Path

import numpy as np
import pytest

from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.store import FrameStore, open_store
from packnet_jax.errors import DataError
from tfds_builders.depth_codec import decode_depth
from tfds_builders.frames import SPLIT
from tfds_builders.synthetic_drive import SyntheticDrive
from tfds_builders.synthetic_drive.cameras import (
    default_camera,
    fisheye_camera,
    make_camera,
)
from tfds_builders.synthetic_drive.render import Renderer
from tfds_builders.synthetic_drive.rig import LOOKING_DOWN, SIX_CAMERAS
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
        {"camera": "fisheye"},
        {"rig": "six"},
        {"rig": "six", "cameras": ("camera_01",)},
        {"depth_beams": 4},
        {"input_beams": 4},
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
        ({"camera": "telephoto"}, "camera is 'telephoto'"),
        ({"rig": "five"}, "rig 'five'"),
        ({"cameras": ("camera_01",)}, "'single' none to choose from"),
        ({"rig": "six", "cameras": ("camera_02",)}, r"\['camera_02'\] are not of the rig 'six'"),
        ({"rig": "six", "with_stereo": True}, "no stereo pairs"),
        ({"rig": "six", "camera": "catadioptric"}, "no mirrors"),
        ({"depth_beams": 3}, "3 beams can not be kept of 64"),
        ({"input_beams": 64}, "64 beams can not be kept of 64"),
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


# Sets that were there before other cameras were


def test_pinhole_sets_keep_their_names_and_their_frames(tmp_path):
    plain = SyntheticDrive.from_options(data_dir=str(tmp_path), split="train")
    assert plain.config.name == "train-fe37940687"
    builder = SyntheticDrive.from_options(
        data_dir=str(tmp_path),
        split="test",
        image_shape=(24, 72),
        num_streets=2,
        frames_per_street=2,
        with_stereo=True,
    )
    assert builder.config.name == "test-02f1bedf68"
    with np.load(Path(__file__).parents[1] / "golden" / "synthetic_drive.npz") as golden:
        expected = dict(golden)
    for frame in builder.read_frames():
        if frame.number == 0:
            continue
        assert frame.extra is not None
        parts = {
            "rgb": frame.image,
            "depth": frame.depth,
            "semantics": frame.extra["semantics"],
            "lidar": decode_depth(frame.extra["lidar"]),
            "pose": frame.world_T_camera,
        }
        for key, actual in parts.items():  # machines differ in the last digit of a sine
            tolerance = {"rtol": 0, "atol": 1} if key == "rgb" else {"rtol": 1e-6}
            stored = expected.pop(f"{frame.name}.{key}").astype(np.float64)
            np.testing.assert_allclose(np.asarray(actual, np.float64), stored, **tolerance)
    assert not expected


# Cameras of other kinds


def store(tmp_path, **options) -> FrameStore:
    given = {"data_dir": str(tmp_path), "split": "train"} | TINY | options
    return open_store(lambda: SyntheticDrive.from_options(**given))


@pytest.mark.parametrize("model", ["fisheye", "catadioptric"])
def test_a_round_camera_is_stored_with_its_rays_and_its_mask(tmp_path, model):
    camera = make_camera(model, 32, 32)
    opened = store(tmp_path, camera=model, image_shape=(32, 32), num_streets=1)
    assert opened.ray_template is not None and opened.mask is not None
    assert opened.ray_template.shape == (1, 3, 32, 32) and opened.ray_template.dtype == np.float32
    np.testing.assert_allclose(opened.ray_template[0].transpose(1, 2, 0), camera.rays, atol=1e-7)
    np.testing.assert_array_equal(opened.mask, camera.mask)
    frame = opened[1]
    street = make_street(0, num_frames=3, all_round=True)
    mount = LOOKING_DOWN if model == "catadioptric" else np.eye(4)
    np.testing.assert_array_equal(frame.world_T_camera, street.world_T_camera[1] @ mount)
    view = Renderer(street, camera).render(frame.world_T_camera, 1)
    np.testing.assert_array_equal(frame.image(), view.rgb)
    np.testing.assert_array_equal(frame.depth(), view.depth)
    assert frame.depth_source == "dense, along the ray (rendered)"
    lidar = frame.depth("lidar")
    np.testing.assert_array_equal(lidar[lidar > 0], view.depth[lidar > 0])
    assert (lidar > 0).sum() > 50
    np.testing.assert_array_equal(frame.intrinsics, camera.intrinsics)


def test_pinhole_sets_have_no_rays(tmp_path):
    opened = store(tmp_path, num_streets=1)
    assert opened.ray_template is None and opened.mask is None
    assert opened[0].vehicle_T_camera is None


MOMENTS = [(street, number) for street in range(2) for number in range(3)]


def test_a_rig_is_a_stream_per_camera_that_share_the_car_s_motion(tmp_path):
    opened = store(tmp_path, rig="six", num_streets=2)
    names = [stream["name"] for stream in opened.streams]
    assert names == [f"street_000{s}/{camera}" for s in range(2) for camera in SIX_CAMERAS]
    assert [stream["numbers"] for stream in opened.streams] == [[0, 1, 2]] * 12
    by_moment = [[number + 3 * camera + 18 * s for camera in range(6)] for s, number in MOMENTS]
    np.testing.assert_array_equal(opened.targets, np.ravel(by_moment))
    for stream in opened.streams:
        camera = stream["name"].split("/")[1]
        frames = [opened[stream["first_record"] + i] for i in range(3)]
        for number, frame in enumerate(frames):
            np.testing.assert_array_equal(frame.vehicle_T_camera, SIX_CAMERAS[camera])
            street = make_street(int(stream["name"][7:11]), num_frames=3, all_round=True)
            world_T_vehicle = frame.world_T_camera @ np.linalg.inv(frame.vehicle_T_camera)
            expected = street.world_T_camera[number]
            np.testing.assert_allclose(world_T_vehicle, expected, atol=1e-12)


def test_some_cameras_of_a_rig_are_as_in_the_whole(tmp_path):
    whole = store(tmp_path, rig="six", num_streets=1)
    some = store(tmp_path, rig="six", cameras=("camera_09", "camera_05"), num_streets=1)
    assert [s["name"][-9:] for s in some.streams] == ["camera_09", "camera_05"]
    by_name = {whole[i].name: whole[i] for i in range(len(whole))}
    for i in range(len(some)):
        np.testing.assert_array_equal(some[i].image(), by_name[some[i].name].image())
        np.testing.assert_array_equal(some[i].depth(), by_name[some[i].name].depth())


def test_a_rig_of_fisheyes_shares_one_template(tmp_path):
    opened = store(tmp_path, rig="six", camera="fisheye", cameras=("camera_07",), num_streets=1)
    expected = fisheye_camera(*TINY["image_shape"]).mask
    np.testing.assert_array_equal(opened.mask, expected)


def test_fewer_beams_are_some_of_the_points_and_the_sources_say_so(tmp_path):
    options = {"depth_type": "lidar", "num_streets": 1, "image_shape": (48, 144)}
    whole = store(tmp_path, **options)[0]
    few = store(tmp_path, **options, depth_beams=4, input_beams=8)[0]
    depth, given, every = few.depth(), few.depth("lidar"), whole.depth()
    for part in (depth, given):
        np.testing.assert_array_equal(part[part > 0], every[part > 0])
    assert 0 < (depth > 0).sum() < (given > 0).sum() < 0.4 * (every > 0).sum()
    assert few.depth_source == "lidar, 4 of 64 beams (rendered)"
    assert few.source_of("lidar") == "lidar, 8 of 64 beams (rendered)"
    assert whole.depth_source == "lidar (rendered)"


def test_every_camera_of_a_rig_turns_the_car_s_motion_into_its_own(tmp_path):
    opened = store(tmp_path, rig="six", num_streets=1)
    pipeline = TrainPipeline(
        opened, image_shape=(16, 48), batch_size=6, shuffle=False, with_pose=True, num_threads=0
    )
    batch = pipeline.batch(0, 0)  # the middle of three moments, camera by camera
    poses = make_street(0, num_frames=3, all_round=True).world_T_camera
    for row, mount in enumerate(SIX_CAMERAS.values()):
        for n, context in enumerate((0, 2)):
            vehicle_motion = np.linalg.inv(poses[context]) @ poses[1]
            expected = np.linalg.inv(mount) @ vehicle_motion @ mount
            np.testing.assert_allclose(batch.context_T_target[row, n], expected, atol=1e-5)
    ahead = batch.context_T_target[:, 1, 2, 3]  # to the next frame, along each optical axis
    assert ahead[0] < -0.3 and ahead[5] > 0.3
