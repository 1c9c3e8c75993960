"""Videos appear whole, under their name, or not at all."""

import cv2
import numpy as np
import pytest

from packnet_jax.errors import DataError
from packnet_jax.infer import video as video_lib
from packnet_jax.infer.video import VideoFile

FRAME = np.full((32, 64, 3), 120, np.uint8)


def num_frames(path):
    return int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT))


def test_a_video_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "clip.mp4"
    with VideoFile(path, fps=10) as video:
        for _ in range(3):
            video.write(FRAME)
        assert not path.exists()
    assert list(path.parent.iterdir()) == [path]
    assert num_frames(path) == 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_video_and_no_other(tmp_path, error):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    with pytest.raises(error), VideoFile(path, fps=10) as video:
        video.write(FRAME)
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_without_frames_there_is_no_file(tmp_path):
    with VideoFile(tmp_path / "clip.mp4", fps=10):
        pass
    assert not list(tmp_path.iterdir())


def test_missing_frames_are_an_error(tmp_path):
    """As after a full disk, of which OpenCV does not tell."""
    lost = pytest.raises(DataError, match="2 of 3 frames could be written")
    with lost, VideoFile(tmp_path / "clip.mp4", fps=10) as video:
        video.write(FRAME)
        video.write(FRAME)
        video.num_frames += 1
    assert not list(tmp_path.iterdir())


def test_an_unknown_codec_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(video_lib, "CODEC", "none")
    refused = pytest.raises(DataError, match="can not write")
    with refused, VideoFile(tmp_path / "clip.mp4", fps=10) as video:
        video.write(FRAME)
    assert not list(tmp_path.iterdir())
