"""Sets of frames with nothing but pictures: what is stored, left out, noted and refused."""

import re

import numpy as np
import pytest
from folders import (
    SHAPE,
    cut_off,
    numbered,
    picture,
    write_mask,
    write_pictures,
    write_video,
)
from PIL import Image

from packnet_jax.data.sources import open_source
from packnet_jax.data.store import FrameStore
from packnet_jax.data_config import DataConfig, FolderConfig, SourceConfig
from packnet_jax.errors import DataError, PacknetError
from packnet_jax.visualize import write_depth
from tfds_builders.frames import Missing
from tfds_builders.image_folder import ImageFolder
from tfds_builders.pictures import decode_image
from tfds_builders.stored_size import StoredSize


def open_folder(tmp_path, root, *, split="all", needs_depth=False, **fields) -> FrameStore:
    source = SourceConfig(
        name="image_folder",
        root=str(root),
        split=split,
        depth_type="files" if needs_depth else "",
        frames=FolderConfig(**fields),
    )
    data = DataConfig(tfds_dir=str(tmp_path / "tfds"))
    return open_source(source, data, for_training=not needs_depth)


def names_of(store):
    return [store[record].name for record in store.targets]


def test_every_picture_is_a_target_with_a_guessed_camera_that_is_noted(tmp_path):
    root = write_pictures(tmp_path / "walk", [f"{part}/{n}" for part in "ab" for n in numbered(3)])
    store = open_folder(tmp_path, root)
    assert names_of(store) == [f"{part}/frame{i}" for part in "ab" for i in range(3)]
    assert [stream["numbers"] for stream in store.streams] == [[0, 1, 2]] * 2
    np.testing.assert_array_equal(store[4].image(), picture(4))
    expected = [[56, 0, 39.5], [0, 56, 23.5], [0, 0, 1]]
    np.testing.assert_allclose(store[0].intrinsics, expected)
    assert "guessed: fx = fy = 0.7 of the longer side" in store.notes[0]
    assert not (store.has_pose or store.has_depth)
    assert store.mask is None


def test_given_intrinsics_are_those_of_every_frame(tmp_path):
    root = write_pictures(tmp_path / "walk", numbered(2))
    store = open_folder(tmp_path, root, intrinsics="60,61,40,24")
    np.testing.assert_array_equal(store[1].intrinsics, [[60, 0, 40], [0, 61, 24], [0, 0, 1]])
    assert "fx 60 fy 61 cx 40 cy 24" in store.notes[0]


def test_splits_are_blocks_at_the_end_of_every_stream(tmp_path):
    root = write_pictures(tmp_path / "walk", [f"{part}/{n}" for part in "ab" for n in numbered(5)])
    train, val, whole = (
        names_of(open_folder(tmp_path, root, split=split, val_fraction=0.4))
        for split in ("train", "val", "all")
    )
    assert train == [f"{part}/frame{i}" for part in "ab" for i in (0, 1, 2)]
    assert val == [f"{part}/frame{i}" for part in "ab" for i in (3, 4)]
    assert sorted(whole) == sorted(train + val)


def test_static_frames_are_left_out_and_counted(tmp_path):
    root = write_pictures(tmp_path / "walk", numbered(7))
    for number, seed in enumerate([0, 1, 1, 1, 2, 3, 3]):
        Image.fromarray(picture(seed)).save(root / f"frame{number}.png")
    store = open_folder(tmp_path, root, static_threshold=1)
    assert names_of(store) == ["frame0", "frame1", "frame4", "frame5"]
    assert store.streams[0]["numbers"] == [0, 1, 2, 3]
    assert "3 of 7 differ by less than 1 levels" in store.notes[1]


def test_static_frames_of_a_video_are_left_out(tmp_path):
    path = write_video(tmp_path / "clip.mp4", 4)
    assert len(open_folder(tmp_path, path, static_threshold=0.1)) == 4
    assert len(open_folder(tmp_path, path, static_threshold=255)) == 1


def test_gaps_stay_gaps_where_static_frames_are_left_out(tmp_path):
    write_pictures(tmp_path / "one", ["1.png", "2.png", "4.png"])
    same = (tmp_path / "one" / "1.png").read_bytes()
    (tmp_path / "one" / "2.png").write_bytes(same)
    store = open_folder(tmp_path, tmp_path / "one", pattern="{}", static_threshold=1)
    assert names_of(store) == ["1", "4"]
    assert store.streams[0]["numbers"] == [0, 2]


def test_a_video_is_read_at_its_stride_and_its_end_is_the_validation(tmp_path):
    path = write_video(tmp_path / "clip.mp4", 10)
    train = open_folder(tmp_path, path, split="train", stride=2, val_fraction=0.4)
    val = open_folder(tmp_path, path, split="val", stride=2, val_fraction=0.4)
    assert names_of(train) == ["clip/000000", "clip/000002", "clip/000004"]
    assert names_of(val) == ["clip/000006", "clip/000008"]
    for store, record, seed in ((train, 2, 4), (val, 0, 6)):
        assert np.abs(store[record].image().astype(int) - picture(seed)).mean() < 6


def test_depth_is_matched_by_name(tmp_path):
    root = write_pictures(tmp_path / "walk", [f"a/{n}" for n in numbered(4)])
    depth = np.full(SHAPE, 2.5, np.float32)
    write_depth(tmp_path / "depth" / "a" / "frame1.npz", depth)
    write_depth(tmp_path / "depth" / "a" / "frame2.png", depth + 1)
    fields = {"depth_root": str(tmp_path / "depth")}
    evaluated = open_folder(tmp_path, root, needs_depth=True, **fields)
    assert names_of(evaluated) == ["a/frame1", "a/frame2"]
    assert evaluated.has_depth
    for value, record in zip((2.5, 3.5), evaluated.targets, strict=True):
        np.testing.assert_array_equal(evaluated[record].depth(), np.full(SHAPE, value, np.float32))
    assert "for 2 of 4" in evaluated.notes[-1]
    trained = open_folder(tmp_path, root, **fields)
    assert len(trained.targets) == 4
    assert not trained.has_depth


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda path: write_depth(path.with_suffix(".npz"), np.ones((4, 4), np.float32)),
            r"frame1\.npz has shape \(4, 4\), but its picture",
        ),
        (lambda path: path.write_bytes(b"no picture"), r"frame1\.png: can not be read as depth"),
    ],
)
def test_depth_that_does_not_fit_is_named_and_its_frame_is_context_alone(tmp_path, write, message):
    root = write_pictures(tmp_path / "walk", numbered(2))
    write_depth(tmp_path / "depth" / "frame0.npz", np.ones(SHAPE, np.float32))
    write(tmp_path / "depth" / "frame1.png")
    store = open_folder(tmp_path, root, needs_depth=True, depth_root=str(tmp_path / "depth"))
    assert names_of(store) == ["frame0"]
    assert len(store) == 2
    (missing,) = store.missing
    assert missing["name"] == "frame1"
    assert re.search(message, missing["reason"])


def test_depth_under_other_names_is_refused(tmp_path):
    root = write_pictures(tmp_path / "walk", numbered(3))
    write_depth(tmp_path / "depth" / "0.npz", np.ones(SHAPE, np.float32))
    with pytest.raises(DataError, match=r"depth for none of 3 frames, such as .*frame0\.npz"):
        open_folder(tmp_path, root, needs_depth=True, depth_root=str(tmp_path / "depth"))


def test_a_mask_is_that_of_the_set(tmp_path):
    root = write_pictures(tmp_path / "walk", numbered(2))
    mask = write_mask(root / "mask.png")
    store = open_folder(tmp_path, root, mask=str(mask))
    assert names_of(store) == ["frame0", "frame1"]
    expected = np.ones(SHAPE, bool)
    expected[-12:] = False
    np.testing.assert_array_equal(store.mask, expected)
    assert "mask.png" in store.notes[-1]


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: write_pictures(folder / "walk", numbered(2)),
        lambda folder: write_video(folder / "clip.mp4", 2),
    ],
)
def test_resized_sets_keep_their_full_size_in_mind(tmp_path, write):
    root = write(tmp_path)
    builder = ImageFolder.from_options(
        data_dir=str(tmp_path / "tfds"),
        root=str(root),
        stored_size=StoredSize((16, 32), (8, 40, 0, 0)),
    )
    frames = list(builder.read_frames())
    assert len(frames) == 2
    assert all(decode_image(frame.image).shape == (16, 32, 3) for frame in frames)
    assert all(tuple(frame.extra["full_shape"]) == SHAPE for frame in frames)
    assert builder.extra_metadata["stored_crop"] == [8, 40, 0, 0]


def test_a_changed_file_is_another_set(tmp_path):
    root = write_pictures(tmp_path / "walk", numbered(3))
    assert len(open_folder(tmp_path, root)) == 3
    write_pictures(root, numbered(4))
    assert len(open_folder(tmp_path, root)) == 4
    mask = write_mask(tmp_path / "mask.png")
    first = open_folder(tmp_path, root, mask=str(mask))
    write_mask(mask, ignored_rows=5)
    second = open_folder(tmp_path, root, mask=str(mask))
    assert first.mask.sum() == second.mask.sum() - 7 * SHAPE[1]


@pytest.mark.parametrize("fields", [{}, {"static_threshold": 0.1}])
@pytest.mark.parametrize(
    ("share", "message"), [(0.5, "can not be decoded"), (0, r"frame2\.png is not a picture")]
)
def test_a_truncated_or_empty_picture_is_listed_and_leaves_a_gap(tmp_path, share, message, fields):
    root = write_pictures(tmp_path / "walk", numbered(5))
    cut_off(root / "frame2.png", share)
    store = open_folder(tmp_path, root, **fields)
    assert names_of(store) == ["frame0", "frame1", "frame3", "frame4"]
    assert store.streams[0]["numbers"] == [0, 1, 3, 4]
    (missing,) = store.missing
    assert missing["name"] == "frame2"
    assert re.search(message, missing["reason"])


def test_a_video_that_ends_early_lists_what_it_lacks(tmp_path):
    path = cut_off(write_video(tmp_path / "clip.avi", 40), 0.5)
    builder = ImageFolder.from_options(data_dir=str(tmp_path / "tfds"), root=str(path))
    items = list(builder.read_frames())
    missing = [item for item in items if isinstance(item, Missing)]
    assert len(items) == 40
    assert 10 < len(missing) < 30
    assert items[-1] == missing[-1]
    assert all("clip.avi ends before this frame" in item.reason for item in missing)


@pytest.mark.parametrize(
    ("change", "fields", "messages"),
    [
        (
            lambda root: write_pictures(root, ["frame9.png"], (20, 30)),
            {},
            ["frame0.png is 80x48 and", "frame9.png is 30x20", "folders of their own"],
        ),
        (lambda root: None, {"mask": "mask.png"}, ["mask.png is 30x20", "frame0.png is 80x48"]),
        (lambda root: None, {"mask": "black.png"}, ["black.png is 0 everywhere"]),
        (lambda root: None, {"mask": "none.png"}, ["data.frames.mask", "none.png can not be"]),
        (
            lambda root: None,
            {"intrinsics": "700,700,600,180"},
            ["config.data.frames.intrinsics: the principal point (600, 180)", "80x48"],
        ),
        (lambda root: None, {"intrinsics": "camera.txt"}, ["camera.txt holds no intrinsics"]),
        (lambda root: None, {"intrinsics": "absent.txt"}, ["'absent.txt', which is no file"]),
        (lambda root: None, {"pattern": "*.jpg"}, ["holds no file like '*.jpg'"]),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, monkeypatch, change, fields, messages):
    monkeypatch.chdir(tmp_path)
    root = write_pictures(tmp_path / "walk", numbered(3))
    write_mask(tmp_path / "mask.png", (20, 30))
    write_mask(tmp_path / "black.png", ignored_rows=SHAPE[0])
    (tmp_path / "camera.txt").write_text("1 2 3")
    change(root)
    with pytest.raises(PacknetError) as error:
        open_folder(tmp_path, root, **fields)
    for message in messages:
        assert message in str(error.value)


def test_one_picture_can_not_be_split(tmp_path):
    root = write_pictures(tmp_path / "walk", numbered(1))
    with pytest.raises(DataError, match=r"'train' is empty.*walk: 1;.*`data.split=all`"):
        open_folder(tmp_path, root, split="train")
    assert len(open_folder(tmp_path, root, split="val")) == 1
