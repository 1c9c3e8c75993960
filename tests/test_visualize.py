"""Pictures equal the original's colours; files are exact, and written whole or not at all."""

import numpy as np
import pytest
from golden.arrays import load
from PIL import Image

from packnet_jax import visualize
from packnet_jax.errors import DataError

GOLDEN = load("depth_utils")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("default", {}),
        ("p50", {"percentile": 50}),
        ("filter", {"ignore_zeros": True}),
        ("norm", {"normalizer": 0.7}),
        ("viridis", {"colormap": "viridis"}),
    ],
)
def test_colours_equal_the_original(name, options):
    inv_depth = GOLDEN["in.viz"][0]
    before = inv_depth.copy()
    colours = visualize.colorize_inv_depth(inv_depth, **options)
    np.testing.assert_allclose(colours, GOLDEN[f"viz.{name}"], atol=1e-6)
    np.testing.assert_array_equal(inv_depth, before)


def test_depth_png_equals_the_original(tmp_path):
    visualize.write_depth(tmp_path / "depth.png", GOLDEN["in.write_depth"])
    ours = np.asarray(Image.open(tmp_path / "depth.png"), np.int32)
    np.testing.assert_array_equal(ours, GOLDEN["png_pixels"])


def test_depth_npz_is_exact_and_loads_without_pickle(tmp_path):
    depth, K = GOLDEN["npz_depth"], GOLDEN["npz_intrinsics"]
    visualize.write_depth(tmp_path / "known.npz", depth, K)
    visualize.write_depth(tmp_path / "unknown.npz", depth)
    known, unknown = np.load(tmp_path / "known.npz"), np.load(tmp_path / "unknown.npz")
    np.testing.assert_array_equal(known["depth"], depth)
    np.testing.assert_array_equal(known["intrinsics"], K)
    assert unknown["intrinsics"].shape == (0, 0)


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"\.npz or \.png"):
        visualize.write_depth(tmp_path / "depth.exr", GOLDEN["npz_depth"])


def test_the_picture_has_its_inverse_depth_below_it():
    rgb = np.full((4, 6, 3), 0.5)
    stacked = visualize.stack_picture(rgb, np.linspace(0.1, 1, 24).reshape(4, 6))
    assert stacked.shape == (8, 6, 3)
    assert (stacked[:4] == 128).all()
    assert len(np.unique(stacked[4:].reshape(-1, 3), axis=0)) > 10


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    visualize.write_atomically(path, b"old")

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(visualize.os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        visualize.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
