"""Finite values and gradients, whatever finite numbers come in; and NaN stays NaN, without harm.

Shapes are fixed, so that each function is compiled once; the numbers are drawn from those that
break formulas: zeros, the least and greatest that occur, equal ones.
"""

import fuzz
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from packnet_jax import augment, depth_maps, image
from packnet_jax.geometry import camera_models, ground, pinhole, ray_surface, transforms, warp
from packnet_jax.losses import photometric, reprojected, smoothness, ssim, supervised, velocity
from packnet_jax.losses import ray_surface as ray_loss
from packnet_jax.losses.safe import norm, root
from packnet_jax.metrics import depth as depth_metrics
from packnet_jax.metrics import odometry

H, W = 8, 12
SEEDS = st.integers(0, 2**32 - 1)

DEPTHS = (0.0, 1e-30, 1e-6, 1e-3, 0.5, 1.0, 80.0, 1e6, 1e9)
INV_DEPTHS = (0.0, 1e-38, 1e-30, 1e-6, 1e-3, 0.1, 2.0, 10.0)
LEVELS = (0.0, 1e-30, 0.5, 0.5, 1.0)
LENGTHS = (0.0, 0.0, 1e-30, 1e-6, -1.0, 1.0, 1e4)
ANGLES = (0.0, 1e-30, 1e-6, -3.2, np.pi, 100.0)
FOCALS = (5.0, 30.0, 1e3, 1e5)
CENTRES = (0.0, 5.5, -50.0, 500.0)


def draw(seed: int, shape: tuple[int, ...], palette: tuple[float, ...], name: str) -> np.ndarray:
    """All the same number, each its own, or each its own and some in between."""
    rng = np.random.default_rng([seed, *name.encode()])
    kind = rng.integers(3)
    if kind == 0:
        return np.full(shape, rng.choice(palette), np.float32)
    numbers = rng.choice(palette, shape)
    if kind == 2:
        between = rng.uniform(min(palette), min(max(palette), 100.0), shape)
        numbers = np.where(rng.random(shape) < 0.5, numbers, between)
    return numbers.astype(np.float32)


def intrinsics(seed: int, batch: tuple[int, ...] = (1,)) -> np.ndarray:
    K = np.zeros((*batch, 3, 3), np.float32)
    focal = draw(seed, (2,), FOCALS, "focal")
    centre = draw(seed, (2,), CENTRES, "centre")
    K[..., 0, 0], K[..., 1, 1], K[..., 0, 2], K[..., 1, 2], K[..., 2, 2] = *focal, *centre, 1
    return K


def motions(seed: int, contexts: int = 2) -> np.ndarray:
    vector = [draw(seed, (1, contexts, 3), p, n) for p, n in ((LENGTHS, "t"), (ANGLES, "r"))]
    return np.asarray(transforms.pose_vector_to_transform(jnp.asarray(np.concatenate(vector, -1))))


def inputs(seed: int) -> dict[str, np.ndarray]:
    """Everything that the losses take, of one sample."""

    def pictures(*shape: int, name: str) -> np.ndarray:
        return draw(seed, (1, *shape, H, W, 3), LEVELS, name)

    rgb, contexts = pictures(name="rgb"), pictures(2, name="contexts")
    if seed % 3 == 0:  # static frames
        contexts = np.repeat(rgb[:, None], 2, axis=1)
    rays = draw(seed, (H, W, 3), LENGTHS, "rays") + np.array([0, 0, 1], np.float32)
    return {
        "rgb": rgb,
        "contexts": contexts,
        "inv_depth": draw(seed, (1, H, W, 1), INV_DEPTHS, "inv_depth"),
        "measured": draw(seed, (1, H, W, 1), DEPTHS, "measured"),
        "K": intrinsics(seed),
        "motion": motions(seed),
        "mask": draw(seed, (1, H, W, 1), (0.0, 1.0), "mask").round(),
        "rays": np.asarray(ray_surface.normalize(jnp.asarray(rays)))[None],
    }


LOSSES = {
    "photometric": (
        ("inv_depth", "motion", "K"),
        lambda x: (
            photometric.multi_view_photometric_loss(
                x["rgb"],
                x["contexts"],
                [x["inv_depth"]],
                x["K"],
                x["motion"],
                settings=photometric.PhotometricSettings(num_scales=1, clip_loss=0.5),
                mask=x["mask"],
            ).total
        ),
    ),
    "photometric, mean, mirrored border": (
        ("inv_depth", "motion"),
        lambda x: (
            photometric.multi_view_photometric_loss(
                x["rgb"],
                x["contexts"],
                [x["inv_depth"]],
                x["K"],
                x["motion"],
                settings=photometric.PhotometricSettings(
                    num_scales=1,
                    photometric_reduce_op="mean",
                    automask_loss=False,
                    padding_mode="reflection",
                    ssim_loss_weight=0.0,
                ),
            ).total
        ),
    ),
    "ray surface": (
        ("inv_depth", "motion", "rays"),
        lambda x: (
            ray_loss.ray_surface_photometric_loss(
                x["rgb"],
                x["contexts"],
                [x["inv_depth"]],
                x["rays"],
                x["motion"],
                settings=photometric.PhotometricSettings(num_scales=1),
                temperature=1e-8,
                window=5,
            ).total
        ),
    ),
    "reprojected": (
        ("inv_depth", "motion"),
        lambda x: reprojected.reprojected_distance_loss(
            [x["inv_depth"]], x["measured"], x["K"], x["motion"], num_scales=1
        ),
    ),
    "velocity": (
        ("motion",),
        lambda x: velocity.velocity_loss(x["motion"], jnp.roll(x["motion"], 1, axis=1)),
    ),
    "smoothness": (
        ("inv_depth",),
        lambda x: smoothness.smoothness_loss(
            [x["inv_depth"]], [x["rgb"]], mask_pyramid=[x["mask"]]
        ),
    ),
    "ssim": (("rgb",), lambda x: jnp.sum(ssim.ssim_loss(x["rgb"], x["contexts"][:, 0]))),
    **{
        method: (
            ("inv_depth",),
            lambda x, method=method: supervised.supervised_loss(
                [x["inv_depth"]],
                depth_maps.depth_to_inv_depth(x["measured"]),
                supervised_method=method,
                supervised_num_scales=1,
            ),
        )
        for kind in supervised.COMPARISONS
        for method in (kind, f"sparse-{kind}")
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
@fuzz.SHORT_AND_TENFOLD
def test_losses_and_their_gradients_are_finite(name, effort):
    learnt, loss = LOSSES[name]

    @jax.jit
    def evaluate(values):
        def of_learnt(part):
            return loss(values | part)

        return jax.value_and_grad(of_learnt)({key: values[key] for key in learnt})

    def check(seed: int) -> None:
        value, gradients = evaluate(inputs(seed))
        assert np.isfinite(value), value
        for key, gradient in gradients.items():
            assert np.isfinite(gradient).all(), key

    fuzz.check(check, SEEDS, examples=60 * effort)


MAPS = {
    "warp": lambda x: warp.synthesize_view(
        x["contexts"][:, 0],
        depth_maps.inv_depth_to_depth(x["inv_depth"]),
        x["K"],
        x["K"],
        x["motion"][:, 0],
    ),
    "round trip of a camera": lambda x: pinhole.project(
        pinhole.back_project(x["measured"], x["K"]), x["K"]
    ),
    "ray projection": lambda x: ray_surface.project_softmax(
        x["measured"] * x["rays"], x["rays"], temperature=1e-8, window=5
    ),
    "depth": lambda x: depth_maps.inv_depth_to_depth(x["inv_depth"]),
    "inverse depth": lambda x: depth_maps.depth_to_inv_depth(x["measured"]),
    "fused": lambda x: depth_maps.fuse_flipped(x["inv_depth"], x["inv_depth"][..., ::-1, :]),
    "larger": lambda x: image.resize_bilinear(x["inv_depth"], (13, 7)),
    "resampled": lambda x: augment.resize_lanczos(x["rgb"], (5, 7)),
    "hue": lambda x: augment.adjust_hue(x["rgb"], 0.3),
    "contrast": lambda x: augment.adjust_contrast(x["rgb"], 1e6),
    "inverse motion": lambda x: transforms.compose_transforms(
        transforms.invert_transform(x["motion"]), x["motion"]
    ),
    "inverse intrinsics": lambda x: pinhole.invert_intrinsics(
        pinhole.scale_intrinsics(x["K"], 0.1, 7.0)
    ),
    "lengths": lambda x: norm(x["motion"][..., :3, 3]) + root(x["mask"][0, 0, 0, 0] - 0.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAPS)
@fuzz.SHORT_AND_TENFOLD
def test_maps_and_their_gradients_are_finite(name, effort):
    @jax.jit
    def evaluate(values):
        total = lambda v: jnp.sum(MAPS[name](v))  # noqa: E731
        return MAPS[name](values), jax.grad(total)(values)

    def check(seed: int) -> None:
        result, gradients = evaluate(inputs(seed))
        assert np.isfinite(result).all()
        for key, gradient in gradients.items():
            assert np.isfinite(gradient).all(), key

    fuzz.check(check, SEEDS, examples=40 * effort)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["rgb", "contexts", "inv_depth", "K", "motion"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_hidden(where, bad):
    """Whatever comes in, the loss says so; reading outside of pictures never crashes."""
    values = inputs(7)
    values["mask"] = np.ones_like(values["mask"])
    values[where] = np.full_like(values[where], bad)
    loss = jax.jit(jax.value_and_grad(lambda d, x: LOSSES["photometric"][1](x | {"inv_depth": d})))
    value, _ = loss(values["inv_depth"], values)
    assert np.isnan(value)


# --- metrics


SCORE = jax.jit(
    lambda depth, truth, scaling: depth_metrics.depth_metrics(
        depth, truth, min_depth=1e-3, max_depth=80.0, crop="", median_scaling=scaling
    ),
    static_argnums=2,
)


@fuzz.SHORT_AND_TENFOLD
def test_depth_metrics_are_finite(effort):
    def check(seed: int) -> None:
        predicted = draw(seed, (H, W), (*DEPTHS, np.inf), "predicted")
        truth = draw(seed, (H, W), (*DEPTHS, np.nan, np.inf, -1.0), "truth")
        for scaling in (False, True):
            found = SCORE(predicted, truth, scaling)
            assert np.isfinite(found.values).all()
            assert np.isfinite(found.scale)

    fuzz.check(check, SEEDS, examples=100 * effort)


@pytest.mark.slow
@fuzz.SHORT_AND_TENFOLD
def test_odometry_metrics_are_finite(effort):
    def check(seed: int, frames: int) -> None:
        paths = [motions(seed + i, frames)[0].astype(np.float64) for i in range(2)]
        estimated, truth = (odometry.chain_motions(path) for path in paths)
        for with_scale in (False, True):
            aligned = odometry.align(estimated, truth, with_scale=with_scale).apply(estimated)
            assert np.isfinite(odometry.position_errors(aligned, truth)).all()
        assert np.isfinite(odometry.snippet_errors(estimated, truth)).all()
        for errors in (
            odometry.motion_errors(estimated, truth),
            odometry.segment_errors(estimated, truth, lengths=(1, 10)),
        ):
            assert all(np.isfinite(values).all() for values in errors)

    fuzz.check(check, SEEDS, st.integers(1, 8), examples=60 * effort)


def test_motions_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        odometry.chain_motions(np.full((2, 4, 4), np.nan))


# --- cameras with parameters, and the ground


def cameras(seed: int) -> list[camera_models.CameraModel]:
    rng = np.random.default_rng(seed)
    hole = camera_models.Pinhole(*rng.choice([1e-2, 30.0, 1e5], 2), *rng.choice([-1e5, 5.5], 2))
    k = rng.choice([0.0, 1e-6, -0.3, 0.3, 10.0], 4)
    return [
        hole,
        camera_models.UnifiedSphere(hole, rng.choice([0.0, 0.5, 1.0, 2.0]), *k),
        camera_models.DoubleSphere(hole, *rng.choice([0.0, 0.5, 0.9], 2)),
        camera_models.KannalaBrandt(hole, *k),
        camera_models.OcamPolynomial((-5.0, 0.0, 0.01), (5.0, 3.0), 5.5, 5.5, 1.0, *k[:2] / 100),
    ]


@fuzz.SHORT_AND_TENFOLD
def test_camera_models_answer_with_unit_rays_and_finite_pixels(effort):
    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        pixels = rng.choice([-1e6, 0.0, 5.5, 11.0, 1e6], (6, 2))
        points = rng.choice([0.0, -1.0, 1e-9, 1.0, 1e6], (12, 3))
        for camera in cameras(seed):
            rays = camera.unproject(pixels).directions
            np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1, rtol=1e-9)
            assert np.isfinite(camera.project(points).uv).all(), camera

    with np.errstate(all="ignore"):
        fuzz.check(check, SEEDS, examples=100 * effort)


@fuzz.SHORT_AND_TENFOLD
def test_the_ground_is_found_or_not(effort):
    def check(seed: int) -> None:
        depth = draw(seed, (40, 30), (*DEPTHS, np.inf, np.nan), "depth")
        plane = ground.fit_ground_plane(depth, intrinsics(seed)[0])
        if plane is not None:
            assert np.isfinite([*plane.normal_cam, plane.height, plane.share]).all()

    with np.errstate(all="ignore"):
        fuzz.check(check, SEEDS, examples=15 * effort)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_template_without_a_spacing_is_refused(bad):
    with pytest.raises(ValueError, match="radians apart"):
        ray_surface.fitting_temperature(np.full((8, 8, 3), bad))
