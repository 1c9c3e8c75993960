"""Pictures equal the original's colours; files are exact, and written whole or not at all."""

import numpy as np
import pytest
from golden.arrays import FOLDER, load
from PIL import Image

from packnet_jax import visualize
from packnet_jax.errors import DataError

GOLDEN = load("depth_utils")


GOLDEN_COLOURS = {
    "viz.default": {},
    "viz.p50": {"percentile": 50},
    "viz.filter": {"ignore_zeros": True},
    "viz.norm": {"normalizer": 0.7},
    "viz.viridis": {"colormap": "viridis"},
}
GOLDEN_FILES = ["png_pixels", "png_read_back", "npz_depth", "npz_intrinsics"]


@pytest.mark.parametrize("entry", GOLDEN_COLOURS)
def test_golden_colours(entry, parity):
    inv_depth = np.asarray(GOLDEN["in.viz"][0])
    colours = visualize.colorize_inv_depth(inv_depth, **GOLDEN_COLOURS[entry])
    parity.compare("funcs/depth_utils", entry, colours, GOLDEN[entry], tolerance=1e-6)


def test_colouring_leaves_its_argument_alone():
    """The original scales it in place."""
    inv_depth = np.array(GOLDEN["in.viz"][0])
    visualize.colorize_inv_depth(inv_depth)
    np.testing.assert_array_equal(inv_depth, GOLDEN["in.viz"][0])
    assert np.abs(inv_depth - GOLDEN["viz.input_after_call"][0]).max() > 0.1


def test_golden_depth_files(tmp_path, parity):
    png, npz = tmp_path / "depth.png", tmp_path / "depth.npz"
    visualize.write_depth(png, np.asarray(GOLDEN["in.write_depth"]))
    visualize.write_depth(
        npz, np.asarray(GOLDEN["npz_depth"]), np.asarray(GOLDEN["npz_intrinsics"])
    )
    with np.load(npz, allow_pickle=False) as file:
        assert set(file) == {"depth", "intrinsics"}
        intrinsics = file["intrinsics"]
    actual = {
        "png_pixels": np.asarray(Image.open(png), np.int32),
        "png_read_back": visualize.read_depth(png),
        "npz_depth": visualize.read_depth(npz),
        "npz_intrinsics": intrinsics,
    }
    for entry in GOLDEN_FILES:
        parity.compare("funcs/depth_utils", entry, actual[entry], GOLDEN[entry], tolerance=0)


def test_the_original_s_depth_png_holds_the_same_picture(tmp_path):
    visualize.write_depth(tmp_path / "depth.png", np.asarray(GOLDEN["in.write_depth"]))
    ours, theirs = tmp_path / "depth.png", FOLDER / "depth_written.png"
    np.testing.assert_array_equal(Image.open(ours), Image.open(theirs))
    np.testing.assert_array_equal(visualize.read_depth(theirs), GOLDEN["png_read_back"])
    header = slice(16, 26)  # width, height, bits per sample, colour type
    assert ours.read_bytes()[header] == theirs.read_bytes()[header]


def test_a_depth_npz_without_intrinsics_loads_without_pickle(tmp_path):
    visualize.write_depth(tmp_path / "depth.npz", np.asarray(GOLDEN["npz_depth"]))
    with np.load(tmp_path / "depth.npz", allow_pickle=False) as file:
        assert file["intrinsics"].shape == (0, 0)


def test_a_depth_picture_within_a_metre_is_read(tmp_path):
    visualize.write_depth(tmp_path / "near.png", np.array([[0.0, 0.25], [0.5, 0.75]]))
    depth = visualize.read_depth(tmp_path / "near.png")
    np.testing.assert_array_equal(depth, [[0, 0.25], [0.5, 0.75]])


def test_pictures_that_hold_no_depth_are_refused(tmp_path):
    names = "rgb.png", "notes.txt", "other.npz", "empty.npz", "stack.npz"
    colour, text, nothing, empty, stack = (tmp_path / name for name in names)
    visualize.write_image(colour, np.zeros((2, 3, 3), np.uint8))
    text.write_text("depth")
    np.savez(nothing, something=np.zeros(3))
    np.savez(empty, depth=np.zeros((0, 9)))
    np.savez(stack, depth=np.zeros((2, 3, 4)))
    for path, message in (
        (colour, "16-bit"),
        (text, r"\.npz or \.png"),
        (nothing, "'depth'"),
        (empty, r"empty\.npz: its depth has shape \(0, 9\)"),
        (stack, r"stack\.npz: its depth has shape \(2, 3, 4\)"),
        (tmp_path / "missing.png", "missing.png"),
    ):
        with pytest.raises(DataError, match=message):
            visualize.read_depth(path)


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"\.npz or \.png"):
        visualize.write_depth(tmp_path / "depth.exr", np.ones((2, 3)))


def test_the_picture_has_its_inverse_depth_below_it():
    rgb = np.full((4, 6, 3), 0.5)
    stacked = visualize.stack_picture(rgb, np.linspace(0.1, 1, 24).reshape(4, 6))
    assert stacked.shape == (8, 6, 3)
    assert (stacked[:4] == 128).all()
    assert len(np.unique(stacked[4:].reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_pictures_hold_notes(tmp_path, name):
    picture = np.zeros((4, 4, 3), np.uint8)
    visualize.write_image(tmp_path / name, picture, {"unit": "metres", "scale": 5.4})
    with Image.open(tmp_path / name) as file:
        info = {key: str(value) for key, value in file.info.items()}
    if name.endswith("png"):
        assert (info["unit"], info["scale"]) == ("metres", "5.4")
    else:
        assert "unit: metres; scale: 5.4" in info["comment"]
    with pytest.raises(ValueError, match="not into BMP"):
        visualize.write_image(tmp_path / "a.bmp", picture, {"unit": "metres"})


@pytest.mark.parametrize("suffix", [".npz", ".png"])
def test_depth_files_hold_notes(tmp_path, suffix):
    path = tmp_path / f"depth{suffix}"
    visualize.write_depth(path, np.ones((2, 3)), notes={"unit": "metres", "scale": 5.4})
    np.testing.assert_array_equal(visualize.read_depth(path), np.ones((2, 3)))
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            assert (str(file["unit"]), float(file["scale"])) == ("metres", 5.4)
    else:
        with Image.open(path) as file:
            assert (file.info["unit"], file.info["scale"]) == ("metres", "5.4")


def test_jpeg_pictures_are_as_fine_as_the_original_s(tmp_path):
    """OpenCV's default quality, whose tables begin with these values."""
    visualize.write_image(tmp_path / "a.jpg", np.zeros((16, 16, 3), np.uint8))
    with Image.open(tmp_path / "a.jpg") as file:
        assert file.quantization[0][:4] == [2, 1, 1, 2]


def test_a_damaged_npz_is_named(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 but no more")
    with pytest.raises(DataError, match=r"bad\.npz: can not be read as depth"):
        visualize.read_depth(tmp_path / "bad.npz")


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
