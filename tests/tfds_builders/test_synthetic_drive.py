"""The renderer against an independent ray caster and against the laws of its own geometry."""

import dataclasses

import cv2
import numpy as np
import pytest

from packnet_jax.baseline import median_depth_map
from tfds_builders.synthetic_drive import noise, raycast, scene
from tfds_builders.synthetic_drive.cameras import Camera, default_camera
from tfds_builders.synthetic_drive.drive import STEREO_BASELINE, right_eye, rotation
from tfds_builders.synthetic_drive.render import Renderer, View, lidar_depth, lidar_mask
from tfds_builders.synthetic_drive.scene import Solid, Street
from tfds_builders.synthetic_drive.street import make_street

CAMERA = default_camera(64, 192)
SMALL = default_camera(24, 72)


def _render(seed: int, frame: int = 0, camera: Camera = SMALL, **options) -> View:
    street = make_street(seed, num_frames=8, **options)
    return Renderer(street, camera).render(street.world_T_camera[frame], frame)


# Exactness


def _is_inside(points: np.ndarray, solid: Solid, frame: int) -> np.ndarray:
    """Whether world points lie in a solid, straight from its definition."""
    base = np.add(solid.base, (0, 0, solid.velocity_z * frame))
    cos, sin = np.cos(solid.yaw), np.sin(solid.yaw)
    x_axis, z_axis = np.array([cos, 0, -sin]), np.array([sin, 0, cos])
    x, z = (points - base) @ x_axis, (points - base) @ z_axis
    above = base[1] - points[:, 1]
    if solid.is_ellipsoid:
        middle = above - solid.height / 2
        squares = (x / solid.half_x, 2 * middle / solid.height, z / solid.half_z)
        return sum(s**2 for s in squares) <= 1
    fits_x = np.abs(x) <= solid.half_x - solid.lean_x * above
    fits_z = np.abs(z) <= solid.half_z - solid.lean_z * above
    return fits_x & fits_z & (above >= 0) & (above <= solid.height)


def _is_filled(points: np.ndarray, street: Street, frame: int) -> np.ndarray:
    strips = sorted(street.ground, key=lambda strip: strip.start[0] + strip.end[0])
    profile = np.array([edge for strip in strips for edge in (strip.start, strip.end)])
    filled = points[:, 1] >= np.interp(points[:, 0], profile[:, 0], profile[:, 1])
    for solid in street.solids:
        filled |= _is_inside(points, solid, frame)
    return filled


def _march(street: Street, centre: np.ndarray, direction: np.ndarray, frame: int) -> float:
    """Depth of the first filled point, by small steps and then bisection; inf beyond 40 m."""
    steps = np.arange(0.2, 40, 0.02)
    filled = _is_filled(centre + steps[:, None] * direction, street, frame)
    if not filled.any():
        return np.inf
    high = steps[filled.argmax()]
    low = high - 0.02
    for _ in range(25):
        middle = (low + high) / 2
        is_filled = _is_filled((centre + middle * direction)[None], street, frame)[0]
        low, high = (low, middle) if is_filled else (middle, high)
    return high


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 5])
def test_depth_agrees_with_marching_along_the_ray(seed):
    frame, rng = 3, np.random.default_rng(seed)
    street = make_street(seed, num_frames=4)
    pose = street.world_T_camera[frame]
    depth = Renderer(street, CAMERA, supersampling=1).render(pose, frame).depth
    for _ in range(40):
        u, v = rng.integers(CAMERA.width), rng.integers(CAMERA.height)
        direction = pose[:3, :3] @ np.linalg.inv(CAMERA.intrinsics) @ (u, v, 1)
        expected = _march(street, pose[:3, 3], direction, frame)
        if np.isfinite(expected):
            np.testing.assert_allclose(depth[v, u], expected, rtol=1e-5)
        else:
            assert depth[v, u] == 0 or depth[v, u] > 39.9


def test_limiting_solids_to_their_pixels_changes_nothing(monkeypatch):
    street = make_street(1, num_frames=2)
    pose = street.world_T_camera[1]
    fast = Renderer(street, SMALL).render(pose, 1)

    def everywhere(solids, camera, world_T_camera, frame):
        del world_T_camera, frame
        return raycast.PixelBounds(
            rows=np.tile([0, camera.height], (len(solids), 1)),
            columns=np.tile([0, camera.width], (len(solids), 1)),
            nearest=np.zeros(len(solids)),
        )

    monkeypatch.setattr(raycast, "pixel_bounds", everywhere)
    slow = Renderer(street, SMALL).render(pose, 1)
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(a, b)


def test_road_lies_in_the_plane_y_0():
    street = make_street(2, num_frames=1)
    pose = street.world_T_camera[0]
    view = Renderer(street, SMALL).render(pose, 0)
    v, u = np.nonzero(view.semantics == scene.ROAD)
    pixels = np.stack([u, v, np.ones_like(u)])
    points = np.linalg.inv(SMALL.intrinsics) @ pixels * view.depth[v, u]
    world = pose[:3, :3] @ points + pose[:3, 3:]
    np.testing.assert_allclose(world[1] / view.depth[v, u], 0, atol=1e-6)


def test_sky_has_no_depth_and_everything_else_has():
    for seed in range(4):
        view = _render(seed)
        np.testing.assert_array_equal(view.depth == 0, view.semantics == scene.SKY)


# Randomness


def test_same_seed_gives_the_same_bytes():
    for a, b in zip(_render(3, frame=5), _render(3, frame=5), strict=True):
        assert a.tobytes() == b.tobytes()


def test_other_seeds_give_other_streets():
    views = [_render(seed) for seed in (0, 1, 2, 10_000)]
    for i, a in enumerate(views):
        for b in views[i + 1 :]:
            assert np.abs(a.rgb.astype(float) - b.rgb).mean() > 20
            assert (a.semantics != b.semantics).mean() > 0.1


def test_without_moving_cars_the_rest_of_the_street_stays():
    full, still = (make_street(0, num_frames=4, moving_cars=flag) for flag in (True, False))
    assert full.solids[: len(still.solids)] == still.solids
    assert len(full.solids) > len(still.solids)
    assert all(solid.velocity_z == 0 for solid in still.solids)
    np.testing.assert_array_equal(full.world_T_camera, still.world_T_camera)


def test_every_label_occurs():
    seen = set(np.concatenate([np.unique(_render(seed).semantics) for seed in range(6)]))
    assert seen == set(range(len(scene.SEMANTIC_NAMES)))


def test_drives_are_smooth_and_free_of_collisions():
    for seed in range(25):
        street = make_street(seed, num_frames=12)
        poses = street.world_T_camera
        rotations = poses[:, :3, :3]
        np.testing.assert_allclose(
            rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (12, 1, 1)), atol=1e-12
        )
        assert np.all((poses[:, 1, 3] < -1.1) & (poses[:, 1, 3] > -2.0))
        steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
        assert steps.min() > 0.35 and steps.max() < 1.6
        renderer = Renderer(street, default_camera(12, 36), supersampling=1)
        for frame in (0, 11):
            depth = renderer.render(right_eye(poses[frame]), frame).depth
            assert depth[depth > 0].min() > 0.5


def test_rotation_is_the_product_of_turns_about_the_axes():
    def turn(**angle: float) -> np.ndarray:
        return rotation(**{"pitch": 0.0, "yaw": 0.0, "roll": 0.0} | angle)

    product = turn(yaw=0.3) @ turn(pitch=-0.2) @ turn(roll=0.1)
    np.testing.assert_allclose(rotation(pitch=-0.2, yaw=0.3, roll=0.1), product, atol=1e-15)
    assert turn(pitch=0.1)[1, 2] < 0 < turn(yaw=0.1)[0, 2]  # up is -y, right is +x


# Photometric consistency: what learning from these pictures rests on


def _warp_errors(target: View, other: View, other_T_target: np.ndarray, scale: float = 1.0):
    """Mean absolute error (grey levels) with and without warping, on static visible pixels."""
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    points = pixels @ np.linalg.inv(CAMERA.intrinsics).T * target.depth[..., None] * scale
    moved = points @ other_T_target[:3, :3].T + other_T_target[:3, 3]
    z = np.maximum(moved[..., 2], 1e-3)
    at = (moved @ CAMERA.intrinsics.T)[..., :2] / z[..., None]
    at_u, at_v = at[..., 0].astype(np.float32), at[..., 1].astype(np.float32)
    warped = cv2.remap(other.rgb.astype(np.float32), at_u, at_v, cv2.INTER_LINEAR)

    is_visible = (target.depth > 0) & (target.semantics != scene.CAR)
    is_visible &= (at_u >= 0) & (at_u <= CAMERA.width - 1) & (at_v >= 0)
    is_visible &= at_v <= CAMERA.height - 1
    for du in (0, 1):
        for dv in (0, 1):
            column = np.clip(np.floor(at_u).astype(int) + du, 0, CAMERA.width - 1)
            row = np.clip(np.floor(at_v).astype(int) + dv, 0, CAMERA.height - 1)
            is_visible &= np.abs(other.depth[row, column] - z) < 0.05 * z
    error = np.abs(warped - target.rgb).mean(axis=-1)
    unmoved = np.abs(other.rgb.astype(float) - target.rgb).mean(axis=-1)
    return error, unmoved, is_visible


def _pair(seed: int, *, is_stereo: bool) -> tuple[View, View, np.ndarray]:
    street = make_street(seed, num_frames=8)
    renderer = Renderer(street, CAMERA)
    pose, later = street.world_T_camera[3], street.world_T_camera[4]
    other = right_eye(pose) if is_stereo else later
    views = renderer.render(pose, 3), renderer.render(other, 3 if is_stereo else 4)
    return *views, np.linalg.inv(other) @ pose


@pytest.mark.parametrize(("is_stereo", "largest_ratio"), [(False, 0.25), (True, 0.12)])
def test_true_depth_and_motion_explain_the_next_picture(is_stereo, largest_ratio):
    sums = np.zeros(2)
    for seed in range(4):
        error, unmoved, is_visible = _warp_errors(*_pair(seed, is_stereo=is_stereo))
        assert is_visible.mean() > 0.25
        sums += error[is_visible].sum(), unmoved[is_visible].sum()
    assert sums[0] / sums[1] < largest_ratio


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_true_depth_explains_it_better_than_a_wrong_one(scale):
    for seed in range(3):
        pair = _pair(seed, is_stereo=False)
        error, _, is_visible = _warp_errors(*pair)
        wrong, _, _ = _warp_errors(*pair, scale=scale)
        assert error[is_visible].mean() < 0.6 * wrong[is_visible].mean()


def test_right_eye_is_to_the_right():
    pose = make_street(4, num_frames=1).world_T_camera[0]
    expected = np.eye(4)
    expected[0, 3] = STEREO_BASELINE
    np.testing.assert_allclose(np.linalg.inv(pose) @ right_eye(pose), expected, atol=1e-12)


def test_only_moving_cars_move():
    street = make_street(0, num_frames=8)
    movers = [solid for solid in street.solids if solid.velocity_z]
    assert movers
    renderer = Renderer(street, SMALL)
    pose = street.world_T_camera[0]
    before, after = renderer.render(pose, 0), renderer.render(pose, 6)
    has_moved = before.depth != after.depth
    assert has_moved.any()
    is_car = (before.semantics == scene.CAR) | (after.semantics == scene.CAR)
    assert np.all(is_car[has_moved])

    parked = Renderer(make_street(0, num_frames=8, moving_cars=False), SMALL)
    for a, b in zip(parked.render(pose, 0), parked.render(pose, 6), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_constant_depth_map_is_a_poor_guess_on_new_streets():
    camera = default_camera(32, 96)

    def depths(seeds):
        for seed in seeds:
            street = make_street(seed, num_frames=6)
            yield (
                Renderer(street, camera, supersampling=1).render(street.world_T_camera[3], 3).depth
            )

    guess = median_depth_map(np.stack(list(depths(range(30)))))
    scores = []
    for depth in depths(range(10_000, 10_020)):
        seen = (depth > 0) & (depth < 80)
        scaled = guess[seen] * np.median(depth[seen]) / np.median(guess[seen])
        scores.append(np.mean(np.abs(np.clip(scaled, 1e-3, 80) - depth[seen]) / depth[seen]))
    assert np.mean(scores) > 0.35


# Colour


def test_supersampling_smooths_colours_only():
    street = make_street(6, num_frames=1)
    pose = street.world_T_camera[0]
    rough, smooth = (Renderer(street, SMALL, supersampling=n).render(pose, 0) for n in (1, 3))
    np.testing.assert_array_equal(rough.depth, smooth.depth)
    np.testing.assert_array_equal(rough.semantics, smooth.semantics)

    def roughness(view: View) -> float:
        return np.abs(np.diff(view.rgb.astype(float), axis=1)).mean()

    assert roughness(smooth) < roughness(rough)
    with pytest.raises(ValueError, match="supersampling must be at least 1"):
        Renderer(street, SMALL, supersampling=0)


def _surface(extent: float, footprint: float) -> noise.Surface:
    u = np.linspace(0, extent, 500, dtype=np.float32)
    zero = np.zeros_like(u)
    columns = dict.fromkeys(noise.Surface._fields, zero)
    size = np.full_like(u, footprint)
    return noise.Surface(**columns | {"u": u, "footprint_u": size, "footprint_v": size})


def test_noise_fades_when_a_pixel_covers_it():
    lattice = noise.make_lattice(np.random.default_rng(0))
    octaves = ((0.1, 0.1, 1.0), (1.0, 1.0, 1.0))
    near, middle, far = (
        noise.fractal(lattice, _surface(20, footprint), octaves) for footprint in (0.01, 0.3, 10)
    )
    assert near.std() > middle.std() > 0.1
    np.testing.assert_array_equal(far, 0)


def test_stripes_keep_their_mean():
    x = np.linspace(0, 10, 5001, dtype=np.float32)[:-1]
    for footprint in (0.01, 0.3, 0.9, 5.0):
        covered = noise.stripes(x, 1.0, 0.0, 0.25, np.full_like(x, footprint))
        assert covered.mean() == pytest.approx(0.25, abs=0.05)
        assert covered.min() >= -1e-6 and covered.max() <= 1 + 1e-6


# Lidar


def test_lidar_equals_dense_depth_where_it_measures():
    view = _render(7, camera=CAMERA)
    mask = lidar_mask(CAMERA, beams=16)
    sparse = lidar_depth(view.depth, mask, max_range=60)
    measured = sparse > 0
    np.testing.assert_array_equal(measured, mask & (view.depth > 0) & (view.depth <= 60))
    np.testing.assert_array_equal(sparse[measured], view.depth[measured])
    assert 0.05 < measured.mean() < 0.35


def test_lidar_beams_follow_their_elevations():
    fine = dataclasses.replace(CAMERA, fx=80.0, fy=80.0)
    mask = lidar_mask(fine, beams=1, elevations=(-10.0, -10.0))
    rows, columns = np.nonzero(mask)
    radius = np.hypot(1, (columns - fine.cx) / fine.fx)
    elevation = np.rad2deg(np.arctan2(fine.cy - rows, fine.fy * radius))
    assert np.abs(elevation + 10).max() < 0.8
    assert len(np.unique(columns)) == fine.width


def test_lidar_noise_needs_a_generator():
    view = _render(7)
    mask = lidar_mask(SMALL)
    exact = lidar_depth(view.depth, mask)
    noisy = lidar_depth(view.depth, mask, noise=0.02, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(noisy > 0, exact > 0)
    assert 0 < np.abs(noisy - exact).max() < 0.2
    with pytest.raises(ValueError, match="no random generator"):
        lidar_depth(view.depth, mask, noise=0.02)
