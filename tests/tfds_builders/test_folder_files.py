"""Which files are frames, and what follows what."""

import numpy as np
import pytest
from folders import cut_off, numbered, picture, write_pictures, write_video

from packnet_jax import untrusted
from packnet_jax.errors import DataError
from tfds_builders import folder_files
from tfds_builders.folder_files import count_frames, find_streams, read_video


def names_of(streams):
    return [[entry.name for entry in stream.entries] for stream in streams]


def numbers_of(streams):
    return [[entry.number for entry in stream.entries] for stream in streams]


def test_numbers_in_names_count_and_every_folder_is_a_stream(tmp_path):
    write_pictures(tmp_path, ["b2/frame10.png", "b2/frame2.png", "b10/x.jpg", "top.jpeg"])
    streams = find_streams(tmp_path)
    assert [stream.name for stream in streams] == ["b2", "b10", tmp_path.name]
    assert names_of(streams) == [["b2/frame2", "b2/frame10"], ["b10/x"], ["top"]]
    assert numbers_of(streams) == [[0, 1], [0], [0]]


def test_what_is_not_a_picture_is_passed_over(tmp_path):
    write_pictures(tmp_path, ["a.png", ".hidden/b.png", "._c.png", "depth/d.png"])
    (tmp_path / "notes.txt").write_text("no picture")
    assert names_of(find_streams(tmp_path, exclude=[tmp_path / "depth"])) == [["a"]]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*.png", [["a/1"], ["b/2"]]), ("b/*", [["b/2", "b/3"]]), ("[13].*", [["a/1"], ["b/3"]])],
)
def test_stars_choose_files(tmp_path, pattern, expected):
    write_pictures(tmp_path, ["a/1.png", "b/2.png", "b/3.jpg"])
    assert names_of(find_streams(tmp_path, pattern=pattern)) == expected


def test_a_number_in_braces_says_what_follows_what(tmp_path):
    files = ["000000003.png", "000000004.jpg", "000000007.png", "8.png", "000000009_mask.png"]
    write_pictures(tmp_path / "walk", files)
    (stream,) = find_streams(tmp_path, pattern="{:09}")
    assert [entry.path.name for entry in stream.entries] == files[:3]
    assert numbers_of([stream]) == [[0, 1, 4]]
    write_pictures(tmp_path / "other", ["left_7.png", "left_07.png", "right_7.png", "left_12.png"])
    (stream,) = find_streams(tmp_path / "other", pattern="left_{}.png")
    assert numbers_of([stream]) == [[0, 5]]


@pytest.mark.parametrize("pattern", ["{:09", "{a}", "{}{}", "{:s}", "{:z}", ".", "./"])
def test_malformed_patterns_are_refused(tmp_path, pattern):
    write_pictures(tmp_path, ["1.png"])
    with pytest.raises(DataError, match="one number in braces"):
        find_streams(tmp_path, pattern=pattern)


def test_a_stride_keeps_one_of_so_many(tmp_path):
    write_pictures(tmp_path, numbered(7))
    streams = find_streams(tmp_path, stride=3)
    assert names_of(streams) == [["frame0", "frame3", "frame6"]]
    assert numbers_of(streams) == [[0, 1, 2]]
    assert numbers_of(find_streams(tmp_path, stride=3, pattern="frame{}")) == [[0, 1, 2]]


def test_a_video_is_a_stream(tmp_path):
    path = write_video(tmp_path / "clip.mp4", 7)
    (stream,) = find_streams(path, stride=2)
    assert stream.is_video
    assert names_of([stream]) == [["clip/000000", "clip/000002", "clip/000004", "clip/000006"]]
    for number, frame in zip((2, 5), read_video(path, range(2, 6, 3)), strict=True):
        assert np.abs(frame.astype(int) - picture(number)).mean() < 6  # it is compressed
        assert np.abs(frame.astype(int) - picture(number + 4)).mean() > 12


def test_a_folder_of_videos_needs_a_pattern(tmp_path):
    (tmp_path / "b").mkdir()
    write_video(tmp_path / "b" / "clip.mp4", 2)
    with pytest.raises(DataError, match=r"or a pattern such as '\*\.mp4'"):
        find_streams(tmp_path)
    assert [s.name for s in find_streams(tmp_path, pattern="*.mp4")] == ["b/clip"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "there is no such folder or video"),
        (lambda root: root.mkdir(), r"holds no \.png, \.jpg, \.jpeg file"),
        (lambda root: write_pictures(root, ["a.png", "a.jpg"]), r"a\.jpg and .*a\.png have the"),
    ],
)
def test_folders_that_can_not_be_read_are_named(tmp_path, make, message):
    make(tmp_path / "walk")
    with pytest.raises(DataError, match=message) as error:
        find_streams(tmp_path / "walk")
    assert "walk" in str(error.value)


def test_a_video_that_can_not_be_opened_is_named(tmp_path):
    path = cut_off(write_video(tmp_path / "clip.mp4", 5), 0.3)
    with pytest.raises(DataError, match=r"clip\.mp4 can not be opened: it is cut off"):
        count_frames(path)


def test_frames_that_a_video_lacks_are_none(tmp_path):
    path = cut_off(write_video(tmp_path / "clip.avi", 40), 0.5)
    announced = count_frames(path)
    frames = list(read_video(path, range(announced)))
    assert announced == 40
    assert 10 < sum(frame is not None for frame in frames) < 30
    assert frames[0] is not None
    assert frames[-1] is None


def announcing(path, count):
    """The video, with that many frames in the headers of the file and of its stream."""
    data = bytearray(path.read_bytes())
    for place in (data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32):
        data[place : place + 4] = count.to_bytes(4, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("count", [10**6, 2**32 - 1])
def test_frames_beyond_what_a_file_or_a_store_can_hold_are_counted(tmp_path, count):
    path = announcing(write_video(tmp_path / "clip.avi", 3), count)
    assert path.stat().st_size < 10**6
    assert count_frames(path) == 3
    (stream,) = find_streams(path)
    assert len(stream.entries) == 3


def test_a_video_of_more_frames_than_a_store_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_files, "MAX_FRAMES", 2)
    path = write_video(tmp_path / "clip.avi", 5)
    with pytest.raises(DataError, match=r"clip\.avi has more frames than the 2 that .* split it"):
        find_streams(path)
    (stream,) = find_streams(path, stride=3)
    assert numbers_of([stream]) == [[0, 1]]


def test_a_video_of_larger_pictures_than_any_is_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "clip.avi", 3)
    frames = read_video(path, range(3))
    next(frames)
    monkeypatch.setattr(untrusted, "MAX_PIXELS", 100)
    for read in (frames, read_video(path, range(3))):
        with pytest.raises(DataError, match=r"clip\.avi can not be read: it is 80 pixels wide"):
            next(read)
