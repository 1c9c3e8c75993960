"""The photometric loss of ray surfaces against the original's, and its laws."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden.arrays import load, nchw, nhwc

from packnet_jax.geometry.camera_models import KannalaBrandt, Pinhole
from packnet_jax.geometry.pinhole import back_project
from packnet_jax.geometry.ray_surface import (
    compose_rays,
    fitting_temperature,
    normalize,
    residual_weight,
    softmax_temperature,
)
from packnet_jax.geometry.transforms import pose_vector_to_transform
from packnet_jax.losses.photometric import PhotometricSettings, multi_view_photometric_loss
from packnet_jax.losses.ray_surface import ray_surface_photometric_loss

CONFIGURATIONS = {
    "default": PhotometricSettings(num_scales=2),
    "class_defaults": PhotometricSettings(
        num_scales=1,
        smooth_loss_weight=0.1,
        photometric_reduce_op="mean",
        clip_loss=0.5,
        automask_loss=False,
    ),
}
CASES = [(name, 0.0) for name in CONFIGURATIONS]
CASES += [("default", 0.02), ("default", 0.5), ("class_defaults", 0.5)]
GOLDEN_LOSSES = [f"loss.{configuration}.progress{progress}." for configuration, progress in CASES]


@functools.cache
def golden_step(configuration):
    def objective(inv_depths, residual, pose_vectors, rgb, rgb_context, template, progress):
        result = ray_surface_photometric_loss(
            rgb,
            rgb_context,
            inv_depths,
            compose_rays(template, residual, residual_weight(progress)),
            pose_vector_to_transform(pose_vectors),
            temperature=softmax_temperature(progress),
            settings=CONFIGURATIONS[configuration],
        )
        return result.total, result

    return jax.jit(jax.value_and_grad(objective, (0, 1, 2), has_aux=True))


@pytest.mark.slow
@pytest.mark.parametrize(("configuration", "progress"), CASES)
def test_golden(configuration, progress, parity):
    """The reference's metric `photometric_loss` is the total, smoothness included."""
    golden = load("generic_camera")
    num_scales = CONFIGURATIONS[configuration].num_scales
    inv_depths = tuple(nhwc(golden[f"in.inv_depth{i}"]) for i in range(num_scales))
    contexts = jnp.stack([nhwc(golden[f"in.context{n}"]) for n in range(2)], axis=1)
    (total, result), (of_depths, of_residual, of_poses) = golden_step(configuration)(
        inv_depths,
        nhwc(golden["in.ray_residual"]),
        golden["in.pose_vec"],
        nhwc(golden["in.image"]),
        contexts,
        nhwc(golden["in.ray_template"]),
        progress,
    )
    actual = {
        "loss": total[None],
        "metric.photometric_loss": total,
        "metric.smoothness_loss": result.smoothness,
        "grad_pose_vec": of_poses,
        "grad_ray_residual": nchw(of_residual),
        **{f"grad_inv_depth{i}": nchw(gradient) for i, gradient in enumerate(of_depths)},
    }
    prefix = f"loss.{configuration}.progress{progress}."
    for key, expected in golden.items():
        if key.startswith(prefix):
            entry = key.removeprefix(prefix)
            how = how_to_compare(entry, expected)
            parity.compare("funcs/generic_camera", key, actual[entry], expected, **how)


def how_to_compare(entry, expected):
    """The gradients are ill-conditioned."""
    if "grad" not in entry:
        return {"tolerance": 1e-5}
    largest = np.abs(expected).max() or 1.0  # all 0 where the residual does not count yet
    return {"tolerance": 1e-3, "scale": largest, "outliers": 0.01, "outlier_tolerance": 0.12}


# Laws

HEIGHT, WIDTH = 20, 24
K = jnp.array([[12.0, 0, 11.5], [0, 12, 9.5], [0, 0, 1]])
PINHOLE_POINTS = back_project(jnp.ones((HEIGHT, WIDTH, 1)), K)
RAYS = normalize(PINHOLE_POINTS)
STANDING = jnp.broadcast_to(jnp.eye(4), (2, 2, 4, 4))
MOVING = STANDING.at[..., :3, 3].set(jnp.array([0.4, 0.1, 0.2]))


def random_batch(seed=0):
    """Images without any two neighbouring pixels alike, and inverse depth."""
    random = np.random.default_rng(seed)
    images = [
        random.random((2, HEIGHT, WIDTH, 3)),
        random.random((2, 2, HEIGHT, WIDTH, 3)),
        random.uniform(0.1, 0.4, (2, HEIGHT, WIDTH, 1)),
    ]
    rgb, rgb_context, inv_depth = (jnp.asarray(a, jnp.float32) for a in images)
    return rgb, rgb_context, (inv_depth,)


FINEST = PhotometricSettings(num_scales=1)
NOT_SMOOTHED = PhotometricSettings(num_scales=1, smooth_loss_weight=0.0)


def loss_of(settings=FINEST, **options):
    options = {"temperature": 1e-4, **options}
    return jax.jit(functools.partial(ray_surface_photometric_loss, settings=settings, **options))


def test_identical_frames_without_motion_cost_nothing():
    rgb, _, inv_depths = random_batch()
    contexts = jnp.stack([rgb, rgb], axis=1)
    loss = loss_of(NOT_SMOOTHED, half_resolution=False, temperature=1e-5)
    result = loss(rgb, contexts, inv_depths, RAYS[None], STANDING)
    np.testing.assert_allclose(result.total, 0, atol=1e-4)


@pytest.mark.slow
def test_with_a_pinhole_s_rays_it_is_the_pinhole_s_loss():
    """Smooth images, since the softmax finds pixels to a tenth or so."""
    rgb, _, (inv_depth,) = random_batch()
    rgb, contexts = (
        0.5 + 0.5 * jnp.sin(jnp.arange(WIDTH)[:, None] / 4 + jnp.arange(3.0) + shift)
        for shift in (0.0, 0.3)
    )
    rgb = jnp.broadcast_to(rgb, (2, HEIGHT, WIDTH, 3))
    contexts = jnp.broadcast_to(contexts, (2, 2, HEIGHT, WIDTH, 3))
    settings = dataclasses.replace(NOT_SMOOTHED, automask_loss=False, padding_mode="border")
    along_rays = inv_depth / jnp.linalg.norm(PINHOLE_POINTS, axis=-1, keepdims=True)
    result = loss_of(settings, half_resolution=False, temperature=1e-3)(
        rgb, contexts, (along_rays,), RAYS[None], MOVING
    )
    expected = multi_view_photometric_loss(
        rgb, contexts, (inv_depth,), jnp.stack([K, K]), MOVING, settings=settings
    )
    inner = np.s_[:, :, 4:-4, 4:-4]
    difference = np.abs(np.asarray(result.maps.warped - expected.maps.warped))[inner]
    assert difference.mean() < 0.02
    unmoved = np.abs(np.asarray(contexts - expected.maps.warped))[inner]
    assert difference.mean() < 0.15 * unmoved.mean()


def test_a_batch_is_the_mean_of_its_samples():
    rgb, contexts, (inv_depth,) = random_batch()
    loss = loss_of(PhotometricSettings(num_scales=1, smooth_loss_weight=0.1))
    both = loss(rgb, contexts, (inv_depth,), RAYS[None], MOVING)
    alone = [
        loss(
            *(a[i : i + 1] for a in (rgb, contexts)),
            (inv_depth[i : i + 1],),
            RAYS[None],
            MOVING[:1],
        )
        for i in range(2)
    ]
    for part in ("photometric", "smoothness"):
        mean = np.mean([getattr(one, part) for one in alone])
        np.testing.assert_allclose(getattr(both, part), mean, rtol=1e-5)


def test_what_is_masked_does_not_count():
    rgb, contexts, (inv_depth,) = random_batch()
    mask = jnp.ones((2, HEIGHT, WIDTH, 1)).at[:, :, : WIDTH // 2].set(0.0)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradient(inv_depth, mask):
        result = ray_surface_photometric_loss(
            rgb, contexts, (inv_depth,), RAYS[None], MOVING, settings=NOT_SMOOTHED,
            temperature=1e-3, half_resolution=False, mask=mask,
        )  # fmt: skip
        return result.total, result

    of_masked, result = gradient(inv_depth, mask)
    assert not np.any(of_masked[:, :, : WIDTH // 2 - 1])  # of one column more, SSIM sees a window
    assert np.any(of_masked[:, :, WIDTH // 2 :])
    counted = np.asarray(result.maps.error)[:, :, WIDTH // 2 :]
    np.testing.assert_allclose(result.total, counted.mean(), rtol=1e-5)
    _, nothing = gradient(inv_depth, jnp.zeros_like(mask))
    assert nothing.total == 0


def test_coarser_maps_are_compared_at_their_size():
    rgb, contexts, (inv_depth,) = random_batch()
    pyramid = (inv_depth, inv_depth[:, ::2, ::2])
    result = loss_of(PhotometricSettings(num_scales=2))(rgb, contexts, pyramid, RAYS[None], MOVING)
    fine = loss_of()(rgb, contexts, pyramid[:1], RAYS[None], MOVING)
    assert np.isfinite(result.total) and result.photometric != fine.photometric
    np.testing.assert_array_equal(result.maps.warped, fine.maps.warped)


def test_descent_finds_the_motion_of_a_fisheye():
    """Inside a painted ball, seen 150 degrees wide; no pinhole could."""
    radius, motion = 5.0, np.array([0.5, -0.2, 0.3])
    model = KannalaBrandt(Pinhole(11.5, 11.5, 15.5, 15.5))
    pixels = np.stack(np.meshgrid(np.arange(32.0), np.arange(32.0)), axis=-1)
    directions = model.unproject(pixels).directions

    def picture(position):
        """What a camera at this place sees: the ball at |position + distance ray| = radius."""
        along = directions @ position
        distance = -along + np.sqrt(along**2 - position @ position + radius**2)
        place = position + distance[..., None] * directions
        rgb = 0.5 + 0.5 * np.sin(place @ np.array([[1.0, 0.3, 0.2], [0.2, 1, -0.4], [0.5, 0.6, 1]]))
        return jnp.asarray(rgb[None], jnp.float32), distance[None, ..., None]

    rgb, distance = picture(np.zeros(3))
    contexts = jnp.stack([picture(motion)[0]], axis=1)
    rays = jnp.asarray(directions[None], jnp.float32)
    inv_depths = (jnp.asarray(1 / distance, jnp.float32),)
    loss = functools.partial(
        ray_surface_photometric_loss,
        settings=dataclasses.replace(NOT_SMOOTHED, automask_loss=False),
        temperature=fitting_temperature(rays[0]),
    )

    def total(vector):
        context_T_target = pose_vector_to_transform(vector[None, None])
        return loss(rgb, contexts, inv_depths, rays, context_T_target).total

    optimizer = optax.adam(0.02)

    @jax.jit
    def descend(vector):
        def step(carry, _):
            vector, state = carry
            value, gradient = jax.value_and_grad(total)(vector)
            update, state = optimizer.update(gradient, state)
            return (vector + update, state), value

        return jax.lax.scan(step, (vector, optimizer.init(vector)), length=100)

    (vector, _), values = descend(jnp.zeros(6))
    assert values[-1] < 0.2 * values[0]
    np.testing.assert_allclose(vector[:3], -motion, atol=0.1)
    np.testing.assert_allclose(vector[3:], 0, atol=0.02)


def test_wrong_options_are_refused():
    rgb, contexts, inv_depths = random_batch()
    with pytest.raises(ValueError, match="only 1 inverse depths came"):
        loss_of(PhotometricSettings(num_scales=4))(rgb, contexts, inv_depths, RAYS[None], MOVING)
    with pytest.raises(ValueError, match="window is 2"):
        loss_of(window=2)(rgb, contexts, inv_depths, RAYS[None], MOVING)
