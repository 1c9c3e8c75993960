import numpy as np
import pytest
from golden.arrays import load

from packnet_jax.data import transforms


def dense(arrays, key: str) -> np.ndarray:
    """A depth map from its flat positions and values."""
    depth = np.zeros(arrays.get(f"{key}.shape", np.array([1, 375, 1242]))[-2:], np.float32)
    depth.flat[arrays[f"{key}.index"]] = arrays[f"{key}.value"]
    return depth


@pytest.mark.parametrize("size", ["192x640", "30x41", "61x83", "20x90", "100x25", "1x1", "7x11"])
def test_image_resizing_equals_the_reference(size):
    golden = load("resize_depth")
    expected = golden[f"image_{size}"]
    actual = transforms.resize_image(golden["in.image"], expected.shape[:2])
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("size", ["12x20", "37x53", "60x90", "5x7", "36x52", "ratio0.5"])
def test_depth_resizing_equals_the_reference(size):
    golden = load("resize_depth")
    expected = golden[f"preserve_{size}"][..., 0]
    actual = transforms.resize_depth(golden["in.depth"], expected.shape)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("case", ["train.resize192x640", "up"])
def test_depth_and_intrinsics_at_kitti_size_equal_the_reference(case):
    golden = load("transforms")
    expected = dense(golden, f"{case}.depth")
    actual = transforms.resize_depth(dense(golden, "in.depth"), expected.shape)
    np.testing.assert_array_equal(actual, expected)
    scaled = transforms.resize_intrinsics(golden["in.intrinsics"], (375, 1242), expected.shape)
    np.testing.assert_allclose(scaled, golden[f"{case}.intrinsics"], rtol=1e-12)


def test_resizing_to_the_same_size_changes_nothing():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (9, 14, 3), dtype=np.uint8)
    depth = rng.uniform(1, 9, (9, 14)).astype(np.float32)
    np.testing.assert_array_equal(transforms.resize_image(image, (9, 14)), image)
    np.testing.assert_array_equal(transforms.resize_depth(depth, (9, 14)), depth)


def test_depth_resizing_ignores_what_is_not_a_depth():
    depth = np.array([[0.0, -1.0], [np.nan, 5.0]], np.float32)
    np.testing.assert_array_equal(transforms.resize_depth(depth, (2, 2)), [[0, 0], [0, 5]])


def test_to_float_is_one_rounded_division():
    levels = np.arange(256, dtype=np.uint8)
    expected = (levels / 255.0).astype(np.float32)
    np.testing.assert_array_equal(transforms.to_float(levels), expected)
