"""Which frames come out of pictures, patterns, videos and cameras, and what they are called."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from folders import cut_off
from folders import write_video as write_plain_video
from known_depth import random_picture, write_picture

from packnet_jax.errors import DataError
from packnet_jax.infer.inputs import Frame, Unreadable, find_pictures, open_input, read_picture
from packnet_jax.infer.video import VideoFile


@pytest.fixture
def folder(tmp_path):
    for name in ("a/1.png", "b/2.JPG", "b/c/3.jpeg"):
        write_picture(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    return tmp_path / "in"


def write_video(path: Path, num_frames: int) -> Path:
    with VideoFile(path, fps=12.5) as video:
        for brightness in np.linspace(0, 240, num_frames):
            video.write(np.full((32, 48, 3), brightness, np.uint8))
    return path


def names_of(text, **options) -> list[str]:
    with open_input(str(text), **options) as source:
        return [str(frame.name) for frame in source.frames]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["a/1.png", "b/2.JPG", "b/c/3.jpeg"]),
        ("b", ["2.JPG", "c/3.jpeg"]),
        ("b/2.JPG", ["2.JPG"]),
        ("*/*", ["a/1.png", "b/2.JPG"]),
        ("**/*.jpeg", ["b/c/3.jpeg"]),
        ("b/[0-9].*", ["2.JPG"]),
    ],
)
def test_names_are_relative_to_what_was_named(folder, text, names):
    assert names_of(folder / text) == names
    with open_input(str(folder / text)) as source:
        assert [str(name) for name in source.names] == names
        assert source.num_frames == len(names)
        assert not source.is_stream


def test_the_video_of_pictures_is_called_as_their_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for text, title in ((str(folder), "in"), (".", "in"), ("*/*", "in"), ("b", "b"), ("a", "1")):
        with open_input(text) as source:
            assert source.title == title


def test_nothing_to_do_is_an_error(tmp_path):
    for text in (tmp_path, tmp_path / "*.png"):
        with pytest.raises(DataError, match=r"holds no \.png"):
            find_pictures(str(text))
    for text in ("absent", "absent.mp4"):
        with pytest.raises(DataError, match="absent"), open_input(str(tmp_path / text)):
            pass


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("~nosuchuser/x.png", "is no path"),
        ("~nosuchuser/x.mp4", "is no path"),
        ("x" * 300, "is no path"),
        ("x" * 300 + "*.png", "is no path"),
        ("99999999999", "camera 99999999999 can not be opened"),
    ],
)
def test_what_can_be_no_input_is_an_error(text, told):
    with pytest.raises(DataError, match=told), open_input(text):
        pass


def test_frames_that_are_too_large_are_refused_before_and_while_they_are_read(
    tmp_path, monkeypatch
):
    path = write_video(tmp_path / "clip.mp4", 3)
    monkeypatch.setattr("packnet_jax.untrusted.MAX_SIDE", 40)
    with pytest.raises(DataError, match=r"clip\.mp4 can not be read: it is"), open_input(str(path)):
        pass
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)  # it does not say its size
    with open_input("3") as source:
        (told,) = source.frames
    assert isinstance(told, Unreadable)
    assert "3 ends after 0 frames, since of the next one it is 48 pixels wide" in told.reason


def test_a_picture_of_another_format_is_read_and_named_as_a_png(tmp_path):
    write_picture(tmp_path / "one.webp")
    assert names_of(tmp_path / "one.webp") == ["one.png"]


def test_a_damaged_picture_is_named_and_the_others_come(folder):
    (folder / "b" / "2.JPG").write_bytes(b"\x89PNG but no more")
    with open_input(str(folder)) as source:
        first, damaged, last = source.frames
    assert isinstance(damaged, Unreadable)
    assert "2.JPG can not be read" in damaged.reason
    np.testing.assert_array_equal(first.image, random_picture())
    assert last.name == Path("b/c/3.jpeg")


def test_a_truncated_picture_is_unreadable(tmp_path):
    path = write_picture(tmp_path / "cut.png")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"cut\.png can not be read"):
        read_picture(path)


def test_frames_of_a_video_are_numbered_and_in_order(tmp_path):
    path = write_video(tmp_path / "clip.mp4", 5)
    assert names_of(path) == [f"clip_{i:06d}.png" for i in range(5)]
    with open_input(str(path)) as source:
        assert (source.num_frames, source.fps, source.title) == (5, 12.5, "clip")
        assert source.is_stream
        assert not source.is_live
        assert not source.names
        means = [frame.image.mean() for frame in source.frames]
    np.testing.assert_allclose(means, np.linspace(0, 240, 5), atol=6)


def test_colours_of_a_video_are_not_swapped(tmp_path):
    with VideoFile(tmp_path / "red.mp4", fps=10) as video:
        for _ in range(3):
            video.write(np.full((32, 48, 3), (230, 30, 30), np.uint8))
    with open_input(str(tmp_path / "red.mp4")) as source:
        red, green, blue = next(source.frames).image.mean((0, 1))
    assert red > 200 > 60 > max(green, blue)


@pytest.mark.parametrize("make", [lambda p: write_video(p / "clip.mp4", 5), lambda p: p])
def test_no_more_frames_than_asked_for(folder, make):
    path = make(folder)
    with open_input(str(path), max_frames=2) as source:
        assert source.num_frames == 2
        assert len(list(source.frames)) == 2


def test_a_video_is_read_frame_by_frame(monkeypatch, tmp_path):
    path = write_video(tmp_path / "clip.mp4", 30)
    reads = itertools.count()

    class Counting:  # not derived: OpenCV's classes do not bear it
        def __init__(self, *arguments):
            self.capture = cv2_capture(*arguments)

        def __getattr__(self, name):
            return getattr(self.capture, name)

        def read(self):
            next(reads)
            return self.capture.read()

    cv2_capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Counting)
    with open_input(str(path)) as source:
        next(source.frames)
    assert next(reads) == 1


def test_a_damaged_video_is_an_error(tmp_path):
    path = write_video(tmp_path / "clip.mp4", 5)
    path.write_bytes(path.read_bytes()[:300])
    with (
        pytest.raises(DataError, match=r"video .*clip\.mp4 can not be opened"),
        open_input(str(path)),
    ):
        pass


def test_a_video_that_ends_early_says_so_after_its_frames(tmp_path):
    path = cut_off(write_plain_video(tmp_path / "clip.avi", 40), 0.5)
    with open_input(str(path)) as source:
        assert source.num_frames == 40
        *frames, last = source.frames
    assert 10 < len(frames) < 30
    assert all(isinstance(frame, Frame) for frame in frames)
    assert last == Unreadable(f"{path} ends after {len(frames)} of the 40 frames it announces")
    with open_input(str(path), max_frames=5) as source:
        assert len(list(source.frames)) == 5


class FakeCamera:
    """A camera that never ends; OpenCV knows neither its length nor its rate."""

    def __init__(self, number):
        self.number, self.is_released = number, False

    def isOpened(self):
        return self.number == 3

    def get(self, _):
        return -1.0

    def read(self):
        return True, np.zeros((32, 48, 3), np.uint8)

    def release(self):
        self.is_released = True


def test_a_number_is_a_camera_of_unknown_length(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cameras = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda n: cameras.append(FakeCamera(n)) or cameras[-1])
    with open_input("3") as source:
        assert source.is_live
        assert source.num_frames is None
        assert source.fps is None
        names = [str(f.name) for f in itertools.islice(source.frames, 2)]
    assert names == ["camera3_000000.png", "camera3_000001.png"]
    with pytest.raises(DataError, match="camera 1 can not be opened"), open_input("1"):
        pass
    assert all(camera.is_released for camera in cameras)
    write_picture(tmp_path / "5" / "x.png")
    assert names_of("5") == ["x.png"]
