"""The original's inference on real frames, from checkpoints with the same seeded weights."""

import shutil

import cli
import numpy as np
import original_files
import pytest
from PIL import Image
from real_data import end_to_end, end_to_end_file, kitti_tiny

from packnet_jax.geometry.ground import fit_ground_plane
from tfds_builders.calibration import Calibration

SHIFT = -5.5
"""Of one bias in the `resnet18_shift` weights, which makes depths realistic."""

NETWORKS = {
    "resnet18": ("DepthResNet_18", "PoseResNet_18", "zip"),
    "resnet18_shift": ("DepthResNet_18", "PoseResNet_18", "legacy"),
    "slim01": ("PackNetSlim01_1A", "PoseNet", "zip"),
}
DATE, DRIVE = "2011_09_26", "2011_09_26_drive_0023_sync"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Frames that the original was given, but for a JPEG file, which decoders read variously."""
    frames = kitti_tiny() / DATE / DRIVE / "image_02" / "data"
    folder = tmp_path_factory.mktemp("reference")
    (folder / "in").mkdir()
    for number in (1, 3):
        shutil.copy(frames / f"{number:010d}.png", folder / "in")
    return folder


def write_checkpoint(folder, tag):
    depth_net, pose_net, container = NETWORKS[tag]
    content = original_files.content_of(depth_net, pose_net)
    content["config"]["datasets"]["augmentation"]["image_shape"] = (192, 640)
    if tag.endswith("shift"):
        name = "model.depth_net.decoder.decoder.10.conv.bias"
        content["state_dict"][name] = content["state_dict"][name] + np.float32(SHIFT)
    return original_files.write(folder / f"{tag}.ckpt", content, container)


@pytest.fixture(scope="module", params=NETWORKS)
def inferred(request, place):
    """The tag, and where the results of a run at 192x640 and of one at 96x320 are."""
    tag = request.param
    checkpoint = write_checkpoint(place, tag)
    common = (f"--checkpoint={checkpoint}", "--save=picture,npz,png")
    cli.run("infer", *common, "--input=in", f"--output={tag}", "--batch_size=2", cwd=place)
    small = ("--image_shape=96,320", "--input=in/0000000001.png", f"--output={tag}_96")
    cli.run("infer", *common, *small, cwd=place)
    checkpoint.unlink()
    return tag, place / tag, place / f"{tag}_96"


def depth_of(path):
    with np.load(path, allow_pickle=True) as file:  # intrinsics: the original pickles None
        return file["depth"]


@pytest.mark.slow
def test_depth_equals_the_original_s(inferred, parity):
    """Within 1e-4, pixel by pixel where arrays are there and by statistics elsewhere."""
    tag, full, small = inferred
    if tag == "resnet18":
        for name, folder, frame in (
            ("resnet18_onefile.npz", full, "0000000001"),
            ("resnet18_folder_npz__0000000003.npz", full, "0000000003"),
            ("resnet18_96.npz", small, "0000000001"),
        ):
            theirs = depth_of(end_to_end_file(f"infer/{name}"))
            ours = depth_of(folder / "npz" / f"{frame}.npz")
            entry = name.removesuffix(".npz")
            parity.compare("end_to_end/infer", entry, ours, theirs, tolerance=1e-4, scale=theirs)
    files = end_to_end("infer/infer.json")["files"]
    for name, folder in ((f"{tag}_onefile.npz", full), (f"{tag}_96.npz", small)):
        depth = depth_of(folder / "npz" / "0000000001.npz")
        assert [str(depth.dtype), list(depth.shape)] == files[name]["arrays"]["depth"]
        found = [depth.mean(dtype=np.float64), depth.min(), depth.max()]
        expected = [files[name][f"depth_{what}"] for what in ("mean", "min", "max")]
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
def test_depth_pictures_equal_the_original_s(inferred):
    """Cut off to 256ths of a metre on both sides, a level apart where rounding decides."""
    tag, full, _ = inferred
    if tag == "resnet18_shift":
        return
    theirs = np.asarray(Image.open(end_to_end_file(f"infer/{tag}_onedepth.png")), np.int32)
    ours = np.asarray(Image.open(full / "png" / "0000000001.png"), np.int32)
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() < 0.01


@pytest.mark.slow
def test_pictures_equal_the_original_s(inferred):
    """Written with OpenCV there and Pillow here: the same pixels, a colour apart in the map."""
    tag, full, _ = inferred
    if tag == "slim01":
        return
    theirs = np.asarray(Image.open(end_to_end_file(f"infer/{tag}_one.png")), np.int32)
    ours = np.asarray(Image.open(full / "picture" / "0000000001.png"), np.int32)
    np.testing.assert_array_equal(ours[:192], theirs[:192])
    differs = ours[192:] != theirs[192:]
    assert np.abs(ours - theirs).max() <= 3  # neighbours among the map's 256 colours
    assert differs.any(-1).mean() < 0.01


def test_the_ground_below_kitti_s_camera():
    """KITTI's cameras are mounted 1.65 m above the ground; its laser scans know it."""
    date = kitti_tiny() / DATE
    calibration = Calibration.parse(str(date / "calib_cam_to_cam.txt"))
    for path in sorted((date / DRIVE / "proj_depth/velodyne/image_02").glob("*.npz")):
        depth = np.load(path)["velodyne_depth"]
        found = fit_ground_plane(depth, calibration.at(depth.shape))
        assert found is not None
        assert found.height == pytest.approx(1.65, rel=0.03)
