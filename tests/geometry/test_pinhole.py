import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import load, nchw, nhwc, one_plus

from packnet_jax.geometry.pinhole import (
    NEAREST_Z,
    back_project,
    crop_intrinsics,
    flip_intrinsics,
    invert_intrinsics,
    pixel_grid,
    project,
    resize_intrinsics,
    scale_intrinsics,
)
from packnet_jax.geometry.transforms import (
    invert_transform,
    pose_vector_to_transform,
    transform_points,
)

BATCH_SHAPES = [(), (3,), (2, 3)]
HEIGHT, WIDTH = 5, 7


def camera(batch_shape=(), skew=0.0):
    K = jnp.array([[9.0, skew, 3.2], [0.0, 8.0, 1.9], [0.0, 0.0, 1.0]])
    return jnp.broadcast_to(K, (*batch_shape, 3, 3))


def test_pixel_grid_is_column_then_row_from_zero():
    grid = pixel_grid(HEIGHT, WIDTH)
    np.testing.assert_array_equal(grid[0, 0], [0, 0])
    np.testing.assert_array_equal(grid[HEIGHT - 1, WIDTH - 1], [WIDTH - 1, HEIGHT - 1])
    np.testing.assert_array_equal(grid[2, 3], [3, 2])


@pytest.mark.parametrize("batch_shape", BATCH_SHAPES)
@pytest.mark.parametrize("skew", [0.0, 0.7])
def test_projection_undoes_back_projection(batch_shape, skew):
    with jax.enable_x64(True):
        K = camera(batch_shape, skew)
        depth = jnp.asarray(
            np.random.default_rng(0).uniform(1e-3, 80.0, (*batch_shape, HEIGHT, WIDTH, 1))
        )
        points = back_project(depth, K)
        np.testing.assert_allclose(points[..., 2:], depth, rtol=1e-15)
        grid = np.broadcast_to(pixel_grid(HEIGHT, WIDTH), (*batch_shape, HEIGHT, WIDTH, 2))
        np.testing.assert_allclose(project(points, K), grid, atol=1e-12)


@pytest.mark.parametrize("skew", [0.0, 0.7])
def test_inverse_of_intrinsics(skew):
    with jax.enable_x64(True):
        K = camera((2,), skew)
        np.testing.assert_allclose(
            K @ invert_intrinsics(K), np.broadcast_to(np.eye(3), K.shape), atol=1e-15
        )


def test_point_on_the_axis_projects_to_the_principal_point():
    points = jnp.array([0.0, 0.0, 4.0]).reshape(1, 1, 3)
    np.testing.assert_allclose(project(points, camera())[0, 0], [3.2, 1.9], rtol=1e-6)


def test_points_behind_the_camera_project_finitely_with_finite_gradients():
    points = jnp.array([[1.0, -2.0, -3.0], [1e6, 1e6, 0.0], [0.0, 0.0, 0.0]]).reshape(1, 3, 3)
    assert np.isfinite(project(points, camera())).all()
    gradient = jax.grad(lambda points: project(points, camera()).sum())(points)
    assert np.isfinite(gradient).all()


def test_scaling_keeps_the_outer_edges():
    """A point on the image's left edge, at u = -0.5, stays on it; so does the right edge."""
    K = scale_intrinsics(camera(), 0.5, 0.25)
    for edge_u, scaled_edge_u in ((-0.5, -0.5), (WIDTH - 0.5, WIDTH / 2 - 0.5)):
        x = (edge_u - 3.2) / 9.0
        np.testing.assert_allclose(K[0, 0] * x + K[0, 2], scaled_edge_u, atol=1e-6)
    np.testing.assert_allclose(scale_intrinsics(K, 2.0, 4.0), camera(), atol=1e-6)


def test_scaling_takes_the_skew_along():
    """A point seen at a pixel of the image is seen at that pixel's place in the scaled image."""
    K, points = camera(skew=0.7), jnp.array([0.4, -0.3, 2.0]).reshape(1, 1, 3)
    expected = (project(points, K) + 0.5) * np.array([0.5, 0.25]) - 0.5
    np.testing.assert_allclose(project(points, scale_intrinsics(K, 0.5, 0.25)), expected, atol=1e-6)


def test_resizing_multiplies_the_first_two_rows():
    K = resize_intrinsics(camera(), (375, 1242), (192, 640))
    expected = camera() * np.array([[640 / 1242], [192 / 375], [1.0]])
    np.testing.assert_allclose(K, expected, rtol=1e-6)


def test_flipping_twice_returns_and_uses_the_width():
    K = flip_intrinsics(camera((2,)), 100)
    np.testing.assert_allclose(K[:, 0, 2], 100 - 3.2, rtol=1e-6)
    np.testing.assert_allclose(flip_intrinsics(K, 100), camera((2,)), rtol=1e-5)


def test_cropping_shifts_pixels():
    point = jnp.array([0.1, 0.2, 1.0]).reshape(1, 1, 3)
    moved = project(point, crop_intrinsics(camera(), left=3, top=1))
    np.testing.assert_allclose(moved, project(point, camera()) - np.array([3, 1]), rtol=1e-5)


def normalized(pixels_uv):
    """The reference's coordinates: -1 and 1 at the outermost pixel centres."""
    height, width = pixels_uv.shape[-3:-1]
    return 2 * pixels_uv / np.array([width - 1, height - 1]) - 1


def homogeneous(pixels):
    """[h, w, 2] -> [1, 3, h, w] with ones, as the reference keeps its grids."""
    ones = jnp.ones_like(pixels[..., :1])
    return nchw(jnp.concatenate([pixels, ones], axis=-1)[None])


def camera_T_world(golden):
    return pose_vector_to_transform(golden["in.vec"])


def own_points(golden):
    return back_project(nhwc(golden["in.depth"]), golden["in.K"])


def points_in_camera(golden):
    return transform_points(camera_T_world(golden), nhwc(golden["in.points"]))


def points_in_world(golden):
    return transform_points(invert_transform(camera_T_world(golden)), own_points(golden))


GOLDEN = {
    "scale_intrinsics_0.5_0.25": lambda golden: scale_intrinsics(golden["in.K"], 0.5, 0.25),
    "scale_intrinsics_2_2": lambda golden: scale_intrinsics(golden["in.K"], 2.0, 2.0),
    "scaled_K": lambda golden: scale_intrinsics(golden["in.K"], 0.5, 0.5),
    "Kinv": lambda golden: invert_intrinsics(golden["in.K"]),
    "image_grid_3x4": lambda golden: homogeneous(pixel_grid(3, 4)),
    "image_grid_3x4_normalized": lambda golden: homogeneous(normalized(pixel_grid(3, 4))),
    "reconstruct_c": lambda golden: nchw(own_points(golden)),
    "reconstruct_w": lambda golden: nchw(points_in_world(golden)),
}

PROJECTIONS = {
    "project_c": lambda golden: nhwc(golden["in.points"]),
    "project_w": points_in_camera,
    "project_of_own_reconstruction": own_points,
}
"""Points in the camera's frame, by the name of their projection."""


@pytest.mark.parametrize("entry", GOLDEN)
def test_golden(entry, parity):
    golden = load("geometry")
    parity.compare(
        "funcs/geometry",
        entry,
        GOLDEN[entry](golden),
        golden[entry],
        tolerance=2e-6,
        scale=one_plus(golden[entry]),
    )


@pytest.mark.parametrize("entry", PROJECTIONS)
def test_golden_projection(entry, parity):
    """fx x + cx z may cancel: errors are relative to the sizes of these terms, over Z."""
    golden = load("geometry")
    K, points = golden["in.K"], PROJECTIONS[entry](golden)
    terms = np.einsum("bij,bhwj->bhwi", np.abs(K), np.abs(points))[..., :2]
    height, width = points.shape[1:3]
    in_pixels = terms / np.maximum(points[..., 2:], NEAREST_Z)
    parity.compare(
        "funcs/geometry",
        entry,
        normalized(project(points, K)),
        golden[entry],
        tolerance=2e-6,
        scale=1 + 2 * in_pixels / np.array([width - 1, height - 1]),
    )
