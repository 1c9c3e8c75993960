"""One step of ray-surface training against the original's, and what the original can not do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.arrays import nhwc
from golden.models import compare_model_gradients, golden_batch, seeded_variables
from golden.seeded import load_golden

from packnet_jax.config import ModelConfig, NetworkConfig
from packnet_jax.errors import ConfigError
from packnet_jax.geometry.ray_surface import dummy_template, flip_rays
from packnet_jax.loss_config import LossConfig, Needs
from packnet_jax.networks.ray_surface_resnet import RaySurfaceOutput
from packnet_jax.objectives.ray_surface import ray_surface
from packnet_jax.ray_template import RayTemplate
from packnet_jax.sfm import Networks, predict

pytestmark = pytest.mark.slow

MODEL = ModelConfig(NetworkConfig("RaySurfaceResNet", "18"), NetworkConfig("PoseResNet", "18"))
NEEDS = Needs(ray_surface=True)
NETWORKS = Networks.from_config(MODEL, NEEDS)


def all_valid(rays):
    return RayTemplate(np.asarray(rays, np.float32), np.ones(rays.shape[:2], bool))


@functools.cache
def compiled():
    """Weights; and the function of weights and progress to terms, predictions and gradients."""
    batch = golden_batch("batch_generic_96x96")
    template = nhwc(load_golden("models/ray_template_96x96.npz")["ray_template"])[0]
    objective = ray_surface(LossConfig(), all_valid(template))

    @jax.jit
    def measure(variables, progress):
        def total(params):
            own = {**variables, "params": params}
            predictions = predict(NETWORKS, own, batch, flip=False, needs=NEEDS)
            measured = objective.measure(predictions, batch, progress)
            return measured.total, (measured.total, measured.terms, predictions)

        (_, aux), gradients = jax.value_and_grad(total, has_aux=True)(variables["params"])
        return *aux, gradients

    return seeded_variables(MODEL, (96, 96)), measure


@pytest.mark.parametrize("progress", ["0", "0.5"])
def test_the_step_equals_the_original(progress, parity):
    """At progress 0.5 the gradients differ by 23 % between the original's own precisions."""
    name = f"models/GenericSelfSup.fixed.progress{progress}"
    golden = load_golden(f"{name}.npz")
    variables, measure = compiled()
    loss, terms, predictions, gradients = measure(variables, float(progress))

    def compare(entry, actual, tolerance, *, relative=True):
        expected = golden[entry]
        scale = np.abs(expected).max() if relative else 1.0
        actual = np.reshape(actual, expected.shape)
        parity.compare(name, entry, actual, expected, tolerance=tolerance, scale=scale)

    compare("loss", loss, 1e-5)
    compare("metric.smoothness_loss", terms["smoothness_loss"], 1e-4)
    # The original's metric of this name is the total (reference bug 4).
    total = terms["photometric_loss"] + terms["smoothness_loss"]
    compare("metric.photometric_loss", total, 1e-5)
    for i in range(2):
        compare(f"pose_mat{i}", predictions.context_T_target[:, i], 1e-6, relative=False)
    finest, count = np.asarray(predictions.inv_depth_pyramid[0]).ravel(), 256
    sample = finest[np.arange(count) * finest.size // count]
    compare("inv_depths0.sample", sample, 1e-4, relative=False)
    if progress == "0.5":
        return
    compare_model_gradients(parity, name, golden, gradients, MODEL)


def test_the_ray_decoder_learns_once_its_residual_counts():
    """Not at progress 0, where its weight is 0."""
    variables, measure = compiled()
    for progress, learns in ((0.0, False), (0.5, True)):
        _, terms, _, gradients = measure(variables, progress)
        rays = jax.tree.leaves(gradients["depth_net"]["ray_surface_decoder"])
        assert any(np.any(leaf) for leaf in rays) == learns
        assert (terms["ray_residual_weight"] > 0) == learns
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


class Answer:
    """Stands for both networks: it sees depth and rays in the picture's colours, and no motion."""

    @staticmethod
    def apply(variables, rgb, *context, method, **_):
        if method == "with_ray_surface":
            return RaySurfaceOutput(
                (rgb[..., :1], rgb[..., :1], rgb[..., :1], rgb[..., :1]), rgb
            ), {}
        return jnp.zeros((*context[0].shape[:2], 6)), {}


STAND_INS = Networks(Answer(), Answer())  # pyright: ignore
NO_VARIABLES = {c: {"depth_net": {}, "pose_net": {}} for c in ("params", "batch_stats")}


def test_a_mirrored_picture_s_answer_is_mirrored_back():
    batch = golden_batch("batch_generic_96x96")
    plain = predict(STAND_INS, NO_VARIABLES, batch, flip=False, needs=NEEDS)
    flipped = predict(STAND_INS, NO_VARIABLES, batch, flip=True, needs=NEEDS)
    np.testing.assert_allclose(flipped.inv_depth_pyramid[0], plain.inv_depth_pyramid[0])
    mirror_image = jnp.flip(batch.rgb, axis=-2)
    np.testing.assert_allclose(flipped.ray_residual, flip_rays(mirror_image))


def test_options_and_mask_reach_the_terms():
    batch = golden_batch("batch_generic_96x96")
    small = batch._replace(
        **{
            name: getattr(batch, name)[..., :12, :16, :]
            for name in ("rgb", "rgb_original", "rgb_context", "rgb_context_original")
        }
    )
    loss = LossConfig(
        num_scales=1,
        automask_loss=False,
        ray_residual_schedule="paper",
        ray_start_temperature=1e-3,
        ray_end_temperature=1e-5,
        ray_half_resolution=False,
    )
    objective = ray_surface(loss, all_valid(dummy_template(12, 16)))

    @jax.jit
    def measure(mask):
        masked = small._replace(mask=mask)
        predictions = predict(STAND_INS, NO_VARIABLES, masked, flip=False, needs=NEEDS)
        measured = objective.measure(predictions, masked, 0.1)
        return measured.total, measured.terms

    total, found = measure(jnp.ones((1, 12, 16, 1)))
    np.testing.assert_allclose(found["ray_residual_weight"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(found["ray_temperature"], 1e-3 * 0.01**0.1, rtol=1e-5)
    assert found["photometric_loss"] > 0 and found["smoothness_loss"] > 0 and total > 0
    assert measure(jnp.zeros((1, 12, 16, 1)))[0] == 0


def test_rays_that_are_too_close_for_a_fitting_temperature_need_given_ones():
    """Those of a pinhole camera with a focal length of 25,000 pixels."""
    x, y = np.meshgrid(np.arange(32) / 25e3, np.arange(16) / 25e3)
    rays = np.stack([x, y, np.ones_like(x)], -1)
    template = all_valid(rays / np.linalg.norm(rays, axis=-1, keepdims=True))
    ray_surface(LossConfig(), template)  # has both
    with pytest.raises(ConfigError, match=r"radians apart; give both"):
        ray_surface(LossConfig(ray_end_temperature=0.0), template)


def test_pixels_that_the_template_does_not_see_do_not_count():
    batch = golden_batch("batch_generic_96x96")
    blind = all_valid(dummy_template(96, 96))._replace(valid=np.zeros((96, 96), bool))
    predictions = predict(STAND_INS, NO_VARIABLES, batch, flip=False, needs=NEEDS)
    assert ray_surface(LossConfig(), blind).measure(predictions, batch, 0.0).total == 0


def test_a_template_of_another_size_is_refused():
    batch = golden_batch("batch_generic_96x96")
    predictions = predict(STAND_INS, NO_VARIABLES, batch, flip=False, needs=NEEDS)
    objective = ray_surface(LossConfig(), all_valid(dummy_template(64, 96)))
    with pytest.raises(ValueError, match=r"template is 64x96, the images 96x96"):
        objective.measure(predictions, batch, 0.0)
