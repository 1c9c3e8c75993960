"""Files that an evaluation leaves: named as the original's, with what it predicted in them."""

import numpy as np
import pytest
from PIL import Image

from packnet_jax.config import SaveDepthConfig
from packnet_jax.data.examples import EvalExample
from packnet_jax.eval_files import DepthFiles, depth_writer, picture_writer
from packnet_jax.visualize import read_depth

SHAPE = (8, 16)


def example(index):
    rng = np.random.default_rng(index)
    rgb = rng.uniform(0, 1, (*SHAPE, 3)).astype(np.float32)
    intrinsics = np.array([[9, 0, 7.5], [0, 9, 3.5], [0, 0, 1]], np.float32)
    return EvalExample(rgb, None, intrinsics, f"drive/frame{index}", index)


def inv_depth_of(index):
    return np.random.default_rng(50 + index).uniform(0.02, 0.5, SHAPE).astype(np.float32)


def test_every_kind_of_file_holds_its_part(tmp_path):
    files = DepthFiles(tmp_path, "PackNet01_MR", SaveDepthConfig())
    write = depth_writer(files, "kitti_raw-fake", "fake")
    write(example(3), inv_depth_of(3))
    folder = tmp_path / "depth" / "kitti_raw-fake" / "PackNet01_MR"
    names = {kind: folder / f"fake_0000000003_{kind}" for kind in KINDS}
    assert set(folder.iterdir()) == set(names.values())
    depth = 1 / inv_depth_of(3)
    with np.load(names["depth.npz"]) as arrays:
        assert arrays["depth"].dtype == np.float32
        np.testing.assert_allclose(arrays["depth"], depth, rtol=1e-6)
        np.testing.assert_array_equal(arrays["intrinsics"], example(3).intrinsics)
    np.testing.assert_allclose(read_depth(names["depth.png"]), depth, atol=1 / 256)
    rgb, viz = (np.asarray(Image.open(names[kind])) for kind in ("rgb.png", "viz.png"))
    np.testing.assert_allclose(rgb, example(3).rgb * 255, atol=0.5)
    assert viz.shape == (*SHAPE, 3)
    near, far = np.argmax(inv_depth_of(3)), np.argmin(inv_depth_of(3))
    brightness = viz.sum(-1).ravel()
    assert brightness[near] > brightness[far]


KINDS = ("rgb.png", "viz.png", "depth.npz", "depth.png")


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_wanted_is_written(tmp_path, kind):
    names = {"rgb.png": "rgb", "viz.png": "viz", "depth.npz": "npz", "depth.png": "png"}
    wanted = SaveDepthConfig(**{name: k == kind for k, name in names.items()})
    depth_writer(DepthFiles(tmp_path, "c", wanted), "d", "s")(example(0), inv_depth_of(0))
    assert [path.name for path in tmp_path.rglob("*.*")] == [f"s_0000000000_{kind}"]


def test_pictures_are_spread_over_the_examples(tmp_path):
    write = picture_writer(tmp_path, num_examples=9, num_pictures=3)
    for index in range(9):
        write(example(index), inv_depth_of(index))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{index:04d}_drive_frame{index}.png" for index in (0, 4, 8)
    ]
    assert Image.open(tmp_path / "0004_drive_frame4.png").size == (16, 16)
