"""Serving: the predictor answers what evaluation does, compiled once, on any number of devices."""

from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from golden.arrays import nhwc
from golden.models import seeded_variables
from golden.seeded import load_golden
from known_depth import (
    KnowsOneCamera,
    RedChannelIsInverseDepth,
    as_float,
    random_depth,
    random_picture,
    with_random_weights,
)

from packnet_jax import config as config_lib
from packnet_jax import sharding
from packnet_jax.config import ModelConfig, NetworkConfig
from packnet_jax.depth_pair import predict_pair
from packnet_jax.errors import ConfigError, DataError
from packnet_jax.predictor import DepthPredictor, PredictorOptions
from packnet_jax.sfm import Networks
from packnet_jax.trained import TrainedNetwork

NO_VARIABLES = {"params": {"depth_net": {}}, "batch_stats": {"depth_net": {}}}


def test_a_picture_becomes_depth():
    predictor = DepthPredictor(RedChannelIsInverseDepth(), NO_VARIABLES, tiny.SHAPE)
    picture = random_picture()
    depth = predictor(picture)
    assert (depth.shape, depth.dtype) == (tiny.SHAPE, np.float32)
    np.testing.assert_allclose(depth, 1 / as_float(picture)[0, ..., 0], rtol=1e-6)


def test_every_level_of_grey_becomes_the_same_number_on_the_device_as_on_the_host():
    levels = np.arange(32 * 64, dtype=np.uint16).reshape(tiny.SHAPE) % 256
    picture = np.repeat(levels[..., None].astype(np.uint8), 3, axis=-1)
    predictor = DepthPredictor(RedChannelIsInverseDepth(), NO_VARIABLES, tiny.SHAPE)
    found = predictor.predict([picture]).inv_depth[0]
    np.testing.assert_array_equal(found, as_float(picture)[0, ..., 0])


def test_pictures_of_any_size_are_resized():
    predictor = DepthPredictor(
        RedChannelIsInverseDepth(), NO_VARIABLES, tiny.SHAPE, PredictorOptions(batch_size=2)
    )
    grey = np.full((50, 200, 3), 102, np.uint8)
    found = predictor.predict([grey, random_picture()])
    np.testing.assert_array_equal(found.rgb[0], np.full((*tiny.SHAPE, 3), 102))
    np.testing.assert_allclose(found.depth[0], 2.5, rtol=1e-6)
    np.testing.assert_array_equal(found.rgb[1], random_picture())


def test_fewer_pictures_than_a_batch_are_answered_alone():
    network, variables = with_random_weights(tiny.TinyDepthNet())
    predictor = DepthPredictor(network, variables, tiny.SHAPE, PredictorOptions(batch_size=3))
    pictures = [random_picture(seed) for seed in range(3)]
    whole, part = predictor.predict(pictures), predictor.predict(pictures[:2])
    assert part.depth.shape == (2, *tiny.SHAPE)
    np.testing.assert_array_equal(part.depth, whole.depth[:2])
    np.testing.assert_array_equal(predictor(pictures[0]), whole.depth[0])


@pytest.mark.parametrize("flip", [False, True])
def test_the_answer_is_evaluation_s(flip):
    network, variables = with_random_weights(tiny.TinyDepthNet())
    predictor = DepthPredictor(network, variables, tiny.SHAPE, PredictorOptions(2, flip))
    pictures = [random_picture(seed) for seed in range(2)]
    pair = predict_pair(network, variables, as_float(*pictures))
    expected = (pair.fused if flip else pair.raw)[..., 0]
    found = predictor.predict(pictures)
    np.testing.assert_allclose(found.inv_depth, expected, rtol=1e-6)
    np.testing.assert_allclose(found.depth, 1 / expected, rtol=1e-6)


def test_floats_are_taken_where_that_was_compiled():
    network, variables = with_random_weights(tiny.TinyDepthNet())
    options = PredictorOptions(picture_dtype="float32")
    floats = DepthPredictor(network, variables, tiny.SHAPE, options)
    levels = DepthPredictor(network, variables, tiny.SHAPE)
    picture = random_picture()
    np.testing.assert_allclose(floats(as_float(picture)[0]), levels(picture), rtol=1e-6)


class CountsTraces(nn.Module):
    """Appends to `TRACES` whenever it is traced."""

    def __call__(self, rgb, *, train: bool):
        TRACES.append(rgb.shape)
        return (rgb[..., :1],) * 4


TRACES: list[tuple[int, ...]] = []


def test_everything_is_compiled_when_it_is_made():
    predictor = DepthPredictor(
        CountsTraces(), NO_VARIABLES, tiny.SHAPE, PredictorOptions(batch_size=2)
    )
    made = len(TRACES)
    for seed, count in ((0, 2), (1, 1), (2, 2)):
        predictor.predict([random_picture(seed, (40, 90))] * count)
    predictor(random_picture())
    assert len(TRACES) == made == 1


def test_the_clock_stops_where_it_says():
    network, variables = with_random_weights(tiny.TinyDepthNet())
    predictor = DepthPredictor(network, variables, tiny.SHAPE)
    found, latency = predictor.timed([random_picture()])
    np.testing.assert_array_equal(found.depth, predictor.predict([random_picture()]).depth)
    assert 0 < latency.network < latency.served


def test_devices_share_a_batch_and_change_nothing():
    network, variables = with_random_weights(tiny.TinyDepthNet())
    pictures = [random_picture(seed) for seed in range(4)]
    one, four = (
        DepthPredictor(
            network,
            variables,
            tiny.SHAPE,
            PredictorOptions(batch_size=4, flip=True),
            mesh=sharding.make_mesh(num_devices),
        ).predict(pictures)
        for num_devices in (1, 4)
    )
    np.testing.assert_allclose(four.depth, one.depth, rtol=1e-6)


def test_sparse_depth_comes_beside_its_picture():
    network, variables = with_random_weights(tiny.TinyCompletionNet())
    options = PredictorOptions(batch_size=2, flip=True, input_depth=True)
    predictor = DepthPredictor(network, variables, tiny.SHAPE, options)
    pictures, depth = [random_picture(0), random_picture(1)], random_depth(2)
    pair = predict_pair(network, variables, as_float(*pictures), depth)
    found = predictor.predict(pictures, list(depth[..., 0]))
    np.testing.assert_allclose(found.inv_depth, pair.fused[..., 0], rtol=1e-6)
    np.testing.assert_array_equal(predictor(pictures[0], depth[0, ..., 0]), found.depth[0])


@pytest.mark.parametrize("flip", [False, True])
def test_a_ray_surface_s_residual_is_the_picture_s_own(flip):
    network, variables = with_random_weights(tiny.TinyRayNet())
    options = PredictorOptions(flip=flip, rays=True)
    predictor = DepthPredictor(network, variables, tiny.SHAPE, options)
    found = predictor.predict([random_picture()])
    rgb = as_float(random_picture())
    own = {name: collection["depth_net"] for name, collection in variables.items()}
    expected = network.apply(own, rgb, train=False, method="with_ray_surface")
    np.testing.assert_allclose(found.ray_residual, expected.ray_surface, atol=1e-6)
    for at_once in (True, False):
        pair = predict_pair(network, variables, rgb, rays=True, at_once=at_once)
        np.testing.assert_allclose(pair.ray_residual, expected.ray_surface, atol=1e-6)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((32, 64, 3)), r"a picture of float64 \(32, 64, 3\), but .* uint8 \(height, w"),
        (np.zeros((32, 64), np.uint8), r"a picture of uint8 \(32, 64\), but"),
        (np.zeros((32, 64, 4), np.uint8), r"a picture of uint8 \(32, 64, 4\), but"),
        (np.zeros((1, 32, 64, 3), np.uint8), r"a picture of uint8 \(1, 32, 64, 3\), but"),
    ],
)
def test_other_pictures_than_it_was_compiled_for_are_refused(picture, message):
    predictor = DepthPredictor(RedChannelIsInverseDepth(), NO_VARIABLES, tiny.SHAPE)
    with pytest.raises(DataError, match=message):
        predictor(picture)


def test_floats_of_another_size_are_refused():
    options = PredictorOptions(picture_dtype="float32")
    predictor = DepthPredictor(RedChannelIsInverseDepth(), NO_VARIABLES, tiny.SHAPE, options)
    for shape, dtype in (((40, 64, 3), np.float32), ((32, 64, 3), np.float64)):
        with pytest.raises(DataError, match=r"compiled for float32 \(32, 64, 3\); convert it"):
            predictor(np.zeros(shape, dtype))


def test_as_many_as_it_was_compiled_for():
    predictor = DepthPredictor(RedChannelIsInverseDepth(), NO_VARIABLES, tiny.SHAPE)
    for count in (0, 2):
        with pytest.raises(DataError, match=f"given {count} pictures, but .* batches of 1"):
            predictor.predict([random_picture()] * count)


def test_sparse_depth_that_does_not_fit_is_refused():
    network, variables = with_random_weights(tiny.TinyCompletionNet())
    alone = DepthPredictor(network, variables, tiny.SHAPE)
    options = PredictorOptions(batch_size=2, input_depth=True)
    beside = DepthPredictor(network, variables, tiny.SHAPE, options)
    depth = random_depth(1)[0, ..., 0]
    with pytest.raises(DataError, match="pictures with sparse depth, but"):
        alone(random_picture(), depth)
    with pytest.raises(DataError, match="pictures without sparse depth, but"):
        beside(random_picture())
    with pytest.raises(DataError, match=r"sparse depth of float32 \(32, 63\), but .*\(32, 64\)"):
        beside(random_picture(), depth[:, 1:])
    with pytest.raises(DataError, match="given 1 depth maps for 2 pictures"):
        beside.predict([random_picture()] * 2, [depth])


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((32, 60), {}, r"image_shape: given \(32, 60\), expected .* multiples of 32"),
        ((0, 64), {}, "image_shape: given"),
        (tiny.SHAPE, {"batch_size": 0}, "batch_size: given 0"),
        (tiny.SHAPE, {"compute_dtype": "float16"}, "compute_dtype: given 'float16', expected"),
        (tiny.SHAPE, {"picture_dtype": "float64"}, "picture_dtype: given 'float64', expected"),
        (tiny.SHAPE, {"batch_size": 3}, "batch_size: given 3, but 2 devices"),
        (tiny.SHAPE, {"batch_size": 2, "input_depth": True}, "input_depth: asked for, but Counts"),
        (tiny.SHAPE, {"batch_size": 2, "rays": True}, "rays: asked for, but CountsTraces has no"),
    ],
)
def test_mistakes_come_before_compiling(shape, options, message):
    before = len(TRACES)
    with pytest.raises(ConfigError, match=message):
        DepthPredictor(
            CountsTraces(),
            NO_VARIABLES,
            shape,
            PredictorOptions(**options),
            mesh=sharding.make_mesh(2),
        )
    assert len(TRACES) == before


def trained(network: nn.Module, *, unsaid: tuple[str, ...] = ()) -> TrainedNetwork:
    raw = config_lib.default()
    raw.data.root, raw.data.image_shape = "nowhere", tiny.SHAPE
    return TrainedNetwork(network, NO_VARIABLES, config_lib.resolve(raw), 7, Path("made"), unsaid)


def test_a_trained_network_brings_its_size():
    network = RedChannelIsInverseDepth()
    assert DepthPredictor.from_trained(trained(network)).image_shape == tiny.SHAPE
    other = DepthPredictor.from_trained(trained(network), image_shape=(64, 96))
    assert other(random_picture()).shape == (64, 96)
    unknown = trained(network, unsaid=("data.image_shape",))
    with pytest.raises(ConfigError, match="image_shape is missing, and made does not say"):
        DepthPredictor.from_trained(unknown)


NETWORKS = {
    "DepthResNet18": NetworkConfig("DepthResNet", "18"),
    "PackNetSlim01": NetworkConfig("PackNetSlim01", "1A"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["DepthResNet18", pytest.param("PackNetSlim01", marks=pytest.mark.soak)]
)
def test_half_precision_moves_inverse_depth_by_1_percent_on_average_and_10_at_most(name):
    model = ModelConfig(NETWORKS[name], NetworkConfig("PoseNet", ""))
    depth_net = Networks.from_config(model).depth_net
    variables = seeded_variables(model, (64, 96))
    rgb = nhwc(load_golden("models/evaluate_depth.npz")["in.rgb"])[0]
    half, full = (
        DepthPredictor(
            depth_net,
            {name: {"depth_net": c["depth_net"]} for name, c in variables.items()},
            (64, 96),
            PredictorOptions(compute_dtype=dtype, picture_dtype="float32"),
        ).predict([np.asarray(rgb, np.float32)])
        for dtype in ("bfloat16", "float32")
    )
    error = np.abs(half.inv_depth / full.inv_depth - 1)
    assert half.inv_depth.dtype == np.float32
    assert np.isfinite(half.depth).all()
    assert 0 < error.mean() < 0.01
    assert error.max() < 0.1


def test_half_precision_of_a_ray_surface_is_float32_in_the_end():
    variables = {
        "params": {
            "depth_net": {
                "scene": {"inv_depth": jnp.full((*tiny.SHAPE, 1), 0.3)},
                "residual": jnp.full((*tiny.SHAPE, 3), 0.1),
            }
        },
        "batch_stats": {"depth_net": {}},
    }
    options = PredictorOptions(compute_dtype="bfloat16", rays=True)
    found = DepthPredictor(KnowsOneCamera(), variables, tiny.SHAPE, options).predict(
        [random_picture()]
    )
    assert found.ray_residual.dtype == found.inv_depth.dtype == np.float32
    np.testing.assert_allclose(found.ray_residual, 0.1, rtol=2**-8)
