"""Cameras by their rays, and rigs of them: what they see of one and the same street."""

import dataclasses

import cv2
import numpy as np
import pytest

from tfds_builders.synthetic_drive import raycast, scene
from tfds_builders.synthetic_drive.cameras import (
    Camera,
    Catadioptric,
    Fisheye,
    Pinhole,
    catadioptric_camera,
    default_camera,
    fisheye_camera,
    make_camera,
)
from tfds_builders.synthetic_drive.drive import rotation
from tfds_builders.synthetic_drive.render import Renderer, View, lidar_depth, lidar_mask
from tfds_builders.synthetic_drive.rig import LOOKING_DOWN, SIX_CAMERAS
from tfds_builders.synthetic_drive.street import make_street

ROUND = [fisheye_camera(48, 64), catadioptric_camera(48, 64), catadioptric_camera(33, 33)]
ALL = [*ROUND, default_camera(24, 72)]
FRAME = 2


@pytest.fixture(scope="module")
def street() -> scene.Street:
    return make_street(3, num_frames=4, all_round=True)


def points_cam(camera: Camera, depth: np.ndarray) -> np.ndarray:
    """[h, w, 3] from a depth map."""
    directions = np.stack(np.broadcast_arrays(*camera.directions(np.zeros((1, 2)))), axis=-1)
    return directions[0] * depth[..., None]


def to_world(world_T_camera: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ world_T_camera[:3, :3].T + world_T_camera[:3, 3]


def to_camera(world_T_camera: np.ndarray, points: np.ndarray) -> np.ndarray:
    return (points - world_T_camera[:3, 3]) @ world_T_camera[:3, :3]


# Models


@pytest.mark.parametrize("camera", ALL)
@pytest.mark.parametrize("distance", [0.3, 50.0])
def test_a_point_on_a_pixel_s_ray_is_projected_onto_that_pixel(camera, distance):
    depth = np.full((camera.height, camera.width), distance)
    pixels = camera.project(points_cam(camera, depth))
    v, u = np.mgrid[: camera.height, : camera.width]
    expected = np.where(camera.mask[..., None], np.stack([u, v], -1), np.nan)
    np.testing.assert_allclose(pixels, expected, atol=1e-9)
    assert camera.mask.mean() > 0.2


@pytest.mark.parametrize("camera", ROUND)
def test_rays_are_of_unit_length_everywhere(camera):
    np.testing.assert_allclose(np.linalg.norm(camera.rays, axis=-1), 1, atol=1e-12)
    assert np.isfinite(camera.rays).all()


def test_the_fisheye_is_opencv_s():
    camera = fisheye_camera(48, 64)
    points = np.random.default_rng(0).normal((0, 0, 2), 1, (50, 3))
    points = points[points[:, 2] > 0.1]
    matrix = np.array([[camera.focal, 0, 31.5], [0, camera.focal, 23.5], [0, 0, 1]])
    zero = np.zeros(3)
    expected, _ = cv2.fisheye.projectPoints(
        points[:, None], zero, zero, matrix, np.array(camera.coefficients)
    )
    np.testing.assert_allclose(camera.project(points), expected[:, 0], atol=1e-6)


def test_the_mirror_is_the_unified_model():
    camera = catadioptric_camera(48, 48)
    ray = np.array([0.6, -0.64, 0.48])  # of unit length
    expected = camera.focal * ray[:2] / (ray[2] + camera.offset) + 23.5
    np.testing.assert_allclose(camera.project(7 * ray), expected, atol=1e-12)
    parabolic = dataclasses.replace(camera, offset=1.0)
    angle = np.deg2rad(100)
    point = np.array([np.sin(angle), 0, np.cos(angle)])
    radius = parabolic.focal * np.tan(angle / 2)
    np.testing.assert_allclose(parabolic.project(point), (radius + 23.5, 23.5), atol=1e-12)


def test_the_fields_of_view_are_those_that_are_promised():
    fisheye, mirror = fisheye_camera(64, 64), catadioptric_camera(64, 96)
    middle = fisheye.rays[32]
    sideways = np.degrees(np.arctan2(middle[:, 0], middle[:, 2]))
    assert sideways[0] == pytest.approx(-88.6, abs=0.5) and sideways[-1] == -sideways[0]
    assert not fisheye.mask[0, 0] and fisheye.mask[32].all()
    angle = np.degrees(np.arccos(mirror.rays[..., 2]))
    np.testing.assert_array_equal(mirror.mask, (angle >= 35) & (angle <= 110))
    assert not mirror.mask[32, 48] and mirror.mask[0, 48] and not mirror.mask[32, 0]


def test_beyond_the_field_of_view_nothing_is_seen():
    behind = np.array([[0.0, 0.1, -1.0], [3.0, 0, -1e-3]])
    assert np.isnan(fisheye_camera(8, 8).project(behind)).all()
    assert np.isnan(default_camera(8, 8).project(behind)).all()
    assert np.isnan(catadioptric_camera(8, 8).project(np.array([0.0, 0, 1]))).all()


@pytest.mark.parametrize("camera", [fisheye_camera(64, 64), fisheye_camera(32, 96)])
def test_the_best_fitting_pinhole_is_centred_and_no_other_focal_length_fits_better(camera):
    K = camera.intrinsics
    np.testing.assert_allclose(K[:2, 2], camera.centre, atol=1e-6)
    used = camera.mask & (camera.rays[..., 2] > 0.5)
    u = np.broadcast_to(np.arange(camera.width), used.shape)[used]
    slope = camera.rays[used][:, 0] / camera.rays[used][:, 2]

    def error(focal: float) -> float:
        return float(np.square(focal * slope + K[0, 2] - u).sum())

    assert error(K[0, 0]) < min(error(0.99 * K[0, 0]), error(1.01 * K[0, 0]))
    # narrower than at the centre alone, since a pinhole spreads the border
    assert 0.5 * camera.focal < K[0, 0] < camera.focal


def test_models_are_chosen_by_name():
    made = [type(make_camera(m, 8, 8)) for m in ("pinhole", "fisheye", "catadioptric")]
    assert made == [Pinhole, Fisheye, Catadioptric]


# Pictures


@pytest.mark.parametrize("camera", ROUND)
def test_limiting_solids_to_their_pixels_changes_nothing(street, camera, monkeypatch):
    pose = street.world_T_camera[FRAME] @ LOOKING_DOWN
    fast = Renderer(street, camera).render(pose, FRAME)

    def everywhere(solids, camera, world_T_camera, frame):
        del world_T_camera, frame
        return raycast.PixelBounds(
            rows=np.tile([0, camera.height], (len(solids), 1)),
            columns=np.tile([0, camera.width], (len(solids), 1)),
            nearest=np.zeros(len(solids)),
        )

    monkeypatch.setattr(raycast, "pixel_bounds", everywhere)
    slow = Renderer(street, camera).render(pose, FRAME)
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("camera", ROUND)
def test_bounds_hold_every_pixel_that_meets_a_solid(camera):
    rng = np.random.default_rng(0)
    rays = raycast.camera_rays(camera.directions(np.zeros((1, 2))), np.eye(4))
    met = 0
    for _ in range(300):
        size = rng.uniform(0.1, 6, 3)
        solid = scene.Solid(
            base=tuple(rng.uniform(-4, 4, 3)),
            half_x=size[0],
            height=size[1],
            half_z=size[2],
            yaw=rng.uniform(0, 2 * np.pi),
            materials=(scene.Material.PAINT,) * 3,
            label=scene.CAR,
            colour=(1.0, 0.0, 0.0),
        )
        bounds = raycast.pixel_bounds((solid,), camera, np.eye(4), 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = raycast._box_depth(solid, 0, rays)[0][0]
        rows, columns = np.nonzero(np.isfinite(depth))
        if not len(rows):
            continue
        met += 1
        assert bounds.rows[0, 0] <= rows.min() and rows.max() < bounds.rows[0, 1]
        assert bounds.columns[0, 0] <= columns.min() and columns.max() < bounds.columns[0, 1]
        assert depth.min() >= bounds.nearest[0]
    assert met > 100


@pytest.mark.parametrize("camera", ROUND)
def test_outside_the_mask_is_black_and_without_depth_or_label(street, camera):
    view = Renderer(street, camera).render(street.world_T_camera[FRAME], FRAME)
    dark = ~camera.mask
    assert dark.any()
    assert not view.rgb[dark].any() and not view.depth[dark].any()
    np.testing.assert_array_equal(view.semantics == scene.VOID, dark)
    np.testing.assert_array_equal(view.depth[~dark] == 0, view.semantics[~dark] == scene.SKY)
    assert view.rgb[~dark].mean() > 40


def test_a_round_camera_sees_what_a_pinhole_sees_along_the_same_ray(street):
    pose = street.world_T_camera[FRAME]
    fisheye = fisheye_camera(64, 64)
    round_view = Renderer(street, fisheye, supersampling=1).render(pose, FRAME)
    rng = np.random.default_rng(0)
    ahead = np.argwhere(fisheye.mask & (fisheye.rays[..., 2] > 0.5))
    for v, u in rng.permutation(ahead)[:25]:
        ray = fisheye.rays[v, u]
        slopes = ray[:2] / ray[2]
        one_pixel = Pinhole(
            height=1, width=1, fx=50.0, fy=50.0, cx=-50 * slopes[0], cy=-50 * slopes[1]
        )
        straight = Renderer(street, one_pixel, supersampling=1).render(pose, FRAME)
        np.testing.assert_allclose(round_view.depth[v, u], straight.depth[0, 0] / ray[2], rtol=1e-6)
        assert round_view.semantics[v, u] == straight.semantics[0, 0]


@pytest.mark.parametrize("model", ["fisheye", "catadioptric"])
def test_true_depth_and_motion_explain_the_next_picture(street, model):
    camera = make_camera(model, 96, 96)
    mount = LOOKING_DOWN if model == "catadioptric" else np.eye(4)
    renderer = Renderer(street, camera)
    poses = street.world_T_camera[FRAME - 1 : FRAME + 1] @ mount
    other, target = (renderer.render(pose, FRAME) for pose in poses)
    moved = to_camera(poses[0], to_world(poses[1], points_cam(camera, target.depth)))
    at = camera.project(moved).astype(np.float32)
    is_visible = (target.depth > 0) & ~np.isnan(at[..., 0])
    at = np.nan_to_num(at, nan=-9)
    warped = cv2.remap(other.rgb.astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR)
    column, row = np.clip(np.round(at).astype(int), 0, 95).transpose(2, 0, 1)
    far = np.linalg.norm(moved, axis=-1)
    is_visible &= np.abs(other.depth[row, column] - far) < 0.1 * far
    assert is_visible.sum() > 0.4 * camera.mask.sum()
    error = np.abs(warped - target.rgb).mean(axis=-1)[is_visible].mean()
    unmoved = np.abs(other.rgb.astype(float) - target.rgb).mean(axis=-1)[is_visible].mean()
    assert error < 0.5 * unmoved


# Rigs


def _rig(street, camera) -> dict[str, tuple[np.ndarray, View]]:
    renderer = Renderer(street, camera, supersampling=1)
    poses = {name: street.world_T_camera[FRAME] @ mount for name, mount in SIX_CAMERAS.items()}
    return {name: (pose, renderer.render(pose, FRAME)) for name, pose in poses.items()}


def test_the_six_cameras_are_placed_as_their_names_say():
    ahead = {name: mount[:3, 2] for name, mount in SIX_CAMERAS.items()}
    right = {name: axis[0] for name, axis in ahead.items()}
    forward = {name: axis[2] for name, axis in ahead.items()}
    np.testing.assert_array_equal(SIX_CAMERAS["camera_01"], np.eye(4))
    assert (
        right["camera_05"] < 0 < right["camera_06"] and right["camera_07"] < 0 < right["camera_08"]
    )
    assert min(forward["camera_05"], forward["camera_06"]) > 0
    assert max(forward["camera_07"], forward["camera_08"]) < 0
    assert forward["camera_09"] == pytest.approx(-1)
    for mount in SIX_CAMERAS.values():
        np.testing.assert_allclose(mount[:3, :3] @ mount[:3, :3].T, np.eye(3), atol=1e-12)


def test_a_point_that_two_cameras_see_is_at_one_place_in_the_world(street):
    camera = default_camera(48, 96)
    views = _rig(street, camera)
    shared = 0
    for one, (pose, view) in views.items():
        world = to_world(pose, points_cam(camera, view.depth))
        for other, (other_pose, other_view) in views.items():
            seen = to_camera(other_pose, world)
            pixels = camera.project(seen)
            inside = ~np.isnan(pixels[..., 0]) & (view.depth > 0)
            inside &= (pixels >= -0.4).all(-1) & (pixels <= (95.4, 47.4)).all(-1)
            column, row = np.round(pixels[inside]).astype(int).T
            label = other_view.semantics[row, column]
            road = (label == scene.ROAD) & (view.semantics[inside] == scene.ROAD)
            if one == other or not road.any():
                continue
            other_world = to_world(other_pose, points_cam(camera, other_view.depth))[row, column]
            # both on the road, less than a pixel apart; near ones, where a pixel is small
            near = road & (seen[inside][:, 2] < 8)
            gap = np.linalg.norm(other_world[near] - world[inside][near], axis=-1)
            assert gap.max(initial=0) < 0.9
            np.testing.assert_allclose(other_world[near][:, 1], 0, atol=1e-5)
            shared += np.count_nonzero(near)
    assert shared > 200


def test_an_all_round_street_goes_on_behind(street):
    camera = default_camera(48, 96)
    _, rear = _rig(street, camera)["camera_09"]
    assert {scene.ROAD, scene.BUILDING} <= set(np.unique(rear.semantics))
    assert np.median(rear.depth[rear.depth > 0]) < 60


@pytest.mark.parametrize("side", [-1, 1])
def test_its_sky_has_no_seam_where_ahead_becomes_behind(street, side):
    camera = default_camera(32, 64, focal_ratio=1.0)
    pose = np.eye(4)
    pose[:3, :3] = rotation(pitch=0.6, yaw=side * np.pi / 2, roll=0.0)
    pose[1, 3] = -30.0  # above the houses

    def jump(street: scene.Street) -> float:
        """How the middle's step from column to column compares with the widest elsewhere."""
        rgb = Renderer(street, camera).render(pose, FRAME).rgb.astype(float)
        steps = np.abs(np.diff(rgb, axis=1)).mean(axis=(0, 2))
        return steps[31] / np.delete(steps, 31).max()

    assert jump(street) < 1.2
    assert jump(dataclasses.replace(street, all_round=False)) > 2


def test_existing_streets_are_not_all_round():
    plain, wide = (make_street(3, num_frames=2, all_round=flag) for flag in (False, True))
    assert not plain.all_round and wide.all_round
    start = min(solid.base[2] for solid in plain.solids)
    assert min(solid.base[2] for solid in wide.solids) < start - 40
    np.testing.assert_allclose(wide.world_T_camera[0, 2, :2], 0, atol=0.05)


# Scanner


def test_the_scanner_stays_level_whichever_way_a_camera_looks(street):
    camera = default_camera(48, 96)
    for name, (pose, view) in _rig(street, camera).items():
        mask = lidar_mask(camera, camera_R_scanner=SIX_CAMERAS[name][:3, :3].T)
        points = to_world(pose, points_cam(camera, lidar_depth(view.depth, mask)))[mask]
        points = points[view.depth[mask] > 0] - pose[:3, 3]
        elevation = np.degrees(np.arctan2(-points[:, 1], np.hypot(points[:, 0], points[:, 2])))
        assert elevation.min() > -26 and elevation.max() < 3.2
        assert len(points) > 300


def test_a_mirror_s_scanner_draws_rings():
    camera = catadioptric_camera(96, 96)
    mask = lidar_mask(camera, beams=64, kept=(40,), camera_R_scanner=LOOKING_DOWN[:3, :3].T)
    elevation = np.degrees(np.arccos(camera.rays[mask][:, 2])) - 90
    expected = np.linspace(2.0, -24.8, 64)[40]
    assert mask.sum() > 60
    np.testing.assert_allclose(elevation, expected, atol=2.0)


@pytest.mark.parametrize("camera", [default_camera(64, 192), fisheye_camera(64, 96)])
def test_kept_beams_are_some_of_all_beams(camera):
    whole, some = lidar_mask(camera), lidar_mask(camera, kept=(8, 24, 40))
    assert not (some & ~whole).any()
    assert 0.01 * whole.sum() < some.sum() < 0.2 * whole.sum()
