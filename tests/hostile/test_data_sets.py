"""Data sets that somebody made up: only our errors come of them, and nothing outside is read."""

import contextlib
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import fake_cityscapes
import fuzz
import pytest
from fake_dgp import make_dgp
from fake_kitti import DATE, frame_name, make_kitti, png, replace_depth_by_scan, write_groundtruth
from fake_odometry import make_odometry
from hypothesis import strategies as st

from packnet_jax.errors import DataError, PacknetError
from tfds_builders.cityscapes import CAMERAS, PICTURES, Cityscapes, find_snippets
from tfds_builders.ddad import Ddad
from tfds_builders.dgp_files import list_scenes
from tfds_builders.folder_files import find_streams
from tfds_builders.frames import FramesBuilder
from tfds_builders.kitti_odometry import KittiOdometry, parse_split
from tfds_builders.kitti_raw import KittiRaw
from tfds_builders.kitti_splits import parse_line
from tfds_builders.pictures import crop_box

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numbers of no camera


@pytest.fixture
def root(tmp_path) -> Path:
    """A data set's folder; what lies beside it must not be read."""
    (tmp_path / "secret.png").write_bytes(png(0))
    (tmp_path / "secret.json").write_text("{}")
    return tmp_path / "root"


def goes_through(make: Callable[[], FramesBuilder]) -> None:
    """Everything that a build does with the files, without writing."""
    for _ in make()._generate_examples():
        pass


def replaces(file: Path, make: Callable[[], FramesBuilder]) -> Callable[[bytes], None]:
    """Goes through the set with other contents of one file; as it was it holds."""
    goes_through(make)

    def replace(content: bytes) -> None:
        file.write_bytes(content)
        with contextlib.suppress(PacknetError):
            goes_through(make)

    return replace


# --- DGP


def ddad(root: Path) -> Callable[[], FramesBuilder]:
    built = root.parent / "built"
    return lambda: Ddad.from_options(
        data_dir=str(built), root=str(root), split="train", depth_type="lidar"
    )


@pytest.mark.parametrize(
    "name", ["fake.json", "000000/scene_000000.json", "000000/calibration/rig.json"]
)
@fuzz.SHORT_AND_LONG
def test_strange_json_of_dgp(root, name, effort):
    make_dgp(root, {"000000": 1}, cameras=("CAMERA_01",))
    file = root / name
    original = json.loads(file.read_text())
    replace = replaces(file, ddad(root))

    def change(tree: object) -> None:
        replace(json.dumps(tree).encode(errors="replace"))

    fuzz.check(change, fuzz.mutated_tree(original), examples=60 * effort, root=root)
    fuzz.check(
        replace, fuzz.mutated(json.dumps(original).encode()), examples=20 * effort, root=root
    )


@pytest.mark.parametrize(
    "name", ["000000/rgb/CAMERA_01/1000.png", "000000/point_cloud/LIDAR/2000.npz"]
)
@fuzz.SHORT_AND_LONG
def test_damaged_files_of_dgp(root, name, effort):
    make_dgp(root, {"000000": 1}, cameras=("CAMERA_01",))
    file = root / name
    replace = replaces(file, ddad(root))
    fuzz.check(replace, fuzz.mutated(file.read_bytes()), examples=40 * effort, root=root)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "rgb/../../../secret.png"])
def test_pictures_outside_of_a_scene_are_not_read(root, path):
    data_set = make_dgp(root, {"000000": 2}, cameras=("CAMERA_01",))
    file = root / "000000" / "scene_000000.json"
    scene = json.loads(file.read_text())
    for item in scene["data"]:
        if "image" in item["datum"]:
            item["datum"]["image"]["filename"] = path
    file.write_text(json.dumps(scene))
    builder = Ddad.from_options(data_dir=str(root / "built"), root=str(data_set), split="train")
    with pytest.raises(DataError, match="below its folder"):
        list(builder._generate_examples())


# --- KITTI


def test_a_scene_of_more_cameras_than_a_car_has_is_refused(root):
    make_dgp(root, {"000001": 1})
    count = 65
    item = {"filename": "rgb/a/1.png"}
    names = [f"camera_{number}" for number in range(count)]
    data = [{"key": n, "id": {"name": n}, "datum": {"image": item}} for n in names]
    rig = {"calibration_key": "rig", "datum_keys": names}
    empty = [{"calibration_key": "rig", "datum_keys": []}] * 2 * count
    tree = {"data": data, "samples": [rig, *empty]}
    (root / "000001" / "scene_000001.json").write_text(json.dumps(tree))
    with pytest.raises(DataError, match="has 65 cameras; at most 64 are read"):
        ddad(root)().build()


def test_many_scenes_are_listed_in_time(root):
    make_dgp(root, {"000001": 1})
    listed = [f"{number:06d}/scene.json" for number in range(30_000)]
    tree = {"scene_splits": {"0": {"filenames": listed}}}
    (root / "fake.json").write_text(json.dumps(tree))
    began = time.process_time()
    assert list_scenes(root / "fake.json", "train") == listed
    assert time.process_time() - began < 5


def kitti(root: Path) -> Callable[[], FramesBuilder]:
    built = root.parent / "built"
    return lambda: KittiRaw.from_options(
        data_dir=str(built),
        root=str(root),
        split=str(root / "fake.txt"),
        reach=1,
        depth_type="velodyne",
        input_depth_type="groundtruth",
        with_stereo=True,
    )


@pytest.fixture
def kitti_root(root) -> Path:
    make_kitti(root, {1: 2}, [(1, 0), (1, 1)])
    replace_depth_by_scan(root, 1, 0)
    for number in range(2):
        write_groundtruth(root, 1, number)
    return root


DRIVE = Path(frame_name(1, 0)).parents[2]
KITTI_FILES = (
    f"{DATE}/calib_cam_to_cam.txt",
    f"{DATE}/calib_velo_to_cam.txt",
    f"{DATE}/calib_imu_to_velo.txt",
    f"{DRIVE}/oxts/data/{0:010d}.txt",
    f"{DRIVE}/oxts/data/{1:010d}.txt",
    f"{DRIVE}/velodyne_points/data/{0:010d}.bin",
    f"{DRIVE}/proj_depth/velodyne/image_02/{1:010d}.npz",
    f"{DRIVE}/proj_depth/groundtruth/image_02/{1:010d}.png",
    f"{frame_name(1, 0)}.png",
    "fake.txt",
)


@pytest.mark.parametrize("name", KITTI_FILES)
@fuzz.SHORT_AND_LONG
def test_damaged_files_of_kitti(kitti_root, name, effort):
    file = kitti_root / name
    replace = replaces(file, kitti(kitti_root))
    fuzz.check(replace, fuzz.mutated(file.read_bytes()), examples=15 * effort, root=kitti_root)


WORDS = st.one_of(
    st.sampled_from(
        [DATE, "..", ".", "/", "image_02", "image_03", "data", "l", "r", "٣", "9" * 99]
    ),
    st.sampled_from(fuzz.EVIL_PATHS),
    st.text(max_size=5),
    st.integers(0, 2**70).map(str),
)
LINES = st.one_of(
    st.lists(WORDS, max_size=5).map("/".join),
    st.lists(WORDS, max_size=4).map(" ".join),
    st.tuples(WORDS, WORDS, WORDS).map(lambda w: f"{w[0]}/{w[1]}/image_02/data/{w[2]}.png"),
    st.tuples(WORDS, WORDS).map(lambda w: f"{DATE}/{w[0]} {w[1]} l"),
)


@fuzz.SHORT_AND_LONG
def test_strange_lines_of_splits(kitti_root, effort):
    def parse(line: str) -> None:
        try:
            frame = parse_line(line)
        except DataError:
            return
        assert frame.number >= 0
        assert not Path(frame.name).is_absolute()
        assert ".." not in Path(frame.name).parts

    fuzz.check(parse, LINES, examples=300 * effort, root=kitti_root)
    replace = replaces(kitti_root / "fake.txt", kitti(kitti_root))

    def change(lines: list[str]) -> None:
        replace("\n".join(lines).encode(errors="replace"))

    fuzz.check(change, st.lists(LINES, max_size=4), examples=30 * effort, root=kitti_root)


@pytest.mark.parametrize(
    "line", ["../secret/image_02/data/0.png", "/x/image_02/data/0.png", f"{DATE}/.. 1 l", "a/../b"]
)
def test_lines_that_lead_out_of_the_root_are_refused(line):
    with pytest.raises(DataError, match="split line"):
        parse_line(line)


# --- KITTI odometry


@pytest.mark.parametrize(
    "name", ["sequences/09/calib.txt", "sequences/09/times.txt", "poses/09.txt"]
)
@fuzz.SHORT_AND_LONG
def test_damaged_files_of_odometry(root, name, effort):
    make_odometry(root, {"09": 3})
    file = root / name

    def make() -> FramesBuilder:
        built = root.parent / "built"
        return KittiOdometry.from_options(data_dir=str(built), root=str(root), split="09")

    replace = replaces(file, make)
    fuzz.check(replace, fuzz.mutated(file.read_bytes()), examples=20 * effort, root=root)


@fuzz.SHORT_AND_LONG
def test_any_names_of_sequences(effort):
    def parse(split: str) -> None:
        with contextlib.suppress(DataError):
            assert len(parse_split(split)) < 10**5

    parts = st.text("0123456789-_,image ", max_size=30)
    fuzz.check(parse, st.one_of(parts, st.text(max_size=20)), examples=300 * effort)
    with pytest.raises(DataError, match="names no sequences"):
        parse_split("0-99999999999")


def test_two_pictures_of_one_number_are_refused(root):
    make_odometry(root, {"09": 3})
    folder = root / "sequences" / "09" / "image_2"
    options = {"data_dir": str(root.parent / "built"), "root": str(root), "split": "09"}
    for name, twin in (("000001.jpg", "000001.png"), ("000001.png", "1.png")):
        for missing in {name, twin} - {"000001.png"}:
            (folder / missing).write_bytes((folder / "000001.png").read_bytes())
        with pytest.raises(DataError, match=f"image_2 holds {name} and {twin}, .* remove one"):
            KittiOdometry.from_options(**options).build()
        for extra in {name, twin} - {"000001.png"}:
            (folder / extra).unlink()


def test_folders_and_pipes_are_no_pictures_of_odometry(root):
    make_odometry(root, {"09": 3})
    (root / "sequences" / "09" / "image_2" / "000003.png").mkdir()
    os.mkfifo(root / "sequences" / "09" / "image_2" / "000004.png")
    options = {"data_dir": str(root.parent / "built"), "root": str(root), "split": "09"}
    assert len(KittiOdometry.from_options(**options).targets()) == 3


# --- the others


def test_folders_and_pipes_are_neither_pictures_nor_cameras_of_cityscapes(root):
    fake_cityscapes.write_snippet(root, "aachen_000000", 19)
    city, cameras = (root / kind / "train" / "aachen" for kind in (PICTURES, CAMERAS))
    (city / "aachen_000000_000040_leftImg8bit.png").mkdir()
    os.mkfifo(city / "aachen_000000_000041_leftImg8bit.png")
    os.mkfifo(cameras / "aachen_000000_000049_camera.json")
    (snippet,) = find_snippets(city, cameras, "train/aachen")
    assert [number for number, _ in snippet.pictures] == list(range(30))


@fuzz.SHORT_AND_LONG
def test_strange_cameras_of_cityscapes(root, effort):
    fake_cityscapes.write_snippet(root, "aachen_000000", 19)
    file = next(root.rglob("*_camera.json"))
    original = json.loads(file.read_text())

    def make() -> FramesBuilder:
        built = root.parent / "built"
        return Cityscapes.from_options(data_dir=str(built), root=str(root), split="train")

    replace = replaces(file, make)

    def change(tree: object) -> None:
        replace(json.dumps(tree).encode(errors="replace"))

    fuzz.check(change, fuzz.mutated_tree(original), examples=20 * effort, root=root)


@fuzz.SHORT_AND_LONG
def test_any_patterns_of_names(root, effort):
    root.mkdir()
    for number in range(3):
        (root / f"frame_{number}.png").write_bytes(png(number))

    def find(pattern: str) -> None:
        with contextlib.suppress(PacknetError):
            find_streams(root, pattern=pattern)

    pieces = st.sampled_from(
        ["{", "}", ":", "0", "9", "99999999999", "!r", "d", "*", "[", "/", ".."]
    )
    patterns = st.lists(st.one_of(pieces, st.text(max_size=3)), max_size=8).map("".join)
    fuzz.check(find, patterns, examples=200 * effort, root=root)
    with pytest.raises(DataError, match="pattern"):
        find_streams(root, pattern="frame_{:9999999999}.png")


@fuzz.SHORT_AND_LONG
def test_any_crops(effort):
    number = st.one_of(st.integers(-(10**12), 10**12), st.floats(), st.integers(-40, 40))

    def crop(borders: tuple) -> None:
        try:
            box = crop_box(borders, (12, 40))
        except DataError:
            return
        assert 0 <= box.left < box.right <= 40
        assert 0 <= box.top < box.bottom <= 12

    fuzz.check(crop, st.lists(number, max_size=5).map(tuple), examples=300 * effort)


def test_the_watch_sees_what_is_opened_outside(root):
    root.mkdir()
    with pytest.raises(AssertionError, match=r"secret\.png"):
        fuzz.check(
            lambda _: io.FileIO(root.parent / "secret.png").close(),
            st.just(0),
            examples=1,
            root=root,
        )
    with pytest.raises(AssertionError, match="forbidden"):
        fuzz.check(lambda _: __import__("os").system("true"), st.just(0), examples=1)
