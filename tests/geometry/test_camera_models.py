"""Camera models undo themselves, and agree with each other where they are the same camera."""

import cv2
import numpy as np
import pytest

from packnet_jax.geometry.camera_models import (
    CameraModel,
    DoubleSphere,
    KannalaBrandt,
    OcamPolynomial,
    Pinhole,
    UnifiedSphere,
)

LENS = Pinhole(fx=60.0, fy=58.0, cx=47.3, cy=31.8)
SKEWED = Pinhole(fx=60.0, fy=58.0, cx=47.3, cy=31.8, skew=-0.7)
FISHEYE = Pinhole(fx=35.0, fy=34.0, cx=47.3, cy=31.8)
MODELS = {
    "pinhole": SKEWED,
    "mei": UnifiedSphere(SKEWED, xi=0.8, k1=-0.1, k2=0.03, p1=1e-3, p2=-2e-3),
    "mei_mirror": UnifiedSphere(FISHEYE, xi=1.4, k1=0.1, k2=0.2, p1=3e-4, p2=-5e-4),
    "double_sphere": DoubleSphere(FISHEYE, xi=-0.2, alpha=0.6),
    "double_sphere_narrow": DoubleSphere(SKEWED, xi=0.3, alpha=0.4),
    "kannala_brandt": KannalaBrandt(FISHEYE, k1=0.03, k2=-0.01, k3=2e-3, k4=-3e-4),
}
HEIGHT, WIDTH = 64, 96


def pixels() -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1).astype(float)


@pytest.mark.parametrize("name", MODELS)
def test_projection_undoes_unprojection(name):
    model: CameraModel = MODELS[name]
    directions, valid = model.unproject(pixels())
    assert valid.mean() > 0.5
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1, rtol=1e-12)
    distances = np.random.default_rng(0).uniform(0.1, 80, (HEIGHT, WIDTH, 1))
    seen = model.project(directions * distances)
    inside = valid & (seen.valid | (directions[..., 2] > 0))
    assert seen.valid[valid & (directions[..., 2] > 0.05)].all()
    np.testing.assert_allclose(
        seen.uv[inside & seen.valid], pixels()[inside & seen.valid], atol=1e-7
    )


@pytest.mark.parametrize("name", MODELS)
def test_the_axis_meets_the_centre_and_right_is_right(name):
    """Of a distorted camera, too: tangential distortion is 0 at the centre."""
    model, lens = MODELS[name], getattr(MODELS[name], "pinhole", MODELS[name])
    np.testing.assert_allclose(model.project(np.array([0, 0, 3.0])).uv, [lens.cx, lens.cy])
    centre = np.array([lens.cx, lens.cy])
    np.testing.assert_allclose(model.unproject(centre).directions, [0, 0, 1], atol=1e-12)
    right, down = model.unproject(centre + np.array([[4.0, 0], [0, 4.0]])).directions
    assert right[0] > 0.02 and down[1] > 0.02


def test_special_cases_are_pinholes():
    points = np.random.default_rng(1).uniform([-2, -2, 0.5], [2, 2, 5], (50, 3))
    expected = LENS.project(points).uv
    for model in (UnifiedSphere(LENS, xi=0.0), DoubleSphere(LENS, xi=0.0, alpha=0.0)):
        np.testing.assert_allclose(model.project(points).uv, expected, atol=1e-10)
        np.testing.assert_allclose(
            model.unproject(pixels()).directions, LENS.unproject(pixels()).directions, atol=1e-12
        )


def test_a_double_sphere_without_shift_is_a_unified_sphere():
    """With xi = 0 its alpha / (1 - alpha) is the other's xi, and its focal length shrinks by it."""
    alpha = 0.55
    factor = 1 - alpha
    lens = Pinhole(FISHEYE.fx / factor, FISHEYE.fy / factor, FISHEYE.cx, FISHEYE.cy)
    points = np.random.default_rng(2).uniform([-2, -2, 0.5], [2, 2, 5], (50, 3))
    np.testing.assert_allclose(
        DoubleSphere(FISHEYE, xi=0.0, alpha=alpha).project(points).uv,
        UnifiedSphere(lens, xi=alpha / (1 - alpha)).project(points).uv,
        atol=1e-9,
    )


def test_kannala_brandt_is_opencv_s_fisheye():
    model = MODELS["kannala_brandt"]
    points = np.random.default_rng(3).uniform([-3, -3, 0.5], [3, 3, 5], (50, 3))
    lens = model.pinhole
    K = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    D = np.array([model.k1, model.k2, model.k3, model.k4])
    zero = np.zeros(3)
    expected, _ = cv2.fisheye.projectPoints(points[:, None], zero, zero, K, D)
    np.testing.assert_allclose(model.project(points).uv, expected[:, 0], atol=1e-9)


def test_an_equidistant_fisheye_sees_behind_itself():
    model = KannalaBrandt(Pinhole(20, 20, 50, 50))
    directions, valid = model.unproject(np.array([50 + 20 * np.radians(120), 50.0]))
    np.testing.assert_allclose(directions, [np.sin(np.radians(120)), 0, -0.5], atol=1e-9)
    assert valid and model.widest == np.pi


def test_kannala_brandt_ends_where_the_radius_stops_growing():
    model = KannalaBrandt(FISHEYE, k1=-0.2)  # 1 - 0.6 t^2 = 0
    assert np.isclose(model.widest, np.sqrt(1 / 0.6))
    beyond = np.array([FISHEYE.cx + 2 * FISHEYE.fx, FISHEYE.cy])
    directions, valid = model.unproject(beyond)
    assert not valid
    np.testing.assert_allclose(
        directions, [np.sin(model.widest), 0, np.cos(model.widest)], atol=1e-9
    )
    wide = np.array([np.sin(1.5), 0, np.cos(1.5)])
    assert not model.project(wide).valid


@pytest.mark.parametrize("tiny", [1e-320, -1e-320, 1e-30, 1e-17])
@pytest.mark.parametrize("name", ["k1", "k2", "k3", "k4"])
def test_tiny_coefficients_of_kannala_brandt_change_nothing(name, tiny):
    pixels = np.random.default_rng(5).uniform(-500, 500, (20, 2))
    for others in ({}, {"k1": -0.2}):
        model = KannalaBrandt(FISHEYE, **(others | {name: tiny + others.get(name, 0.0)}))
        directions, valid = model.unproject(pixels)
        expected = KannalaBrandt(FISHEYE, **others).unproject(pixels)
        np.testing.assert_allclose(directions, expected.directions, atol=1e-9)
        np.testing.assert_array_equal(valid, expected.valid)


def test_beyond_a_mirror_s_outline_rays_are_its_border_s():
    """The outline: 1 + (1 - xi^2) r^2 = 0, where z = -1 / xi."""
    model = UnifiedSphere(FISHEYE, xi=1.4)
    outline = 1 / np.sqrt(1.4**2 - 1)
    u = FISHEYE.cx + FISHEYE.fx * outline * np.array([0.99, 1.2, 3.0])
    directions, valid = model.unproject(np.stack([u, np.full(3, FISHEYE.cy)], axis=-1))
    assert valid.tolist() == [True, False, False]
    assert np.isfinite(directions).all() and (directions[:, 0] > 0).all()


@pytest.mark.parametrize("name", ["pinhole", "mei", "double_sphere"])
def test_points_behind_are_invalid_and_finite(name):
    pixel, valid = MODELS[name].project(np.array([[0.1, 0.1, -5.0], [0.0, 0.0, 0.0]]))
    assert not valid[0] and np.isfinite(pixel).all()


def ocam(inverse=(), **affine) -> OcamPolynomial:
    return OcamPolynomial((-80.0, 0.0, 2e-3, -1e-6, 2e-8), inverse, 31.8, 47.3, **affine)


def test_ocam_axes():
    """Its z points backward, x down, y right; its pixels are (row, column)."""
    model = ocam()
    np.testing.assert_allclose(model.unproject(np.array([47.3, 31.8])).directions, [0, 0, 1])
    right = model.unproject(np.array([57.3, 31.8])).directions
    np.testing.assert_allclose(right[:2] / right[2], [10 / (80 - 0.2 + 1e-3 - 2e-4), 0], rtol=1e-9)
    down = model.unproject(np.array([47.3, 36.8])).directions
    assert down[1] > 0.05 and np.isclose(down[0], 0)


def test_ocam_projection_undoes_unprojection():
    """With an inverse polynomial fitted to the direct one, and an affine part."""
    model = ocam(c=1.01, d=0.002, e=-0.003)
    distance = np.linspace(0.01, 80, 400)
    elevation = np.arctan2(np.polynomial.polynomial.polyval(distance, model.polynomial), distance)
    fit = np.polynomial.Polynomial.fit(elevation, distance, 12).convert().coef
    model = ocam(tuple(fit), c=1.01, d=0.002, e=-0.003)
    directions, valid = model.unproject(pixels())
    assert valid.all()
    np.testing.assert_allclose(model.project(7 * directions).uv, pixels(), atol=0.01)
