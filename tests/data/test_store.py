import errno
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from built_stores import open_built
from fake_kitti import frame_name, make_kitti, sparse_depth
from frame_stores import SHAPE, memory_store, metadata, pose, record
from PIL import Image

from packnet_jax.data.index import make_index
from packnet_jax.data.store import FrameStore
from packnet_jax.errors import DataError
from packnet_jax.untrusted import read_json
from tfds_builders.kitti_raw import KittiRaw


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    """A fake KITTI, and the folder its set is built in."""
    folder = tmp_path_factory.mktemp("store")
    root = make_kitti(folder / "kitti", {1: 5, 2: 5}, [(1, 1), (2, 2), (2, 3), (1, 3)])
    return {
        "root": str(root),
        "data_dir": str(folder / "tfds"),
        "split": "fake",
        "depth_type": "velodyne",
        "reach": 1,
        "with_stereo": True,
    }


def files_under(folder: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}


def test_a_store_is_built_once_and_read_back(kitti):
    store = open_built(KittiRaw.from_options, **kitti)
    files = files_under(kitti["data_dir"])
    again = open_built(KittiRaw.from_options, **kitti)
    assert {path: time for path, time in files_under(kitti["data_dir"]).items()} == files
    names = [again[record].name for record in again.targets]
    assert names == [frame_name(1, 1), frame_name(2, 2), frame_name(2, 3), frame_name(1, 3)]
    assert again.has_pose
    assert again.has_depth
    assert len(again) == len(store) == 9 + 4  # drives but for one end, and four right eyes
    frame = again[int(again.targets[0])]
    path = Path(kitti["root"], f"{frame.name}.png")
    np.testing.assert_array_equal(frame.image(), np.asarray(Image.open(path)))
    np.testing.assert_array_equal(frame.depth(), sparse_depth(1010))
    right = again[int(again.stereo[again.targets[0]])]
    assert right.name == frame_name(1, 1, "image_03")


def test_samples_of_a_built_store_have_their_neighbours(kitti):
    store = open_built(KittiRaw.from_options, **kitti)
    index = make_index(store, back_context=1, forward_context=1)
    names = [[store[int(record)].name for record in row] for row in index.context]
    assert names[1] == [frame_name(2, 1), frame_name(2, 3)]
    assert len(index.target) == 4


def test_reading_needs_no_tensorflow(kitti):
    open_built(KittiRaw.from_options, **kitti)
    code = (
        "import sys\n"
        "from packnet_jax.data.examples import EvalPipeline\n"
        "from packnet_jax.data.pipeline import TrainPipeline\n"
        "from functools import partial\n"
        "import packnet_jax.data.open\n"
        "from packnet_jax.data.store import open_store\n"
        "from tfds_builders.kitti_raw import KittiRaw\n"
        f"store = open_store(partial(KittiRaw.from_options, **{kitti!r}))\n"
        "TrainPipeline(store, image_shape=(8, 16), batch_size=2, with_depth=True,\n"
        "    with_pose=True, with_stereo=True, jittering=(.2, .2, .2, .05)).batch(0, 0)\n"
        "assert len(list(EvalPipeline(store, image_shape=(8, 16)))) == 4\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.slow
def test_processes_that_build_at_once_share_one_set(kitti, tmp_path):
    options = kitti | {"data_dir": str(tmp_path)}
    code = (
        "from functools import partial\n"
        "from packnet_jax.data.store import open_store\n"
        "from tfds_builders.kitti_raw import KittiRaw\n"
        f"print(len(open_store(partial(KittiRaw.from_options, **{options!r}))))\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert all("13\n" in output for output in outputs)
    assert sum("Downloading and preparing" in output for output in outputs) == 1


def test_a_build_clears_what_a_killed_one_left(kitti, tmp_path):
    options = kitti | {"data_dir": str(tmp_path)}
    built = Path(KittiRaw.from_options(**options).data_dir)
    leftover = built.parent / "incomplete.ABCDEF_1.0.0"
    leftover.mkdir(parents=True)
    (leftover / "part").write_text("half a record")
    assert len(open_built(KittiRaw.from_options, **options)) == 13
    assert not leftover.exists()
    assert (built / "metadata.json").is_file()


def cut(path: Path) -> None:
    path.write_text(path.read_text()[:50])


def without_targets(path: Path) -> None:
    path.write_text(json.dumps({k: v for k, v in read_json(path).items() if k != "targets"}))


def changed(**fields):
    return lambda path: path.write_text(json.dumps(read_json(path) | fields))


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("metadata.json", cut),
        ("dataset_info.json", cut),
        ("metadata.json", without_targets),
        ("metadata.json", changed(targets=[2**70])),
        ("metadata.json", changed(mask="eJwDAAAAAAE=")),
        ("metadata.json", changed(mask=[])),
        ("metadata.json", Path.unlink),
        ("dataset_info.json", changed(splits=[])),
        ("dataset_info.json", changed(version="9.9.9")),
    ],
)
def test_a_built_set_whose_own_files_are_damaged_is_named(kitti, tmp_path, file, harm):
    """Such as one that came from a bucket, half copied."""
    whole = Path(KittiRaw.from_options(**kitti).data_dir)
    open_built(KittiRaw.from_options, **kitti)
    copy = tmp_path / whole.relative_to(kitti["data_dir"])
    shutil.copytree(whole, copy)
    harm(copy / file)
    with pytest.raises(DataError, match=r"can not be opened: .* Delete it"):
        open_built(KittiRaw.from_options, **kitti | {"data_dir": str(tmp_path)})


def test_a_set_is_built_on_a_file_system_without_locks(kitti, tmp_path, monkeypatch, caplog):
    """As runs train there. What lies there may be another process's build, for all we know."""

    def refuse(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    options = kitti | {"data_dir": str(tmp_path)}
    other = Path(KittiRaw.from_options(**options).data_dir).parent / "incomplete.ABCDEF_1.0.0"
    other.mkdir(parents=True)
    assert len(open_built(KittiRaw.from_options, **options)) == 13
    assert "can not be locked (Function not implemented): build no set twice" in caplog.text
    assert other.exists()


def test_missing_frames_are_counted_and_samples_without_them_remain(tmp_path, caplog):
    root = make_kitti(tmp_path / "kitti", {1: 6}, [(1, i) for i in range(1, 6)])
    (root / f"{frame_name(1, 4)}.png").write_bytes(b"\x89PNG cut short")
    (root / f"{frame_name(1, 5)}.png").unlink()
    with caplog.at_level("WARNING"):
        store = open_built(
            KittiRaw.from_options,
            root=str(root),
            data_dir=str(tmp_path),
            split="fake",
            reach=1,
            depth_type="velodyne",
            allow_missing=0.4,
        )
    assert [item["name"] for item in store.missing] == [frame_name(1, 4), frame_name(1, 5)]
    assert "lacks 2 frames" in caplog.text
    assert [store[record].name for record in store.targets] == [frame_name(1, i) for i in (1, 2, 3)]


def test_nothing_left_is_an_error_and_the_next_try_builds(tmp_path):
    root = make_kitti(tmp_path / "kitti", {1: 3}, [(1, 1)])
    options = {"root": str(root), "data_dir": str(tmp_path), "split": "fake"}
    path = root / f"{frame_name(1, 1)}.png"
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(DataError, match=rf"1 are missing(.|\n)*{frame_name(1, 1)}"):
        open_built(KittiRaw.from_options, **options)
    path.write_bytes(data)
    assert len(open_built(KittiRaw.from_options, **options)) == 1


def test_a_damaged_record_file_is_named(tmp_path):
    root = make_kitti(tmp_path / "kitti", {1: 3}, [(1, 1)])
    options = {"root": str(root), "data_dir": str(tmp_path), "split": "fake"}
    store = open_built(KittiRaw.from_options, **options)
    (path,) = tmp_path.rglob("*.array_record-*")
    data = bytearray(path.read_bytes())
    middle = data.index(b"IDAT") + 20
    data[middle] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"number 1 in kitti_raw/fake.*tfds_dir"):
        open_built(KittiRaw.from_options, **options)[0].image()
    assert len(store) == 1


def test_a_record_that_is_no_example_is_named():
    records = [record("stream0/0", 0), b"\xff\xff", b""]
    store = FrameStore(records, metadata([3], [0], numbers=[[4, 5, 6]]), name="set")
    assert store[0].name == "stream0/0"
    for damaged, number in ((1, 5), (2, 6)):
        with pytest.raises(DataError, match=f"stream0, number {number} in set"):
            store[damaged]


def test_the_size_of_a_picture_is_known_without_decoding_it():
    whole = record("a/0", 0)
    store = FrameStore([whole, record("a/1", 1, image=b"none")], metadata([2], [0]), name="two")
    frame = store[0]
    assert frame.image_shape == frame.image().shape[:2] == SHAPE
    with pytest.raises(DataError, match=r"a/1 is damaged \(the picture can not be decoded"):
        _ = store[1].image_shape


def test_a_frame_is_decoded_exactly():
    frame = memory_store()[3]
    np.testing.assert_array_equal(frame.world_T_camera, pose(3))
    np.testing.assert_array_equal(frame.depth(), sparse_depth(3, SHAPE))
    with pytest.raises(DataError, match="feature 'name'"):
        frame.image("name")
    with pytest.raises(DataError, match="feature 'image'"):
        frame.depth("image")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_pictures_are_decoded_as_pillow_does(mode, kind):
    if kind == "jpeg" and mode in ("P", "RGBA"):
        pytest.skip("JPEG has no such mode")
    smooth = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(cv2.resize(smooth, (70, 50))).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    store = FrameStore([record("a", 0, image=buffer.getvalue())], metadata([1], [0]), name="modes")
    expected = np.asarray(Image.open(buffer).convert("RGB"))
    np.testing.assert_array_equal(store[0].image(), expected)
