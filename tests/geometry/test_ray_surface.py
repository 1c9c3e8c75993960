"""The ray-surface camera against the original's, and its laws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load, nchw, nhwc

from packnet_jax.geometry import ray_surface
from packnet_jax.geometry.pinhole import back_project, pixel_grid, project
from packnet_jax.geometry.ray_surface import (
    compose_rays,
    dummy_template,
    fitting_temperature,
    flip_rays,
    normalize,
    project_softmax,
    residual_weight,
    softmax_temperature,
    unproject,
)
from packnet_jax.geometry.transforms import pose_vector_to_transform, transform_points

PROGRESS = (0.0, 0.5)
GOLDEN_POINTS = [f"progress{p}.reconstruct_w" for p in PROGRESS]
GOLDEN_PROJECTIONS = [
    f"progress{p}.project_{how}" for p in PROGRESS for how in ("w", "w_nodownsample", "identity")
]
GOLDEN_GRADIENTS = [
    f"progress{p}.project_grad_{of}" for p in PROGRESS for of in ("depth", "vec", "rays")
]


def golden_camera(golden):
    """Rays, depth, and the first context's motion; progress only sets the temperature there."""
    depth = 1 / nhwc(golden["in.inv_depth0"])
    return nhwc(golden["in.ray_template"]), depth, golden["in.pose_vec"][:, 0]


@functools.cache
def golden_projection(half_resolution):
    """As the original has it: coordinates in [-1, 1]."""

    @jax.jit
    def measure(depth, vector, rays, temperature):
        points = transform_points(pose_vector_to_transform(vector), unproject(depth, rays))
        pixels_uv = project_softmax(
            points, rays, temperature=temperature, half_resolution=half_resolution
        )
        height, width = depth.shape[1:3]
        return 2 * pixels_uv / jnp.array([width - 1, height - 1]) - 1

    return measure


@pytest.mark.parametrize("progress", PROGRESS)
def test_golden_projection(progress, parity):
    golden = load("generic_camera")
    rays, depth, vector = golden_camera(golden)
    temperature = softmax_temperature(progress)

    def compare(entry, actual, tolerance=1e-4, **how):
        entry = f"progress{progress}.{entry}"
        parity.compare(
            "funcs/generic_camera", entry, actual, golden[entry], tolerance=tolerance, **how
        )

    compare("reconstruct_w", nchw(unproject(depth, rays)), 2e-6)
    compare("project_w", golden_projection(True)(depth, vector, rays, temperature))
    compare("project_w_nodownsample", golden_projection(False)(depth, vector, rays, temperature))
    still = jnp.zeros_like(vector)
    compare("project_identity", golden_projection(True)(depth, still, rays, temperature))


def pinhole(height, width, focal=0.5):
    """A camera that looks 90 degrees wide at focal 0.5, and its rays."""
    f = focal * width
    K = jnp.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]])
    return K, normalize(back_project(jnp.ones((height, width, 1)), K))


def random_distances(shape, seed=0):
    values = np.random.default_rng(seed).uniform(2.0, 10.0, (*shape, 1))
    return jnp.asarray(values, jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize("half_resolution", [False, True])
@pytest.mark.parametrize("shape", [(20, 24), (48, 60), (33, 51)])
def test_a_point_that_has_not_moved_projects_to_its_pixel(shape, half_resolution):
    """Small images, where windows are cut, and odd sizes included."""
    _, rays = pinhole(*shape)
    points = unproject(random_distances(shape), rays)
    pixels_uv = project_softmax(points, rays, temperature=1e-6, half_resolution=half_resolution)
    tolerance = 0.35 if half_resolution else 1e-3
    np.testing.assert_allclose(pixels_uv, pixel_grid(*shape), atol=tolerance)
    if half_resolution:
        inner = np.s_[3:-3, 3:-3]
        difference = np.abs(np.asarray(pixels_uv - pixel_grid(*shape))[inner])
        assert difference.mean() < 0.1


def test_of_a_pinhole_s_rays_it_is_the_pinhole_s_projection():
    """To within a pixel's fraction where the softmax covers a few pixels."""
    shape = (40, 48)
    K, rays = pinhole(*shape)
    motion = pose_vector_to_transform(jnp.array([0.2, -0.1, 0.1, 0.01, -0.02, 0.03]))
    points = transform_points(motion, unproject(random_distances(shape, 1), rays))
    expected = np.asarray(project(points, K))
    pixels_uv = project_softmax(points, rays, temperature=4e-4, half_resolution=False)
    inside = ((expected > 2) & (expected < np.array([45, 37]))).all(-1)
    assert inside.mean() > 0.6
    difference = np.abs(np.asarray(pixels_uv) - expected)[inside]
    assert np.median(difference) < 0.04 and difference.max() < 0.1
    nearest = project_softmax(points, rays, temperature=1e-7, half_resolution=False)
    assert np.abs(np.asarray(nearest) - expected)[inside].max() < 0.7  # which ray, not between


@functools.cache
def naive():
    """The whole window at once, for every pixel, from indices."""

    @functools.partial(jax.jit, static_argnames="window")
    def project_naively(points, rays, temperature, window):
        height, width = points.shape[1:3]

        def indices(size):
            reach = min(window, size)
            first = np.clip(np.arange(size) - window // 2, 0, size - reach)
            return first[:, None] + np.arange(reach)

        rows, columns = indices(height), indices(width)
        near = rays[:, rows[:, None, :, None], columns[None, :, None, :]]
        logits = jnp.sum(normalize(points)[:, :, :, None, None] * near, -1) / temperature
        weights = jax.nn.softmax(logits, axis=(-2, -1))
        u = jnp.sum(weights * columns[None, :, None, :], (-2, -1))
        v = jnp.sum(weights * rows[:, None, :, None], (-2, -1))
        return jnp.stack([u, v], -1)

    return project_naively


def random_scene(batch, shape, seed=0):
    """Points off their pixels, and rays that differ from sample to sample."""
    random = np.random.default_rng(seed)
    _, rays = pinhole(*shape)
    residual = random.normal(scale=0.02, size=(batch, 1, 1, 3))
    rays = compose_rays(rays, jnp.asarray(residual, jnp.float32), 1.0)
    moved = unproject(random_distances((batch, *shape), seed), rays)
    return moved + jnp.asarray(random.normal(scale=0.1, size=(batch, 1, 1, 3)), jnp.float32), rays


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "window"), [((20, 37), 9), ((35, 18), 41), ((50, 52), 9), ((50, 52), 41)]
)
def test_tiles_equal_the_whole_at_once_with_their_gradients(shape, window):
    points, rays = random_scene(2, shape)
    weights = jnp.asarray(np.random.default_rng(5).random((2, *shape, 2)), jnp.float32)

    def tiled(points, rays):
        pixels_uv = project_softmax(
            points, rays, temperature=1e-3, half_resolution=False, window=window
        )
        return jnp.sum(weights * pixels_uv), pixels_uv

    def whole(points, rays):
        pixels_uv = naive()(points, rays, 1e-3, window)
        return jnp.sum(weights * pixels_uv), pixels_uv

    (_, ours), gradients = jax.jit(jax.value_and_grad(tiled, (0, 1), has_aux=True))(points, rays)
    (_, expected), slow = jax.value_and_grad(whole, (0, 1), has_aux=True)(points, rays)
    np.testing.assert_allclose(ours, expected, atol=2e-3)
    for own, other in zip(gradients, slow, strict=True):
        np.testing.assert_allclose(own, other, atol=2e-3 * np.abs(other).max())


def test_a_batch_is_its_samples_and_contexts_share_their_rays():
    points, rays = random_scene(3, (18, 20))
    run = jax.jit(functools.partial(project_softmax, temperature=1e-3))
    batch = run(points, rays)
    for i in range(3):
        np.testing.assert_allclose(batch[i], run(points[i : i + 1], rays[i : i + 1])[0], atol=1e-4)
    contexts = jnp.stack([points, points + 0.05], axis=1)
    shared = run(contexts, rays[:, None])
    np.testing.assert_allclose(shared[:, 0], batch, atol=1e-4)
    assert np.abs(np.asarray(shared[:, 1] - batch)).max() > 0.1


def test_at_a_low_temperature_float32_keeps_up_with_float64():
    """Products of float32 rays, subtracted afterwards, would be off by whole pixels."""
    shape, temperature = (24, 24), 1e-5
    _, rays = pinhole(*shape, focal=4.0)  # neighbours differ by 1 / 96 radian
    points = unproject(random_distances(shape), rays) + jnp.array([0.03, -0.02, 0.0])
    single = project_softmax(points, rays, temperature=temperature, half_resolution=False)
    with jax.enable_x64(True):
        double = project_softmax(
            jnp.asarray(np.asarray(points, np.float64)),
            jnp.asarray(np.asarray(rays, np.float64)),
            temperature=temperature,
            half_resolution=False,
        )
    np.testing.assert_allclose(single, double, atol=5e-3)


@pytest.mark.slow
def test_gradients_are_finite_for_points_nowhere_and_far_away():
    _, rays = pinhole(12, 14)
    for distance in (0.0, 1e-6, 1e6):

        def total(distances):
            return project_softmax(unproject(distances, rays), rays, temperature=1e-4).sum()

        value, gradient = jax.value_and_grad(total)(jnp.full((12, 14, 1), distance))
        assert np.isfinite(value) and np.isfinite(gradient).all()


def test_a_point_beyond_its_window_projects_to_the_window():
    _, rays = pinhole(60, 60)
    aside = jnp.broadcast_to(rays[30, 59], rays.shape)
    pixels_uv = project_softmax(aside, rays, temperature=1e-5, half_resolution=False, window=9)
    np.testing.assert_allclose(pixels_uv[30, 20], [24, 30], atol=0.1)


def test_tiles_do_not_depend_on_their_size(monkeypatch):
    points, rays = random_scene(1, (21, 26))
    expected = project_softmax(points, rays, temperature=1e-3, half_resolution=False)
    monkeypatch.setattr(ray_surface, "TILE", 5)
    actual = project_softmax(points, rays, temperature=1e-3, half_resolution=False)
    np.testing.assert_allclose(actual, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"window": 40}, "window is 40"), ({"window": -1}, "window is -1"), ({}, "too small")],
)
def test_wrong_options(options, message):
    _, rays = pinhole(3, 3)
    with pytest.raises(ValueError, match=message):
        project_softmax(rays, rays, temperature=1e-4, **options)


# Schedules and templates


def test_the_released_residual_is_there_at_a_third_of_the_training():
    np.testing.assert_allclose(residual_weight(0.02), (100 * 0.02) ** (4 / 3) / 100, rtol=1e-6)
    assert residual_weight(0.0) == 0 and residual_weight(0.31) < 1
    assert residual_weight(0.317) == residual_weight(1.0) == 1


def test_the_paper_s_residual_grows_evenly_over_10_of_50_epochs():
    np.testing.assert_allclose(residual_weight(5 / 50, "paper"), 0.5, rtol=1e-6)
    assert residual_weight(0.0, "paper") == 0
    assert residual_weight(10 / 50, "paper") == residual_weight(1.0, "paper") == 1


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="'linear'"):
        residual_weight(0.5, "linear")


@pytest.mark.parametrize("progress", [0.0, 0.02, 0.5, 1.0])
def test_the_released_temperature(progress):
    expected = max(1e-8, 1e-4 / np.exp(0.1 * progress))
    np.testing.assert_allclose(softmax_temperature(progress), expected, rtol=1e-6)


def test_a_temperature_between_its_ends():
    temperature = functools.partial(softmax_temperature, start=1e-3, end=1e-5)
    found = [temperature(progress) for progress in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(found, [1e-3, 1e-4, 1e-5], rtol=1e-5)
    np.testing.assert_allclose(softmax_temperature(1.0, end=1e-12), 1e-8, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("half_resolution", [False, True])
def test_at_the_fitting_temperature_projections_move_as_a_pinhole_s(half_resolution):
    """At the released one, in an image this small, their gradients hardly agree."""
    shape = (48, 52)
    K, rays = pinhole(*shape)
    distances = 4 + jnp.sin(jnp.arange(48)[:, None, None] / 6 + jnp.arange(52)[:, None] / 9)
    start = jnp.array([0.13, -0.05, 0.1, 0.004, -0.003, 0.002])
    direction = jnp.array([1.0, 0.3, 0.5, 0.1, 0.2, 0.1])

    def points(vector):
        return transform_points(pose_vector_to_transform(vector), unproject(distances, rays))

    @jax.jit
    def found_and_moved(temperature):
        def projected(vector):
            return project_softmax(
                points(vector), rays, temperature=temperature, half_resolution=half_resolution
            )

        return jax.jvp(projected, (start,), (direction,))

    expected = jax.jvp(lambda vector: project(points(vector), K), (start,), (direction,))
    inside = ((expected[0] > 6) & (expected[0] < jnp.array([45, 41]))).all(-1)

    def errors(temperature):
        found = found_and_moved(temperature)
        off, (ours, theirs) = found[0] - expected[0], (a[1][inside] for a in (found, expected))
        agreement = jnp.sum(ours * theirs) / jnp.linalg.norm(ours) / jnp.linalg.norm(theirs)
        return np.median(np.abs(off[inside])), float(agreement)

    fitting = fitting_temperature(rays, half_resolution=half_resolution)
    off, agreement = errors(fitting)
    assert off < 0.12 and agreement > 0.99
    off_released, agreement_released = errors(1e-4)
    assert off_released > 1.5 * off and agreement_released < 0.9


def test_the_fitting_temperature_is_of_the_rays_that_are_searched():
    _, rays = pinhole(200, 200, focal=10.0)  # neighbours are 1 / 2000 radian apart
    found = fitting_temperature(rays, half_resolution=False)
    np.testing.assert_allclose(found, 0.0005**2 / 3, rtol=0.01)
    np.testing.assert_allclose(fitting_temperature(rays), 0.001**2 / 3, rtol=0.01)
    with pytest.raises(ValueError, match="only 0 radians apart"):
        fitting_temperature(jnp.broadcast_to(rays[0, 0], rays.shape))


def test_the_dummy_template_is_a_pinhole_of_90_degrees():
    template = dummy_template(6, 8)
    np.testing.assert_allclose(np.linalg.norm(template, axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(template[3, 4], [0, 0, 1], atol=1e-7)
    np.testing.assert_allclose(template[3, 0] / template[3, 0, 2], [-1, 0, 1], atol=1e-6)
    np.testing.assert_allclose(template[0, 4] / template[0, 4, 2], [0, -1, 1], atol=1e-6)


def test_composed_rays_are_unit_and_start_at_the_template():
    _, template = pinhole(5, 6)
    residual = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 5, 6, 3)), jnp.float32)
    np.testing.assert_allclose(compose_rays(template, residual, 0.0)[1], template, atol=1e-6)
    rays = compose_rays(template, residual, 0.7)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1, rtol=1e-6)
    along = np.cross(rays, template + 0.7 * residual)
    np.testing.assert_allclose(along, 0, atol=1e-6)


def test_rays_of_the_mirrored_image():
    """A symmetric camera's are its own; twice is once."""
    _, rays = pinhole(5, 6)
    np.testing.assert_allclose(flip_rays(rays), rays, atol=1e-6)
    uneven = rays + jnp.linspace(0, 1, 6)[:, None]
    np.testing.assert_array_equal(flip_rays(flip_rays(uneven)), uneven)
    np.testing.assert_allclose(flip_rays(uneven)[0, 0, 0], -uneven[0, 5, 0])
