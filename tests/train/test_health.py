"""Each sign is seen where it is, and a healthy run shows none."""

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from packnet_jax import sharding
from packnet_jax.geometry.transforms import pose_vector_to_transform
from packnet_jax.networks.depth_resnet import DepthResNet
from packnet_jax.networks.packnet import PackNet
from packnet_jax.sfm import Predictions
from packnet_jax.train import health, loop
from packnet_jax.train.health import AT_BOUNDS, PARALLAX, SPREAD, STATIC, HealthWatch, signs

DEPTH_NET = DepthResNet(18)


def predictions(inv_depth=None, translation=0.05):
    rng = np.random.default_rng(0)
    if inv_depth is None:
        inv_depth = rng.uniform(0.02, 1.0, (4, *tiny.SHAPE, 1))
    vector = np.zeros((4, 2, 6), np.float32)
    vector[..., 2] = translation
    motion = pose_vector_to_transform(jnp.asarray(vector))
    return Predictions((jnp.asarray(inv_depth, jnp.float32),), motion, {})


def bad_signs(predictions, batch=None, depth_net=DEPTH_NET):
    found = signs(predictions, tiny.random_batch() if batch is None else batch, depth_net)
    return {name for name, value in found.items() if health.RULES[name].is_bad(float(value))}


@pytest.mark.slow
def test_healthy_predictions_show_no_sign():
    assert set(signs(predictions(), tiny.random_batch(), DEPTH_NET)) == set(health.RULES)
    assert not bad_signs(predictions())


def test_a_collapsed_pose_is_seen():
    assert bad_signs(predictions(translation=0.0)) == {PARALLAX}
    assert bad_signs(predictions(translation=1e-7)) == {PARALLAX}


def test_constant_depth_is_seen():
    flat = np.full((4, *tiny.SHAPE, 1), 0.3)
    assert bad_signs(predictions(flat)) == {SPREAD}


@pytest.mark.parametrize("depth_net", [DEPTH_NET, PackNet("1A")], ids=["ResNet", "PackNet"])
@pytest.mark.parametrize("bound", [0, 1])
def test_saturated_inverse_depth_is_seen(depth_net, bound):
    saturated = np.random.default_rng(0).uniform(0.1, 1.0, (4, *tiny.SHAPE, 1))
    saturated[:, :24] = depth_net.inv_depth_range[bound]
    assert bad_signs(predictions(saturated), depth_net=depth_net) == {AT_BOUNDS}


def test_static_frames_are_seen():
    batch = tiny.random_batch()
    still = np.repeat(batch.rgb_original[:, None], 2, axis=1)
    some = batch.rgb_context_original.copy()
    some[0] = still[0]
    assert bad_signs(predictions(), batch._replace(rgb_context_original=still)) == {STATIC}
    assert not bad_signs(predictions(), batch._replace(rgb_context_original=some))


def test_what_is_learnt_without_motion_or_bounds_has_fewer_signs():
    alone = predictions()._replace(context_T_target=None)
    assert set(signs(alone, tiny.random_batch(), tiny.TinyDepthNet())) == {SPREAD}


def test_a_warning_says_what_was_seen_when_and_what_to_do_and_comes_seldom():
    watch, warnings = HealthWatch(), []
    for log in range(1, 2 * health.SILENCE):
        found = watch.read(10 * log, {PARALLAX: 1e-9, SPREAD: 0.5})
        warnings += [(log, warning) for warning in found]
    assert [log for log, _ in warnings] == [health.WINDOW, health.WINDOW + health.SILENCE]
    message = warnings[0][1]
    for words in ("steps 10 to 100 (10 logs)", "collapsed", "1.0e-09", "config.optim.pose.lr"):
        assert words in message


def test_one_good_log_starts_the_count_anew():
    watch = HealthWatch()
    values = [0.0] * (health.WINDOW - 1) + [1.0] + [0.0] * (health.WINDOW - 1)
    assert not [w for i, v in enumerate(values) for w in watch.read(i, {SPREAD: v})]


def run(tmp_path, caplog, config, data=None):
    loop.train(
        config,
        tiny.NETWORKS,
        data or tiny.data_sets(config),
        workdir=tmp_path,
        mesh=sharding.make_mesh(1),
    )
    return [r.getMessage() for r in caplog.records if "health/" in r.getMessage()]


@pytest.mark.slow
def test_a_healthy_run_is_not_warned(tmp_path, caplog):
    assert not run(tmp_path, caplog, tiny.config(num_steps=15, log_every_steps=1))


def test_a_run_whose_camera_stands_still_is_warned_once(tmp_path, caplog, monkeypatch):
    config = tiny.config(num_steps=12, log_every_steps=1)
    real_step = loop.make_train_step

    def step_of_still_frames(*args, **kwargs):
        step = real_step(*args, **kwargs)

        def still(state, batch):
            contexts = jnp.broadcast_to(batch.rgb_original[:, None], batch.rgb_context.shape)
            return step(state, batch._replace(rgb_context_original=contexts, rgb_context=contexts))

        return still

    monkeypatch.setattr(loop, "make_train_step", step_of_still_frames)
    warnings = run(tmp_path, caplog, config)
    assert len(warnings) == 1
    assert "100% of the targets equal their contexts" in warnings[0]
