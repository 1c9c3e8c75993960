"""What joins when, and what a mask and a missing measurement do, on predictions made by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from packnet_jax.geometry.transforms import pose_vector_to_transform
from packnet_jax.loss_config import LossConfig
from packnet_jax.objectives import make_objective
from packnet_jax.sfm import Completed, Predictions

LOSS = LossConfig(supervision_starts=0.5, completion_starts=0.5, ssim_loss_weight=0.0)


def batch():
    rng = np.random.default_rng(0)
    depth = np.where(
        rng.random((4, *tiny.SHAPE, 1)) < 0.2, 5 + 10 * rng.random((4, *tiny.SHAPE, 1)), 0
    )
    motion = np.tile(np.eye(4, dtype=np.float32), (4, 2, 1, 1))
    motion[..., 2, 3] = 2.0
    return tiny.random_batch()._replace(depth=depth.astype(np.float32), context_T_target=motion)


def predictions(with_depth=False):
    rng = np.random.default_rng(1)
    height, width = tiny.SHAPE
    pyramid = tuple(
        jnp.asarray(rng.uniform(0.05, 0.5, (4, height >> i, width >> i, 1)), jnp.float32)
        for i in range(4)
    )
    vectors = jnp.asarray(rng.normal(size=(4, 2, 6)) * 0.05, jnp.float32)
    completed = Completed(pyramid, jnp.float32(0.25)) if with_depth else None
    return Predictions(pyramid, pose_vector_to_transform(vectors), {}, completed)


def total(name, progress, loss=LOSS, given=None):
    objective = make_objective(name, loss)
    answers = predictions(objective.needs.input_depth)
    return objective.measure(answers, given or batch(), progress)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["semi_supervised", "reprojected"])
def test_measured_depth_joins_when_it_should(name):
    alone = total("self_supervised", 0.0).total
    np.testing.assert_array_equal(total(name, 0.49).total, alone)
    joined = total(name, 0.5)
    if name == "reprojected":
        expected = alone + LOSS.reprojected_loss_weight * joined.terms["reprojected_distance"]
    else:
        expected = 0.1 * alone + 0.9 * joined.terms["supervised_loss"]
    np.testing.assert_allclose(joined.total, expected, rtol=1e-6)
    assert joined.total != alone


def test_input_depth_joins_when_it_should():
    loss = dataclasses.replace(LOSS, supervision_starts=0.0, weight_rgbd=2.0)
    alone = total("semi_supervised", 0.0, loss).total
    np.testing.assert_array_equal(total("completion", 0.49, loss).total, alone)
    joined = total("completion", 0.5, loss)
    expected = alone + 0.9 * 2.0 * joined.terms["supervised_loss_rgbd"] + 0.25
    np.testing.assert_allclose(joined.total, expected, rtol=1e-6)


def test_the_speed_adds_its_weight():
    alone, joined = total("self_supervised", 0.0), total("velocity", 0.0)
    speed = joined.terms["velocity_loss"]
    travelled = np.linalg.norm(predictions().context_T_target[..., :3, 3], axis=-1)
    np.testing.assert_allclose(speed, np.abs(travelled - 2.0).mean(), rtol=1e-5)
    np.testing.assert_allclose(joined.total, alone.total + 0.1 * speed, rtol=1e-6)


def test_progress_reaches_both_parts():
    loss = dataclasses.replace(LOSS, progressive_scaling=0.2, supervision_starts=0.0)
    early, late = (
        total("semi_supervised", 0.0, loss).terms,
        total("semi_supervised", 0.9, loss).terms,
    )
    finest = dataclasses.replace(LOSS, num_scales=1, supervised_num_scales=1)
    expected = total("semi_supervised", 0.9, finest).terms
    for term in ("photometric_loss", "supervised_loss"):
        assert early[term] != late[term]
        np.testing.assert_allclose(late[term], expected[term], rtol=1e-5)


def test_with_depth_alone_there_is_nothing_self_supervised():
    loss = dataclasses.replace(LOSS, supervised_loss_weight=1.0)
    assert not make_objective("semi_supervised", loss).needs.motion
    measured = total("semi_supervised", 0.0, loss)
    assert list(measured.terms) == ["supervised_loss"]
    assert measured.total == measured.terms["supervised_loss"]
    assert measured.pictures.warped_context is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["self_supervised", "semi_supervised", "reprojected"])
def test_pixels_outside_the_mask_do_not_count(name):
    mask = np.ones((4, *tiny.SHAPE, 1), np.float32)
    mask[:, :, 40:] = 0
    objective = make_objective(name, LossConfig(ssim_loss_weight=0.0, num_scales=1))
    masked = batch()._replace(mask=mask)

    def loss(inv_depth):
        answers = predictions()
        pyramid = (inv_depth, *answers.inv_depth_pyramid[1:])
        return objective.measure(answers._replace(inv_depth_pyramid=pyramid), masked, 1.0).total

    gradient = jax.grad(loss)(predictions().inv_depth_pyramid[0])
    assert np.any(gradient[:, :, :39])
    if name != "self_supervised":
        return  # smoothness divides by the mean of the whole map
    photometric_alone = dataclasses.replace(
        LossConfig(ssim_loss_weight=0.0, num_scales=1), smooth_loss_weight=0.0
    )
    objective = make_objective(name, photometric_alone)
    gradient = jax.grad(loss)(predictions().inv_depth_pyramid[0])
    np.testing.assert_array_equal(gradient[:, :, 40:], 0)


def test_what_an_objective_needs_and_does_not_get_is_named():
    with pytest.raises(ValueError, match="measured motion"):
        total("velocity", 0.0, given=tiny.random_batch())
    with pytest.raises(ValueError, match="measured depth"):
        total("semi_supervised", 0.0, given=tiny.random_batch())
    with pytest.raises(ValueError, match="template"):
        make_objective("ray_surface", LOSS)
