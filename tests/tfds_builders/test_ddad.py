import io
import json
from pathlib import Path
from typing import Any

import fake_dgp
import numpy as np
import pytest
from built_stores import open_built
from fake_dgp import (
    SHAPE,
    SPEED,
    K,
    compose,
    make_dgp,
    matrix_of,
    sparse_depth,
    vehicle_T_camera,
    world_T_vehicle,
)
from PIL import Image

from packnet_jax.data.index import make_index
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.store import FrameStore
from packnet_jax.errors import DataError
from tfds_builders.ddad import Ddad
from tfds_builders.depth_codec import decode_depth
from tfds_builders.dgp_depth import CACHED, PROJECTED, project
from tfds_builders.frames import Frame, Missing
from tfds_builders.pictures import decode_image
from tfds_builders.stored_size import StoredSize

CAMERAS = ("CAMERA_01", "CAMERA_05")


@pytest.fixture
def data_set(tmp_path) -> Path:
    return make_dgp(tmp_path / "dgp", {"000001": 4, "000002": 3})


def settled(data_set: Path, **options: Any) -> dict[str, Any]:
    defaults = {"data_dir": str(data_set.parents[1] / "tfds"), "root": str(data_set)}
    return defaults | {"split": "train", "depth_type": "lidar"} | options


def builder(data_set: Path, **options: Any) -> Ddad:
    return Ddad.from_options(**settled(data_set, **options))


def frames(data_set: Path, **options: Any) -> dict[str, Frame]:
    items = builder(data_set, **options).read_frames()
    return {item.name: item for item in items if isinstance(item, Frame)}


def missing(data_set: Path, **options: Any) -> dict[str, str]:
    items = builder(data_set, **options).read_frames()
    return {item.name: item.reason for item in items if isinstance(item, Missing)}


def opened(data_set: Path, **options: Any) -> FrameStore:
    return open_built(Ddad.from_options, **settled(data_set, **options))


def name_of(scene: str, camera: str, number: int) -> str:
    return f"{scene}/{fake_dgp.picture_path(camera, number)}".removesuffix(".png")


def scene_file(data_set: Path, scene: str = "000001") -> Path:
    return data_set.parent / scene / f"scene_{scene}.json"


def test_each_camera_of_a_scene_is_a_stream_and_each_moment_a_row_of_targets(data_set):
    read = list(frames(data_set).values())
    streams = [(frame.stream, frame.number) for frame in read]
    assert streams == [
        (f"{scene}/{camera.lower()}", number)
        for scene, count in (("000001", 4), ("000002", 3))
        for camera in CAMERAS
        for number in range(count)
    ]
    moments = [
        [name_of(scene, camera, number) for camera in CAMERAS]
        for scene, count in (("000001", 4), ("000002", 3))
        for number in range(count)
    ]
    assert builder(data_set).targets() == [name for moment in moments for name in moment]
    assert builder(data_set).rigs() == moments
    assert missing(data_set) == {}


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_frame_holds_what_the_files_say(data_set, camera):
    frame = frames(data_set, cameras=[camera])[name_of("000001", camera, 2)]
    file = data_set.parent / "000001" / fake_dgp.picture_path(camera, 2)
    assert frame.image == file.read_bytes()
    np.testing.assert_array_equal(frame.intrinsics, K)
    on_car = vehicle_T_camera(camera)
    world_T_camera = matrix_of(compose(world_T_vehicle(2), on_car))
    np.testing.assert_allclose(frame.world_T_camera, world_T_camera, atol=1e-12)
    assert frame.extra is not None
    np.testing.assert_allclose(frame.extra["vehicle_T_camera"], matrix_of(on_car), atol=1e-12)
    np.testing.assert_allclose(frame.depth, sparse_depth(camera, 2), rtol=1e-6)
    assert frame.depth_source == PROJECTED


def test_the_camera_moves_as_the_car_does(data_set):
    names = [name_of("000001", "CAMERA_05", number) for number in (0, 1)]
    first, second = (frames(data_set)[name].world_T_camera for name in names)
    moved = np.linalg.inv(first) @ second
    yaw = np.radians(fake_dgp.YAW["CAMERA_05"])  # it looks to the left: the car moves to its right
    expected = SPEED * np.array([np.sin(yaw), 0, np.cos(yaw)])
    np.testing.assert_allclose(moved[:3, 3], expected, atol=1e-9)


def test_maps_that_were_projected_before_are_read(data_set):
    depth = np.zeros(SHAPE, np.float32)
    depth[3, 4] = 7
    cached = data_set.parent / "000001" / "depth" / "lidar" / "CAMERA_01" / "1001.npz"
    cached.parent.mkdir(parents=True)
    np.savez_compressed(cached, depth=depth)
    (data_set.parent / "000001" / fake_dgp.scan_path(1)).unlink()
    read = frames(data_set, cameras=["camera_01"], input_depth_type="lidar")
    frame = read[name_of("000001", "CAMERA_01", 1)]
    np.testing.assert_array_equal(frame.depth, depth)
    assert frame.depth_source == CACHED
    assert frame.extra is not None
    np.testing.assert_array_equal(decode_depth(frame.extra["lidar"]), depth)
    assert frame.extra["lidar_source"] == CACHED
    assert read[name_of("000001", "CAMERA_01", 2)].depth_source == PROJECTED


def test_input_depth_may_come_without_ground_truth(data_set):
    frame = frames(data_set, depth_type="", input_depth_type="lidar")[
        name_of("000001", "CAMERA_01", 0)
    ]
    assert frame.depth is None
    assert frame.depth_source == ""
    assert frame.extra is not None
    assert decode_depth(frame.extra["lidar"]) is not None
    assert "lidar" not in builder(data_set).extra_features
    assert missing(data_set, depth_type="") == {}


def test_the_nearest_point_of_a_pixel_stays_whatever_the_order():
    points = np.array([[0.0, 0, 5], [0, 0, 2], [0, 0, 9], [0, 0, -1], [-3, 0, 1]])
    K = np.array([[4.0, 0, 2.9], [0, 4, 1.2], [0, 0, 1]])
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]):
        depth = project(points[order], np.eye(4), K, (3, 5))
        assert depth[1, 2] == 2
        assert (depth > 0).sum() == 1  # one point is behind, and one left of the picture
        assert depth.dtype == np.float32


def test_the_folder_finds_its_only_data_set(data_set):
    assert len(frames(data_set, root=str(data_set.parent))) == 14
    (data_set.parent / "notes.json").write_text('{"of": "something else"}')
    (data_set.parent / "broken.json").write_text("{")
    assert len(frames(data_set, root=str(data_set.parent))) == 14
    (data_set.parent / "other.json").write_text(data_set.read_text())
    with pytest.raises(DataError, match=r"several files.*fake\.json, other\.json"):
        builder(data_set, root=str(data_set.parent))


def test_cameras_come_in_the_order_given_and_in_any_case(data_set):
    mixed = builder(data_set, cameras=["Camera_05", "CAMERA_01"])
    assert [name.split("/")[2] for name in mixed.targets()[:3]] == [
        "CAMERA_05",
        "CAMERA_01",
        "CAMERA_05",
    ]
    assert len(frames(data_set, cameras=["camera_05"])) == 7


def test_a_store_holds_streams_targets_and_rigs(data_set):
    store = opened(data_set)
    assert [stream["name"] for stream in store.streams] == [
        f"{scene}/{camera.lower()}" for scene in ("000001", "000002") for camera in CAMERAS
    ]
    assert (store.has_pose, store.has_depth) == (True, True)
    assert store.depth_sources == {PROJECTED: 14}
    np.testing.assert_array_equal(store.rigs.ravel(), store.targets)
    assert store.rigs.shape == (7, 2)
    index = make_index(store, back_context=1, forward_context=1)
    assert len(index.target) == 2 * (2 + 1)  # a drive's first and last moments fall out
    for target, context in zip(index.target, index.context, strict=True):
        parts = {store[record].name.rsplit("/", 1)[0] for record in (target, *context)}
        assert len(parts) == 1  # one scene, one camera


def test_a_stored_size_changes_the_picture_alone(data_set):
    stored_size = StoredSize((6, 20), (-20, 0, 0.5, 36))
    small, full = frames(data_set, stored_size=stored_size), frames(data_set)
    assert small.keys() == full.keys()
    for name, frame in small.items():
        assert isinstance(frame.image, bytes)
        assert decode_image(frame.image).shape == (6, 20, 3)
        assert frame.extra is not None
        np.testing.assert_array_equal(frame.extra["full_shape"], SHAPE)
        np.testing.assert_array_equal(frame.intrinsics, full[name].intrinsics)
        np.testing.assert_array_equal(frame.depth, full[name].depth)


def test_samples_of_a_stored_size_equal_those_made_from_full_pictures(data_set):
    framing = {"image_shape": (32, 64), "crop": (-20, 0, 0.5, 36), "jittering": (0.2,) * 4}
    resized = opened(data_set, stored_size=StoredSize((32, 64), framing["crop"]))
    batches = [
        TrainPipeline(store, batch_size=4, with_depth=True, with_pose=True, **framing).batch(0, 0)
        for store in (resized, opened(data_set))
    ]
    for small, full in zip(*batches, strict=True):
        np.testing.assert_array_equal(small, full)


def test_the_name_of_a_set_follows_what_it_holds(data_set):
    def name(**options):
        return builder(data_set, **options).config.name

    names = [name(), name(split="val"), name(cameras=["camera_01"]), name(depth_type="")]
    names.append(name(input_depth_type="lidar"))
    names.append(name(stored_size=StoredSize((6, 20))))
    assert len(set(names)) == 6
    assert name() == name()
    assert name(cameras=["CAMERA_01"]) == name(cameras=["camera_01"])


# --- what is missing or damaged


def remove_datum(scene: dict[str, Any], key: str) -> None:
    scene["data"] = [datum for datum in scene["data"] if datum["key"] != key]


def pose_of(scene: dict[str, Any], key: str) -> dict[str, Any]:
    (datum,) = (datum for datum in scene["data"] if datum["key"] == key)
    return datum["datum"]["image"]["pose"]


KEY = "000001-CAMERA_01-1"
"""The datum that the changes below damage."""

DAMAGE = {
    "datum": (lambda scene: remove_datum(scene, KEY), f"no datum '{KEY}'"),
    "sample": (lambda scene: scene["samples"][1].pop("datum_keys"), "lacks 'datum_keys'"),
    "calibration key": (
        lambda scene: scene["samples"][1].pop("calibration_key"),
        "lacks 'calibration_key'",
    ),
    "pose": (lambda scene: pose_of(scene, KEY).pop("rotation"), "lacks 'rotation'"),
    "a number of the pose": (lambda s: pose_of(s, KEY)["translation"].pop("y"), "lacks 'y'"),
    "not a number": (
        lambda scene: pose_of(scene, KEY)["translation"].update(x=float("nan")),
        "x=nan",
    ),
    "no rotation": (lambda scene: pose_of(scene, KEY)["rotation"].update(qw=3.0), "quaternion"),
    "calibration file": (
        lambda scene: scene["samples"][1].update(calibration_key="other"),
        "other.json",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_a_scene_lacks_is_listed_with_its_file_and_leaves_a_gap(data_set, damage):
    change, reason = DAMAGE[damage]
    fake_dgp.edit(scene_file(data_set), change)
    listed = missing(data_set, cameras=["camera_01"])
    (name,) = listed
    assert name in builder(data_set, cameras=["camera_01"]).targets()
    assert reason in listed[name]
    assert "000001" in listed[name]
    store = opened(data_set, cameras=["camera_01"])  # one of seven is let go
    assert store.streams[0]["numbers"] == [0, 2, 3]
    assert [item["name"] for item in store.missing] == [name]


def test_a_picture_of_two_samples_is_a_target_of_neither(data_set):
    def repeat(scene):
        scene["samples"][2]["datum_keys"] = scene["samples"][1]["datum_keys"]

    fake_dgp.edit(scene_file(data_set), repeat)
    store = opened(data_set, cameras=["camera_01"], allow_missing=0.3)
    assert store.streams[0]["numbers"] == [0, 1, 3]
    assert "earlier sample" in store.missing[0]["reason"]
    assert len(store.targets) == 5


WRONG_KINDS = {
    "data without keys": lambda scene: [datum.pop("key") for datum in scene["data"]],
    "a datum that is none": lambda scene: scene["data"].insert(0, "word"),
    "keys that are numbers": lambda scene: scene["samples"][0].update(datum_keys=[1, 2]),
    "a sample that is none": lambda scene: scene["samples"].__setitem__(0, None),
    "an id that is none": lambda scene: scene["data"][1].update(id=None),
    "a measurement that is none": lambda scene: scene["data"][1].update(datum={"image": None}),
    "a format that is none": lambda scene: [
        datum["datum"]["point_cloud"].update(point_format=[[]])
        for datum in scene["data"]
        if "point_cloud" in datum["datum"]
    ],
}


@pytest.mark.parametrize("damage", WRONG_KINDS)
def test_what_a_scene_holds_of_another_kind_than_expected_is_survived(data_set, damage):
    fake_dgp.edit(scene_file(data_set), WRONG_KINDS[damage])
    store = opened(data_set, allow_missing=1.0)
    assert len(store.targets) >= 6  # the other scene, at least
    assert bool(store.missing) == (damage != "a datum that is none")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def shrink(path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (20, 12)).save(picture, "png")
    path.write_bytes(picture.getvalue())


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "no file"),
        (truncate, "decoded"),
        (lambda path: path.write_bytes(b""), "decoded"),
        (shrink, "20 pixels wide and 12 high"),
    ],
)
def test_a_picture_that_is_no_good_is_listed_and_leaves_a_gap(data_set, damage, reason):
    damage(data_set.parent / "000001" / fake_dgp.picture_path("CAMERA_01", 2))
    store = opened(data_set, depth_type="")
    (item,) = store.missing
    assert item["name"] == name_of("000001", "CAMERA_01", 2)
    assert reason in item["reason"]
    assert store.streams[0]["numbers"] == [0, 1, 3]
    assert len(store.rigs) == 6


def save(path: Path, **arrays: np.ndarray) -> None:
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "neither"),
        (lambda path: path.write_bytes(b""), "can not be read"),
        (truncate, "can not be read"),
        (lambda path: save(path, points=np.ones((5, 4))), "can not be read"),
        (lambda path: save(path, data=np.zeros((0, 4))), "no depth at all"),
        (lambda path: save(path, data=np.zeros(4)), "shape (4,)"),
        (lambda path: save(path, data=np.full((5, 4), np.nan)), "no depth at all"),
    ],
)
def test_a_scan_that_is_no_good_costs_the_target_and_not_the_context(data_set, damage, reason):
    scan = data_set.parent / "000001" / fake_dgp.scan_path(1)
    damage(scan)
    listed = missing(data_set, cameras=["camera_01"])
    assert list(listed) == [name_of("000001", "CAMERA_01", 1)]
    assert reason in listed[name_of("000001", "CAMERA_01", 1)]
    assert str(scan) in listed[name_of("000001", "CAMERA_01", 1)]
    store = opened(data_set, cameras=["camera_01"])
    assert store.streams[0]["numbers"] == [0, 1, 2, 3]
    assert 1 not in store.targets


@pytest.mark.parametrize(
    ("depth", "reason"),
    [
        (np.zeros((0, 0), np.float32), "shape (0, 0)"),
        (np.ones((3, 3), np.float32), "shape (3, 3)"),
        (np.zeros(SHAPE, np.float32), "no depth at all"),
    ],
)
def test_a_projected_map_that_is_no_good_is_listed(data_set, depth, reason):
    cached = data_set.parent / "000001" / "depth" / "lidar" / "CAMERA_01" / "1001.npz"
    cached.parent.mkdir(parents=True)
    np.savez_compressed(cached, depth=depth)
    listed = missing(data_set, cameras=["camera_01"])
    assert list(listed) == [name_of("000001", "CAMERA_01", 1)]
    assert reason in listed[name_of("000001", "CAMERA_01", 1)]
    assert str(cached) in listed[name_of("000001", "CAMERA_01", 1)]


CALIBRATIONS = {
    "a key": (lambda c: c.pop("intrinsics"), "lacks 'intrinsics'"),
    "a number": (lambda c: c["intrinsics"][1].pop("fx"), "lacks 'fx'"),
    "a camera": (lambda c: c["names"].__setitem__(1, "CAMERA_99"), "has no camera_01"),
    "lengths": (lambda c: c["names"].pop(), "as many of each"),
    "a focal length": (lambda c: c["intrinsics"][1].update(fx=0.0), "of no camera: fx=0"),
    "a negative one": (lambda c: c["intrinsics"][1].update(fy=-3.0), "fy=-3"),
    "another picture's": (lambda c: c["intrinsics"][1].update(cx=950.0), "not of this picture"),
    "words": (lambda c: c["intrinsics"][1].update(cy="middle"), "cy=middle"),
}


@pytest.mark.parametrize("damage", CALIBRATIONS)
def test_a_wrong_calibration_is_an_error_that_says_what_is_wrong(data_set, damage):
    change, reason = CALIBRATIONS[damage]
    fake_dgp.edit(data_set.parent / "000001" / "calibration" / "rig.json", change)
    with pytest.raises(
        DataError, match=r"of the 7 target frames(.|\n)*first:(.|\n)*000001"
    ) as error:
        opened(data_set, cameras=["camera_01"])
    assert reason in str(error.value)
    assert "data.allow_missing" in str(error.value)
    store = opened(data_set, cameras=["camera_01"], allow_missing=0.6)
    assert len(store.targets) == 3  # of the other scene


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "there is no file"),
        (truncate, "can not be read as JSON"),
        (lambda path: path.write_text("[]"), "lacks 'data'"),
        (lambda path: path.write_text('{"data": []}'), "lacks 'samples'"),
        (lambda path: path.write_text('{"data": [], "samples": []}'), "has no sample"),
        (lambda path: path.write_text('{"data": {}, "samples": []}'), "not list"),
    ],
)
def test_a_scene_that_can_not_be_read_is_listed(data_set, damage, reason):
    damage(scene_file(data_set))
    store = opened(data_set)
    (item,) = store.missing
    assert item["name"] == "000001/scene_000001.json"
    assert reason in item["reason"]
    assert str(scene_file(data_set)) in item["reason"]
    assert [stream["name"] for stream in store.streams] == ["000002/camera_01", "000002/camera_05"]


def test_a_scene_without_a_camera_is_listed_and_forms_no_rig(tmp_path):
    data_set = make_dgp(tmp_path / "dgp", {"000001": 3})
    make_dgp(tmp_path / "dgp", {"000002": 3}, cameras=["CAMERA_01"])
    listed = ["000001/scene_000001.json", "000002/scene_000002.json"]
    data_set.write_text(json.dumps({"scene_splits": {"0": {"filenames": listed}}}))
    store = opened(data_set)
    (item,) = store.missing
    assert item["name"] == "000002/camera_05"
    assert "has only camera_01" in item["reason"]
    assert (len(store.targets), len(store.rigs)) == (9, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": ["camera_02"]}, "camera_02; there are camera_01, camera_05"),
        ({"cameras": ["lidar"]}, "lidar; there are camera_01"),
    ],
)
def test_an_unknown_camera_is_an_error_that_lists_those_there_are(data_set, options, message):
    with pytest.raises(DataError, match=message):
        opened(data_set, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test"}, r"no scene of the split 'test'; the splits it has: train, val"),
        ({"cameras": ["camera_01", "CAMERA_01"]}, "name one twice"),
        ({"depth_type": "radar"}, "'radar' is unknown"),
        ({"root": "/nowhere"}, r"no file in /nowhere.*ddad\.json"),
    ],
)
def test_an_option_that_can_not_be_is_named(data_set, options, message):
    with pytest.raises(DataError, match=message):
        builder(data_set, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "can not be read as JSON"),
        ("{}", "lacks 'scene_splits'"),
        ('{"scene_splits": {"0": {}}}', "lacks 'filenames'"),
        ('{"scene_splits": {}}', "it has: none at all"),
        ('{"scene_splits": {"0": {"filenames": []}}}', "it has: none at all"),
        ('{"scene_splits": {"0": {"filenames": ["a/s.json", "a/t.json"]}}}', "lists a twice"),
    ],
)
def test_a_damaged_list_of_scenes_is_named(data_set, content, message):
    data_set.write_text(content)
    with pytest.raises(DataError, match=message) as error:
        builder(data_set)
    assert str(data_set) in str(error.value)


def test_a_set_of_which_nothing_is_there_is_an_error(data_set):
    for scene in ("000001", "000002"):
        scene_file(data_set, scene).unlink()
    with pytest.raises(DataError, match=r"No target(.|\n)*scene_000001"):
        opened(data_set)
