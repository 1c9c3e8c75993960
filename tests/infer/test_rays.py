"""Inference of neural ray surfaces: depth is along rays that are known here."""

from pathlib import Path

import numpy as np
import pytest
from known_depth import KnowsOneCamera, KnowsOneScene
from PIL import Image
from ply_files import read_ply

from packnet_jax.errors import ConfigError, DataError
from packnet_jax.infer import run
from packnet_jax.infer.options import CloudOptions, Options, RayOptions
from packnet_jax.infer.rays import is_ray_surface, trained_residual_weight
from packnet_jax.infer.run import infer
from packnet_jax.infer.scaling import CameraHeight, GivenFactor
from packnet_jax.networks.ray_surface_resnet import RaySurfaceResNet
from packnet_jax.ray_template import RUN_TEMPLATE, RayTemplate, save_template
from tfds_builders.calibration import Calibration
from tfds_builders.synthetic_drive.cameras import fisheye_camera
from tfds_builders.synthetic_drive.render import Renderer
from tfds_builders.synthetic_drive.street import make_street

CAMERA = fisheye_camera(32, 64)
SHAPE = (CAMERA.height, CAMERA.width)
EVERYTHING = CloudOptions(far=1e5, max_slope=np.inf)  # no depth in the sky is 1e6
OBJECTIVE = {"objective": "ray_surface", "model.depth_net.name": "RaySurfaceResNet"}


@pytest.fixture(scope="module")
def view():
    """A street through a fisheye, its pose, and a template that is not quite its rays."""
    street = make_street(3, num_frames=1)
    pose = street.world_T_camera[0]
    seen = Renderer(street, CAMERA, supersampling=1).render(pose, 0)
    off = CAMERA.rays + 0.1 * np.random.default_rng(0).normal(size=(*SHAPE, 3))
    template = (off / np.linalg.norm(off, axis=-1, keepdims=True)).astype(np.float32)
    return seen, pose, template


@pytest.fixture
def trained(tmp_path, answer_with, view):
    """A run whose network knows the scene, and the rays once its residual counts `weight`."""
    seen, _, template = view
    Image.fromarray(seen.rgb).save(tmp_path / "street.png")
    is_seen = seen.depth > 0
    inv_depth = np.where(is_seen, 1 / np.where(is_seen, seen.depth, 1), 0)[..., None]

    def train(*, weight: float = 1.0, with_template: bool = True, **fields) -> Path:
        workdir = tmp_path / "run"
        answer_with(
            KnowsOneCamera(),
            SHAPE,
            folder=workdir / "checkpoints" / "00000007",
            fields=OBJECTIVE | fields,
            scene={"inv_depth": inv_depth},
            residual=(CAMERA.rays - template) / weight,
        )
        if with_template:
            save_template(workdir / RUN_TEMPLATE, RayTemplate(template, CAMERA.mask))
        return workdir

    return train


def run_on(workdir: Path, **options):
    fields = {"cloud": EVERYTHING, **options}
    folder = workdir.parent
    return infer(workdir, str(folder / "street.png"), folder / "out", Options(**fields))


def true_points(view) -> np.ndarray:
    """In the world, along the camera's own formulas."""
    seen, pose, _ = view
    v, u = np.nonzero((seen.depth > 0) & CAMERA.mask)
    points = CAMERA.rays[v, u] * seen.depth[v, u].astype(np.float64)[:, None]
    return points @ pose[:3, :3].T + pose[:3, 3]


def assert_true_cloud(path: Path, view) -> list[str]:
    points, _, comments = read_ply(path)
    _, pose, _ = view
    world = points.astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(world, true_points(view), atol=1e-4)
    return comments


def test_true_distance_along_true_rays_makes_the_true_cloud(trained, view):
    (path,) = run_on(trained(), save=["ply"], scaling=GivenFactor(1)).written
    comments = assert_true_cloud(path, view)
    assert "depth_along: the ray of each pixel, not z" in comments
    assert "ray_residual_weight: 1.0" in comments


@pytest.mark.parametrize(
    ("schedule", "num_steps", "weight"),
    [
        ("released", 70, 10 ** (4 / 3) / 100),  # step 7 of 70
        ("paper", 70, 0.5),
        ("paper", 7, 1.0),
        ("released", 0, 1.0),  # epochs, whose length is not in the checkpoint
    ],
)
def test_as_much_of_the_residual_counts_as_in_training(trained, view, schedule, num_steps, weight):
    fields = {"train.num_steps": num_steps, "loss.ray_residual_schedule": schedule}
    (path,) = run_on(trained(weight=weight, **fields), save=["ply"]).written
    assert_true_cloud(path, view)


def test_a_given_weight_comes_first(trained, view):
    rays = RayOptions(residual_weight=0.25)
    (path,) = run_on(trained(weight=0.25), save=["ply"], rays=rays).written
    assert "ray_residual_weight: 0.25" in assert_true_cloud(path, view)


@pytest.mark.parametrize("place", ["flag", "configuration"])
def test_a_template_may_be_elsewhere(trained, view, tmp_path, place):
    _, _, template = view
    save_template(tmp_path / "mine.npz", RayTemplate(template, CAMERA.mask))
    is_flag = place == "flag"
    named = "" if is_flag else str(tmp_path / "mine.npz")
    workdir = trained(with_template=False, **{"loss.ray_template": named})
    rays = RayOptions(tmp_path / "mine.npz") if is_flag else RayOptions()
    (path,) = run_on(workdir, save=["ply"], rays=rays).written
    assert f"rays_origin: {tmp_path / 'mine.npz'}" in assert_true_cloud(path, view)


def test_near_far_and_edges_are_left_out(trained, view):
    workdir = trained()
    everything, _, _ = read_ply(run_on(workdir, save=["ply"]).written[0])
    cloud = CloudOptions(near=4, far=20, max_slope=5)
    (path,) = run_on(workdir, save=["ply"], cloud=cloud, overwrite=True).written
    points, _, _ = read_ply(path)
    distance = np.linalg.norm(points, axis=1)
    assert distance.min() > 4 - 1e-5
    assert distance.max() < 20 + 1e-5
    between = np.linalg.norm(everything, axis=1)
    assert 0 < len(points) < np.count_nonzero((between > 4) & (between < 20))


@pytest.mark.parametrize("flip", [False, True])
def test_exact_depth_comes_with_its_rays(trained, view, flip):
    seen, _, _ = view
    workdir = trained()
    picture, npz, png, mp4 = run_on(
        workdir, save=["picture", "npz", "png", "mp4"], flip=flip
    ).written
    assert mp4.stat().st_size > 1000
    with np.load(npz) as file:
        assert "intrinsics" not in file
        np.testing.assert_allclose(file["rays"], CAMERA.rays, atol=1e-6)
        np.testing.assert_array_equal(file["valid"], CAMERA.mask)
        assert str(file["depth_along"]) == "the ray of each pixel, not z"
        if not flip:
            is_seen = seen.depth > 0
            np.testing.assert_allclose(file["depth"][is_seen], seen.depth[is_seen], rtol=1e-5)
    for path in (picture, png):
        assert Image.open(path).text["depth_along"] == "the ray of each pixel, not z"


def test_without_a_template_depth_is_written_and_points_are_refused(trained, caplog, capsys):
    workdir = trained(with_template=False)
    (path,) = run_on(workdir, save=["npz"]).written
    with np.load(path) as file:
        assert "rays" not in file
        assert file["intrinsics"].size == 0
        assert str(file["depth_along"]) == "the ray of each pixel, not z"
    assert "The .npz files hold no rays: the template" in caplog.text
    assert "Depth is along the ray of each pixel" in capsys.readouterr().out
    with pytest.raises(
        ConfigError, match=r"is not to be found \(no file .*run/ray_template\.npz\); give"
    ):
        run_on(workdir, save=["ply"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"save": ["npz"], "calibration": Calibration.parse("30,30,31.5,15.5")},
            ConfigError,
            "--intrinsics: given, but .*00000007 is of a neural ray surface",
        ),
        ({"scaling": CameraHeight(1.65)}, ConfigError, "--scale=camera_height: given, but"),
        ({"rays": RayOptions(Path("absent.npy"))}, DataError, "absent.npy is no ray template"),
        (
            {"save": ["ply"], "image_shape": (64, 64)},
            DataError,
            "it is 32 high and 64 wide, the images are 64 high and 64 wide",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_inference(
    trained, monkeypatch, options, error, message
):
    workdir = trained()
    monkeypatch.setattr(
        run.DepthPredictor, "from_trained", lambda *_, **__: pytest.fail("too late")
    )
    with pytest.raises(error, match=message):
        run_on(workdir, **options)
    assert not (workdir.parent / "out").exists()


def test_weights_of_the_original_need_the_flag(trained, monkeypatch):
    """They say neither the objective nor the template; that network has only one use there."""
    workdir = trained(**{"objective": "self_supervised"})
    ours = run.load_depth_network(workdir)
    network = RaySurfaceResNet(18)
    assert not is_ray_surface(ours._replace(network=network))
    original = ours._replace(network=network, step=0, folder=workdir.parent / "omnicam.ckpt")
    assert is_ray_surface(original)
    assert not is_ray_surface(original._replace(network=KnowsOneScene()))
    assert trained_residual_weight(original) == 1
    monkeypatch.setattr(run, "load_depth_network", lambda _: original)
    message = (
        r"rays of .*omnicam\.ckpt start from is not to be found \(nothing says where\); give --"
    )
    with pytest.raises(ConfigError, match=message):
        run_on(workdir, save=["ply"])


@pytest.mark.parametrize(
    ("rays", "message"),
    [
        (RayOptions(Path("rays.npz")), "--ray_template: given rays.npz, but .* learned no rays"),
        (RayOptions(residual_weight=0.0), "--ray_residual_weight: given 0.0, but"),
    ],
)
def test_a_pinhole_network_takes_no_rays(trained, answer_with, rays, message):
    workdir = trained()
    answer_with(KnowsOneScene(), SHAPE, inv_depth=np.ones((*SHAPE, 1)))
    with pytest.raises(ConfigError, match=message):
        run_on(workdir, rays=rays)
