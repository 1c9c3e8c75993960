"""Inference through its command line, with a real network in a real checkpoint."""

import cli
import numpy as np
import pytest
from known_depth import write_picture
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path):
    for seed, name in enumerate(("a.png", "b.png", "c.jpg")):
        write_picture(tmp_path / "in" / name, seed, (40, 90))
    return tmp_path


def test_every_kind_of_output_in_one_run(place, checkpoint):
    output = cli.run(
        "infer",
        f"--checkpoint={checkpoint}",
        "--input=in",
        "--output=out",
        "--save=picture,npz,png,ply,mp4",
        "--intrinsics=50,50,44.5,19.5",
        "--scale=5.4",
        "--batch_size=2",
        "--flip",
        cwd=place,
    )
    assert "DepthResNet18, step 3: 13 files in out" in output
    assert "Depth in metres: the network's times 5.4, given" in output
    with np.load(place / "out" / "npz" / "c.npz") as file:
        depth = file["depth"]
        assert depth.shape == (32, 64)
        np.testing.assert_allclose(file["intrinsics"][0], [50 * 64 / 90, 0, 31.5], rtol=1e-6)
    levels = np.asarray(Image.open(place / "out" / "png" / "c.png"), np.float64)
    np.testing.assert_allclose(levels / 256, depth, atol=1 / 256)
    assert Image.open(place / "out" / "picture" / "c.jpg").size == (64, 64)
    assert (place / "out" / "in.mp4").stat().st_size > 1000


def test_a_picture_that_can_not_be_read_is_named_and_status_1_says_so(place, checkpoint):
    (place / "in" / "b.png").write_bytes(b"\x89PNG but no more")
    arguments = ("infer", f"--checkpoint={checkpoint}", "--input=in/*.png", "--output=out")
    output = cli.run(*arguments, cwd=place, status=1)
    assert "Frames missing: 1" in output
    assert "in/b.png can not be read as a picture" in output
    assert [path.name for path in (place / "out").iterdir()] == ["a.png"]
    output = cli.run(*arguments, cwd=place, status=2)
    assert "out/a.png; --overwrite replaces" in output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--batch_size=0",), "ConfigError: the command line does not fit: flag --batch_size=0"),
        (("--input=absent",), "DataError: --input: absent does not exist"),
        (("--ray_residual_weight=2",), "ConfigError: the command line does not fit: flag --ray_"),
        (("--compute_dtype=float16",), "the command line does not fit: flag --compute_dtype"),
        (("--near=5", "--far=4"), "ConfigError: --near, --far: given 5 and 4"),
        (("--scale=median",), "ConfigError: --scale=median and --gt_folder=DIR go together"),
        (("--checkpoint=absent",), "CheckpointError: --checkpoint: no checkpoint at"),
        (("surplus",), "ConfigError: unknown arguments"),
    ],
)
def test_a_mistake_is_one_clear_error(place, more, message):
    common = ("--checkpoint=run", "--input=in", "--output=out")
    output = cli.run("infer", *common, *more, cwd=place, status=2)
    assert message in output
    assert "Traceback" not in output


def test_a_cloud_needs_a_camera(place, checkpoint):
    common = (f"--checkpoint={checkpoint}", "--input=in", "--output=out", "--save=ply")
    output = cli.run("infer", *common, cwd=place, status=2)
    assert "ConfigError: --save=ply needs --intrinsics" in output
    output = cli.run("infer", *common, "--ray_template=rays.npz", cwd=place, status=2)
    assert "ConfigError: --ray_template: given rays.npz, but DepthResNet18" in output
    assert not (place / "out").exists()


def test_missing_flags_are_named(place):
    assert "--checkpoint is missing" in cli.run("infer", cwd=place, status=2)
