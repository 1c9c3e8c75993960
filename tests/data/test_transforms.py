"""Single transforms and whole chains against the original's, through the pipelines."""

import io

import numpy as np
import pytest
from frame_stores import metadata, record
from golden.parity import FOLDER
from PIL import Image

from packnet_jax.data import transforms
from packnet_jax.data.examples import EvalPipeline
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.resized import frame_picture
from packnet_jax.data.store import FrameStore, Framing

CROP = (-352, 0, 0.5, 1216)
CHAINS = {
    "train.resize192x640": Framing((192, 640)),
    "train.crop_resize": Framing((96, 320), CROP),
    "train.crop_only": Framing((352, 1216), CROP),
    "up": Framing((400, 1300)),
}


@pytest.fixture(scope="module")
def resizing():
    return dict(np.load(FOLDER / "funcs" / "resize_depth.npz"))


@pytest.fixture(scope="module")
def chains():
    return dict(np.load(FOLDER / "funcs" / "transforms.npz"))


@pytest.fixture(scope="module")
def store(chains) -> FrameStore:
    """The chains' picture between its two contexts."""
    picture = chains["in.rgb"]
    pictures = [np.roll(picture, 5, axis=1), picture, np.ascontiguousarray(picture[:, ::-1])]
    records = []
    for i, image in enumerate(pictures):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "png", compress_level=1)
        depth, K = dense(chains, "in.depth"), chains["in.intrinsics"]
        records.append(record(f"chain/{i}", i, image=buffer.getvalue(), depth=depth, intrinsics=K))
    return FrameStore(records, metadata([3], [1]), name="chains")


def dense(arrays, key: str) -> np.ndarray:
    """A depth map from its flat positions and values."""
    depth = np.zeros(arrays.get(f"{key}.shape", np.array([1, 375, 1242]))[-2:], np.float32)
    depth.flat[arrays[f"{key}.index"]] = arrays[f"{key}.value"]
    return depth


@pytest.mark.parametrize("size", ["192x640", "30x41", "61x83", "20x90", "100x25", "1x1", "7x11"])
def test_image_resizing_equals_the_reference(resizing, parity, size):
    expected = resizing[f"image_{size}"]
    actual = transforms.resize_image(resizing["in.image"], expected.shape[:2])
    parity.compare("funcs/resize_depth", f"image_{size}", actual, expected, tolerance=0)


@pytest.mark.parametrize("size", ["12x20", "37x53", "60x90", "5x7", "36x52", "ratio0.5"])
def test_depth_resizing_equals_the_reference(resizing, parity, size):
    expected = resizing[f"preserve_{size}"][..., 0]
    actual = transforms.resize_depth(resizing["in.depth"], expected.shape)
    parity.compare("funcs/resize_depth", f"preserve_{size}", actual, expected, tolerance=0)


@pytest.mark.parametrize("size", ["12x20", "37x53", "60x90", "5x7", "36x52"])
def test_nearest_depth_resizing_equals_the_reference(resizing, parity, size):
    expected = resizing[f"nearest_{size}"][..., 0]
    actual = transforms.resize_depth_nearest(resizing["in.depth"], expected.shape)
    parity.compare("funcs/resize_depth", f"nearest_{size}", actual, expected, tolerance=0)


@pytest.mark.parametrize("case", CHAINS)
def test_training_chains_equal_the_reference(store, chains, parity, case):
    shape, crop = CHAINS[case]
    batch = TrainPipeline(
        store, image_shape=shape, crop=crop, batch_size=1, with_depth=True, num_threads=0
    ).batch(0, 0)
    depth = batch.depth[0, ..., 0]
    expected = dense(chains, f"{case}.depth")
    parity.compare("funcs/transforms", f"{case}.depth", depth, expected, tolerance=0)
    picture = frame_picture(store, store[1], CHAINS[case])
    expected = chains[f"{case}.intrinsics"]
    name, scale = f"{case}.intrinsics", np.abs(expected).max()
    parity.compare(
        "funcs/transforms", name, picture.intrinsics, expected, tolerance=1e-9, scale=scale
    )
    np.testing.assert_array_equal(batch.intrinsics[0], picture.intrinsics.astype(np.float32))
    images = {"rgb": batch.rgb[0]}
    images |= {f"rgb_context.{i}": batch.rgb_context[0, i] for i in range(2)}
    for field, actual in images.items():
        name = f"{case}.{field}.u8"
        if name in chains:
            expected = transforms.to_float(np.moveaxis(chains[name], 0, -1))
            parity.compare("funcs/transforms", name, actual, expected, tolerance=0)


def test_the_chains_hold_pictures():
    names = np.load(FOLDER / "funcs" / "transforms.npz").files
    assert {f"train.crop_resize.rgb{c}.u8" for c in ("", "_context.0", "_context.1")} < set(names)
    assert {"train.resize192x640.rgb.u8", "val.resize.rgb.u8"} < set(names)


def test_evaluation_chains_equal_the_reference(store, chains, parity):
    """Intrinsics are compared where nothing is resized: the original leaves them unscaled."""
    (example,) = EvalPipeline(store, image_shape=(96, 320), num_threads=0)
    expected = transforms.to_float(np.moveaxis(chains["val.resize.rgb.u8"], 0, -1))
    parity.compare("funcs/transforms", "val.resize.rgb.u8", example.rgb, expected, tolerance=0)
    assert example.box is None
    (example,) = EvalPipeline(store, image_shape=(352, 1216), crop=CROP, num_threads=0)
    np.testing.assert_array_equal(example.depth, dense(chains, "in.depth"))
    np.testing.assert_array_equal(
        example.rgb, transforms.to_float(example.box.cut(chains["in.rgb"]))
    )
    parity.compare(
        "funcs/transforms",
        "val.crop.intrinsics",
        frame_picture(store, store[1], Framing((352, 1216), CROP)).intrinsics,
        chains["val.crop.intrinsics"],
        tolerance=1e-9,
        scale=721.5377,
    )


@pytest.mark.parametrize(
    ("case", "crop", "resize"),
    [
        ("train.resize192x640", (), transforms.resize_depth),
        ("train.crop_resize", CROP, transforms.resize_depth),
        ("val.crop", CROP, transforms.resize_depth),
        ("val.resize", (), transforms.resize_depth),
        ("test.resize", (), transforms.resize_depth_nearest),
    ],
)
def test_input_depth_of_every_chain_equals_the_reference(chains, parity, case, crop, resize):
    expected = dense(chains, f"{case}.input_depth")
    box = transforms.crop_box(crop, (375, 1242))
    actual = resize(box.cut(dense(chains, "in.input_depth")), expected.shape)
    parity.compare("funcs/transforms", f"{case}.input_depth", actual, expected, tolerance=0)


def test_resizing_to_the_same_size_changes_nothing():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (9, 14, 3), dtype=np.uint8)
    depth = rng.uniform(1, 9, (9, 14)).astype(np.float32)
    np.testing.assert_array_equal(transforms.resize_image(image, (9, 14)), image)
    np.testing.assert_array_equal(transforms.resize_depth(depth, (9, 14)), depth)
    np.testing.assert_array_equal(transforms.resize_depth_nearest(depth, (9, 14)), depth)


def test_depth_resizing_ignores_what_is_not_a_depth():
    depth = np.array([[0.0, -1.0], [np.nan, 5.0]], np.float32)
    np.testing.assert_array_equal(transforms.resize_depth(depth, (2, 2)), [[0, 0], [0, 5]])


def test_to_float_is_one_rounded_division():
    levels = np.arange(256, dtype=np.uint8)
    expected = (levels / 255.0).astype(np.float32)
    np.testing.assert_array_equal(transforms.to_float(levels), expected)


@pytest.mark.parametrize("keep", [(0.3, 0.3), (0.0, 1.0), (0.5, 0.8)])
def test_sparsifying_keeps_points_as_they_are(keep):
    depth = np.zeros((60, 100), np.float32)
    depth[::3, ::2] = np.random.default_rng(0).uniform(1, 80, (20, 50))
    given = depth.copy()
    shares = []
    for seed in range(40):
        kept, again = (
            transforms.sparsify(depth, keep, np.random.default_rng(seed)) for _ in range(2)
        )
        np.testing.assert_array_equal(kept, again)
        np.testing.assert_array_equal(kept[kept > 0], depth[kept > 0])
        shares.append(np.count_nonzero(kept) / 1000)
    np.testing.assert_array_equal(depth, given)
    assert keep[0] - 0.06 < min(shares) and max(shares) < keep[1] + 0.06
    assert np.mean(shares) == pytest.approx(sum(keep) / 2, abs=0.13)
    if keep[0] < keep[1]:
        assert np.ptp(shares) > 0.5 * (keep[1] - keep[0])


def test_sparsifying_keeps_all_and_draws_nothing_by_default():
    rng = np.random.default_rng(0)
    depth = np.array([[0, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(transforms.sparsify(depth, (1.0, 1.0), rng), depth)
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("keep", [(-0.1, 1.0), (0.6, 0.5), (0.0, 1.1)])
def test_an_impossible_share_is_refused(keep):
    with pytest.raises(ValueError, match="kept share"):
        transforms.sparsify(np.zeros((2, 2), np.float32), keep, np.random.default_rng(0))
