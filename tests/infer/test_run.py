"""Inference from input to files, with networks whose answers are known."""

import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
from known_depth import KnowsOneScene, RedChannelIsInverseDepth, random_picture, write_picture
from PIL import Image
from ply_files import read_ply

from packnet_jax.depth_maps import fuse_flipped
from packnet_jax.errors import ConfigError, DataError
from packnet_jax.infer import run
from packnet_jax.infer.inputs import open_input
from packnet_jax.infer.options import CloudOptions, Options, parse_image_shape
from packnet_jax.infer.outputs import COLOUR_INERTIA
from packnet_jax.infer.run import infer, resized_intrinsics
from packnet_jax.infer.scaling import CameraHeight, GivenFactor, GroundTruthMedian
from packnet_jax.infer.video import VideoFile
from packnet_jax.visualize import write_depth
from tfds_builders.calibration import Calibration
from tfds_builders.synthetic_drive.cameras import default_camera
from tfds_builders.synthetic_drive.render import Renderer
from tfds_builders.synthetic_drive.street import make_street

CAMERA = Calibration.parse("60,60,31.5,15.5")


@pytest.fixture
def folder(tmp_path, answer_with):
    """Three pictures, the size the network works at."""
    for seed, name in enumerate(("a.png", "b.png", "sub/c.png")):
        write_picture(tmp_path / "in" / name, seed)
    return tmp_path


def run_on(folder: Path, source: str = "in", output: str = "out", **options):
    return infer(folder / "run", str(folder / source), folder / output, Options(**options))


def expected_depth(seed: int) -> np.ndarray:
    return 1 / (random_picture(seed)[..., 0].astype(np.float32) / np.float32(255))


def test_exact_depth_is_exact(folder):
    outcome = run_on(folder, save=["npz"])
    names = ["a.npz", "b.npz", "sub/c.npz"]
    assert outcome.written == [folder / "out" / name for name in names]
    for seed, path in enumerate(outcome.written):
        with np.load(path) as file:
            np.testing.assert_allclose(file["depth"], expected_depth(seed), rtol=1e-6)
            assert file["intrinsics"].size == 0
            assert (str(file["unit"]), float(file["scale"])) == ("up to scale", 1)


@pytest.mark.parametrize("batch_size", [2, 3, 5])
def test_batches_change_nothing(folder, batch_size):
    single = run_on(folder, output="one", save=["npz"])
    outcome = run_on(folder, save=["npz"], batch_size=batch_size)
    for path, alone in zip(outcome.written, single.written, strict=True):
        np.testing.assert_array_equal(np.load(path)["depth"], np.load(alone)["depth"])


def test_every_kind_says_the_unit_and_the_scale(folder, capsys):
    outcome = run_on(
        folder,
        source="in/a.png",
        save=["picture", "npz", "png", "ply", "mp4"],
        calibration=CAMERA,
        scaling=GivenFactor(5.4),
    )
    picture, npz, png, ply, mp4 = outcome.written
    assert mp4 == folder / "out" / "a.mp4"
    depth = expected_depth(0) * 5.4
    with np.load(npz) as file:
        np.testing.assert_allclose(file["depth"], depth, rtol=1e-6)
        assert (str(file["unit"]), float(file["scale"])) == ("metres", 5.4)
        np.testing.assert_allclose(file["intrinsics"], CAMERA.at(tiny.SHAPE), rtol=1e-6)
    for path in (picture, png):
        with Image.open(path) as file:
            assert (file.text["unit"], file.text["scale"]) == ("metres", "5.4")
    levels = np.asarray(Image.open(png), np.float64)
    np.testing.assert_allclose(levels / 256, depth, atol=1 / 256)
    points, colours, comments = read_ply(ply)
    assert {"unit: metres", "scale: 5.4", "intrinsics_origin: --intrinsics"} < set(comments)
    np.testing.assert_allclose(points[:, 2], depth.ravel(), rtol=1e-6)
    np.testing.assert_array_equal(colours, random_picture(0).reshape(-1, 3))
    printed = capsys.readouterr().out
    assert "step 7: 5 files" in printed
    assert "Depth in metres: the network's times 5.4, given" in printed


def test_a_jpeg_says_it_too(folder):
    (path,) = run_on(folder, source="in/a.png", output="a.jpg").written
    assert "unit: up to scale; scale: 1.0" in Image.open(path).info["comment"].decode()


def test_intrinsics_follow_the_network_s_size(folder, answer_with):
    write_picture(folder / "in2" / "large.png", shape=(64, 256))
    camera = Calibration.parse("100,90,120,30")
    (path,) = run_on(folder, source="in2", save=["npz"], calibration=camera).written
    expected = [[25, 0, 29.625], [0, 45, 14.75], [0, 0, 1]]  # c' = (c + 0.5) s - 0.5
    np.testing.assert_allclose(np.load(path)["intrinsics"], expected, rtol=1e-6)


def test_true_depth_makes_the_true_cloud(folder, answer_with):
    """A street's points, found by its ray caster, from the picture at twice the resolution."""
    large, small = default_camera(64, 192), default_camera(32, 96)
    street = make_street(3, num_frames=1)
    pose = street.world_T_camera[0]
    Image.fromarray(Renderer(street, large).render(pose, 0).rgb).save(folder / "street.png")
    view = Renderer(street, small, supersampling=1).render(pose, 0)
    is_seen = view.depth > 0
    inv_depth = np.where(is_seen, 1 / np.where(is_seen, view.depth, 1), 0)
    answer_with(KnowsOneScene(), view.depth.shape, inv_depth=inv_depth[..., None])
    # The same lens at both sizes: edges of the picture at the same rays.
    K = Calibration.parse(f"{large.fx},{large.fy},{large.cx},{large.cy}")
    cloud = CloudOptions(far=1e5, max_slope=np.inf)  # no depth in the sky is 1e6
    options = Options(save=["ply"], calibration=K, scaling=GivenFactor(1), cloud=cloud)
    (path,) = infer(folder, str(folder / "street.png"), folder / "out", options).written
    points, _, _ = read_ply(path)
    v, u = np.nonzero(is_seen)
    rays = np.stack([(u - small.cx) / small.fx, (v - small.cy) / small.fy, np.ones(len(u))], -1)
    ends = pose[:3, 3] + view.depth[v, u].astype(np.float64)[:, None] * (rays @ pose[:3, :3].T)
    world = points.astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(world, ends, atol=1e-4)


def test_the_mirrored_picture_is_averaged_in_as_evaluation_does(folder, answer_with):
    """This network sees what is left nearer, in the mirrored picture, too."""
    ramp = np.linspace(0.9, 0.1, tiny.SHAPE[1], dtype=np.float32)
    scene = np.broadcast_to(ramp, tiny.SHAPE)[..., None]
    answer_with(KnowsOneScene(), inv_depth=scene)
    (path,) = run_on(folder, source="in/a.png", save=["npz"], flip=True).written
    expected = 1 / fuse_flipped(scene, scene[:, ::-1])[..., 0]
    np.testing.assert_allclose(np.load(path)["depth"], expected, rtol=1e-6)


def test_what_can_not_be_read_is_named_and_the_rest_written(folder):
    (folder / "in" / "b.png").write_bytes(b"\x89PNG but no more")
    outcome = run_on(folder, save=["npz"], batch_size=2)
    assert [path.name for path in outcome.written] == ["a.npz", "c.npz"]
    (failure,) = outcome.failures
    assert "b.png can not be read" in failure
    np.testing.assert_allclose(np.load(outcome.written[1])["depth"], expected_depth(2), rtol=1e-6)


def test_each_picture_gets_the_median_of_its_ground_truth(folder, capsys):
    for seed, factor in ((0, 2.0), (2, 7.0)):
        name = {0: "a.npz", 2: "sub/c.npz"}[seed]
        (folder / "truth" / name).parent.mkdir(parents=True, exist_ok=True)
        write_depth(folder / "truth" / name, expected_depth(seed) * factor)
    outcome = run_on(folder, save=["npz"], scaling=GroundTruthMedian(folder / "truth"))
    for path, seed, factor in zip(outcome.written, (0, 2), (2.0, 7.0), strict=True):
        with np.load(path) as file:
            assert file["scale"] == pytest.approx(factor, rel=1e-6)
            np.testing.assert_allclose(file["depth"], expected_depth(seed) * factor, rtol=1e-5)
    (failure,) = outcome.failures
    assert failure.startswith("b.png: no ground truth")
    assert "times 4.5 (2 to 7), ratio to the ground truth's median" in capsys.readouterr().out


def test_a_camera_s_height_needs_ground(folder):
    Image.new("RGB", tiny.SHAPE[::-1], (90, 90, 90)).save(folder / "wall.png")
    options = {"calibration": CAMERA, "scaling": CameraHeight(1.65)}
    outcome = run_on(folder, source="wall.png", save=["npz"], **options)
    assert not outcome.written
    assert "wall.png: no ground plane" in outcome.failures[0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scaling": GroundTruthMedian(Path("absent"))}, DataError, "for none of 3 pictures"),
        ({"save": ["video"]}, ConfigError, "--save: given video"),
    ],
)
def test_mistakes_come_before_the_network_is_read(folder, monkeypatch, options, error, message):
    monkeypatch.setattr(run, "load_depth_network", lambda _: pytest.fail("too late"))
    with pytest.raises(error, match=message):
        run_on(folder, **options)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"save": ["ply"]}, "--save=ply needs --intrinsics"),
        ({"scaling": CameraHeight(1.65)}, "camera_height needs --intrinsics"),
    ],
)
def test_an_unknown_camera_is_an_error_before_inference(folder, monkeypatch, options, message):
    monkeypatch.setattr(
        run.DepthPredictor, "from_trained", lambda *_, **__: pytest.fail("too late")
    )
    with pytest.raises(ConfigError, match=message):
        run_on(folder, **options)
    assert not (folder / "out").exists()


def test_what_exists_is_not_written_over(folder, monkeypatch):
    run_on(folder, save=["npz"])
    before = (folder / "out" / "a.npz").read_bytes()
    with pytest.raises(ConfigError, match="3 files exist already"):
        run_on(folder, save=["npz"], scaling=GivenFactor(2))
    assert (folder / "out" / "a.npz").read_bytes() == before
    run_on(folder, save=["npz"], scaling=GivenFactor(2), overwrite=True)
    assert np.load(folder / "out" / "a.npz")["scale"] == 2


def test_a_camera_of_another_size_is_an_error_before_inference(folder, monkeypatch):
    monkeypatch.setattr(
        run.DepthPredictor, "from_trained", lambda *_, **__: pytest.fail("too late")
    )
    with pytest.raises(DataError, match="not inside a picture of 64x32"):
        run_on(folder, save=["npz"], calibration=Calibration.parse("700,700,600,180"))


def test_a_guessed_camera_is_warned_of(folder, caplog):
    run_on(folder, save=["npz"], calibration=Calibration.parse("auto"))
    (warning,) = [r.getMessage() for r in caplog.records if "--intrinsics=auto" in r.getMessage()]
    assert "guessed: fx = fy = 0.7 of the longer side" in warning
    assert "for 64x32 that is fx = fy = 45" in warning


def test_weights_alone_do_not_say_the_size(folder, answer_with):
    answer_with(RedChannelIsInverseDepth(), unsaid=("data.image_shape",))
    with pytest.raises(ConfigError, match=r"--image_shape is missing, and .*run does not say"):
        run_on(folder)
    (path,) = run_on(folder, source="in/a.png", save=["npz"], image_shape=(64, 96)).written
    assert np.load(path)["depth"].shape == (64, 96)


def make_video(path: Path, brightness) -> Path:
    with VideoFile(path, fps=12.5) as video:
        for value in brightness:
            video.write(np.full((*tiny.SHAPE, 3), value, np.uint8))
    return path


def test_a_video_becomes_a_video_of_the_same_length_and_rate(folder):
    make_video(folder / "clip.mp4", np.linspace(60, 200, 6))
    (path,) = run_on(folder, source="clip.mp4", batch_size=4).written
    assert path == folder / "out" / "clip.mp4"
    with open_input(str(path)) as source:
        assert (source.num_frames, source.fps) == (6, 12.5)
        frames = [frame.image for frame in source.frames]
    assert frames[0].shape == (64, 64, 3)  # 32 rows of picture, 32 of depth
    means = [frame[:32].mean() for frame in frames]
    np.testing.assert_allclose(means, np.linspace(60, 200, 6), atol=10)


def test_frames_of_a_video_become_files(folder):
    make_video(folder / "clip.mp4", [90, 120, 150])
    outcome = run_on(folder, source="clip.mp4", save=["npz"], max_frames=2)
    assert [path.name for path in outcome.written] == ["clip_000000.npz", "clip_000001.npz"]


def test_colours_of_a_video_do_not_flicker(folder):
    """A patch of constant depth beside one that jumps keeps its colour from frame to frame."""
    with VideoFile(folder / "clip.mp4", fps=10) as video:
        for i in range(8):
            frame = np.full((*tiny.SHAPE, 3), 100, np.uint8)
            frame[:, 32:] = (120, 240)[i % 2]
            video.write(frame)
    (path,) = run_on(folder, source="clip.mp4").written
    with open_input(str(path)) as source:
        patches = np.array([f.image[36:60, 4:28].mean((0, 1)) for f in source.frames])
    assert np.abs(np.diff(patches, axis=0)).max() < 255 * 2 / COLOUR_INERTIA
    single = run_on(folder, source="clip.mp4", output="single", save=["picture"])
    patches = np.array(
        [np.asarray(Image.open(p))[36:60, 4:28].mean((0, 1)) for p in single.written]
    )
    assert np.abs(np.diff(patches, axis=0)).max() > 50


def test_pictures_become_a_video(folder):
    (path,) = run_on(folder, save=["mp4"]).written
    assert path == folder / "out" / "in.mp4"
    with open_input(str(path)) as source:
        assert (source.num_frames, source.fps) == (3, 10)


def test_a_camera_ends_with_ctrl_c_and_everything_is_closed(folder, monkeypatch, capfd):
    class InterruptedCamera:
        num_read = 0

        def isOpened(self):
            return True

        def get(self, _):
            return 0.0

        def read(self):
            self.num_read += 1
            if self.num_read == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return True, random_picture(self.num_read)

        def release(self):
            self.num_read = -1

    camera, opened = InterruptedCamera(), cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda p: camera if p == 0 else opened(p))
    monkeypatch.chdir(folder)
    outcome = infer(folder, "0", folder / "out", Options(save=["npz", "mp4"], batch_size=3))
    assert camera.num_read == -1
    assert not outcome.failures
    names = [f"camera0_{i:06d}.npz" for i in range(4)]
    assert sorted(p.name for p in (folder / "out" / "npz").iterdir()) == names
    monkeypatch.undo()
    with open_input(str(folder / "out" / "camera0.mp4")) as source:
        assert source.num_frames == 4
    assert "SIGINT: closing the files" in capfd.readouterr().out


def test_ctrl_c_during_pictures_keeps_whole_files_and_no_video(folder, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    answers = iter([run.DepthPredictor.timed, interrupted])
    monkeypatch.setattr(run.DepthPredictor, "timed", lambda *a: next(answers)(*a))
    with pytest.raises(KeyboardInterrupt):
        run_on(folder, save=["npz", "mp4"])
    files = [p for p in (folder / "out").rglob("*") if p.is_file()]
    assert files == [folder / "out" / "npz" / "a.npz"]


def test_a_stream_without_frames_is_an_error(folder, monkeypatch):
    class Empty:
        def isOpened(self):
            return True

        def get(self, _):
            return 0.0

        def read(self):
            return False, None

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", lambda _: Empty())
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match="no frame came from 0"):
        infer(folder, "0", folder / "out", Options())


def test_speed_is_told_where_there_is_more_than_one_batch(folder, capsys):
    run_on(folder, source="in/a.png", output="one")
    assert "Latency" not in capsys.readouterr().out
    latency = run_on(folder, save=["npz"]).latency
    assert 0 < latency.network < latency.served
    printed = capsys.readouterr().out
    assert "Latency of a picture" in printed
    assert "ms of the network alone" in printed
    assert "ms served (resizing, transfers and network; no files)" in printed
    assert "images/s served after the first batch" in printed


def test_half_precision_rounds_what_the_network_sees_and_says_so(folder):
    (path,) = run_on(folder, source="in/a.png", save=["npz"], compute_dtype="bfloat16").written
    with np.load(path) as file:
        assert str(file["compute_dtype"]) == "bfloat16"
        np.testing.assert_allclose(file["depth"], expected_depth(0), rtol=2**-8)
        assert (file["depth"] != expected_depth(0)).any()


@pytest.mark.parametrize(
    ("words", "shape"), [(None, None), (["96", "320"], (96, 320)), (["32", " 64"], (32, 64))]
)
def test_image_shape(words, shape):
    assert parse_image_shape(words) == shape


@pytest.mark.parametrize(
    "words", [["96"], ["96", "100"], ["a", "b"], ["0", "32"], ["-32", "32"], ["3²", "32"]]
)
def test_other_image_shapes_are_refused(words):
    with pytest.raises(ConfigError, match="multiples of 32"):
        parse_image_shape(words)


def test_resizing_keeps_every_ray():
    """The ray through a place of the picture stays, whatever pixels the place is made of."""
    K = np.array([[72.0, 0, 30.5], [0, 71.0, 15.25], [0, 0, 1]])
    small = resized_intrinsics(Calibration("given", K), (32, 64), (8, 32))
    for x, y in ((0.0, 0.0), (0.5, 0.5), (0.3, 0.9)):  # shares of the width and height
        u, v = x * 64 - 0.5, y * 32 - 0.5
        u_small, v_small = x * 32 - 0.5, y * 8 - 0.5
        ray, ray_small = (
            np.linalg.solve(matrix, pixel)
            for matrix, pixel in ((K, (u, v, 1)), (small, (u_small, v_small, 1)))
        )
        np.testing.assert_allclose(ray_small, ray, atol=1e-6)
