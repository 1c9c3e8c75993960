"""What the networks are asked, and how their answers come back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from packnet_jax.config import ModelConfig, NetworkConfig
from packnet_jax.errors import ConfigError
from packnet_jax.loss_config import Needs
from packnet_jax.networks.packnet_san import CompletionOutput
from packnet_jax.sfm import Networks, predict

WITH_DEPTH = Needs(motion=False, input_depth=True)


class Mirror:
    """Sees depth in the picture's red, and with sparse depth in that."""

    @staticmethod
    def apply(variables, rgb, input_depth=None, *, method, **_):
        red = (rgb[..., :1],) * 4
        if method == "with_and_without_depth":
            return CompletionOutput(red, (input_depth,) * 4, jnp.float32(0.5)), {}
        return red, {}


NETWORKS = Networks(Mirror(), None)  # pyright: ignore
NO_VARIABLES = {c: {"depth_net": {}, "pose_net": {}} for c in ("params", "batch_stats")}


def batch_with_points():
    batch = tiny.random_batch(2)
    points = np.random.default_rng(1).random((2, *tiny.SHAPE, 1), np.float32)
    return batch._replace(input_depth=points)


@pytest.mark.parametrize("flip", [False, True])
def test_what_mirrored_pictures_gave_is_mirrored_back(flip):
    batch = batch_with_points()
    predictions = predict(NETWORKS, NO_VARIABLES, batch, flip=flip, needs=WITH_DEPTH)
    np.testing.assert_array_equal(predictions.inv_depth_pyramid[0], batch.rgb[..., :1])
    assert predictions.completed is not None
    np.testing.assert_array_equal(predictions.completed.inv_depth_pyramid[0], batch.input_depth)


def test_without_a_pose_network_there_is_no_motion():
    predictions = predict(NETWORKS, NO_VARIABLES, batch_with_points(), flip=False)
    assert predictions.context_T_target is None
    assert predictions.completed is None


def test_no_pose_network_is_built_where_none_is_needed():
    networks = Networks.from_config(ModelConfig(), Needs(motion=False, depth=True))
    assert networks.pose_net is None
    variables = jax.eval_shape(lambda: networks.init(jax.random.key(0), (64, 96), 0))
    assert variables["params"]["pose_net"] == {} != variables["params"]["depth_net"]


def test_a_batch_without_sparse_depth_is_refused():
    with pytest.raises(ValueError, match="no sparse depth"):
        predict(NETWORKS, NO_VARIABLES, tiny.random_batch(2), flip=False, needs=WITH_DEPTH)


def test_groups_of_a_batch_normalisation_that_there_is_not_are_refused():
    packnet, posenet = NetworkConfig("PackNet01", "1A"), NetworkConfig("PoseNet", "")
    with pytest.raises(ConfigError, match="batch_norm_groups: given 8, but neither network"):
        Networks.from_config(ModelConfig(packnet, posenet, batch_norm_groups=8))
    networks = Networks.from_config(ModelConfig(pose_net=posenet, batch_norm_groups=8))
    assert networks.depth_net.batch_norm_groups == 8


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        (Needs(input_depth=True), "'DepthResNet', which takes pictures alone.*PackNetSAN01"),
        (Needs(ray_surface=True), "'DepthResNet'.*take RaySurfaceResNet"),
    ],
)
def test_networks_that_can_not_do_what_is_needed_are_refused(needs, message):
    with pytest.raises(ConfigError, match=message):
        Networks.from_config(ModelConfig(NetworkConfig("DepthResNet", "18")), needs)
