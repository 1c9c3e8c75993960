"""Configurations: every file resolves, and every mistake is named at once."""

import importlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from packnet_jax import config as config_lib
from packnet_jax.batch import Batch
from packnet_jax.data_config import DATASETS, SourceConfig
from packnet_jax.depth_pair import predict_pair
from packnet_jax.errors import ConfigError
from packnet_jax.geometry.ray_surface import dummy_template
from packnet_jax.networks import make_depth_net
from packnet_jax.objectives import make_objective
from packnet_jax.ray_template import RayTemplate
from packnet_jax.sfm import Networks, predict, takes_input_depth

FILES = sorted(p.stem for p in (Path(__file__).parents[1] / "configs").glob("[!_]*.py"))


def loaded(name):
    raw = importlib.import_module(f"configs.{name}").get_config()
    for source in (raw.data, *raw.data.more_train, *raw.data.more_eval):
        if source.name and DATASETS[source.name].needs_root and not source.root:
            source.root = "somewhere"
    return raw


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_a_recipe_card_that_resolves(name):
    module = importlib.import_module(f"configs.{name}")
    for heading in ("Command", "Expect", "Source"):
        assert heading in (module.__doc__ or "")
    config = config_lib.resolve(loaded(name))
    make_depth_net(config.model.depth_net.name, config.model.depth_net.version)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_file_trains_abstractly(name):
    """Shapes alone: networks and objective fit together at the recipe's size."""
    config = config_lib.resolve(loaded(name))
    networks, (height, width) = (
        Networks.from_config(config.model, config.needs),
        config.data.image_shape,
    )
    num_context = config.data.back_context + config.data.forward_context

    def image(*leading):
        return jax.ShapeDtypeStruct((*leading, height, width, 3), jnp.float32)

    batch = Batch(
        rgb=image(1),
        rgb_original=image(1),
        rgb_context=image(1, num_context),
        rgb_context_original=image(1, num_context),
        intrinsics=jax.ShapeDtypeStruct((1, 3, 3), jnp.float32),
        index=jax.ShapeDtypeStruct((1,), jnp.int32),
        valid=jax.ShapeDtypeStruct((1,), jnp.bool_),
        depth=jax.ShapeDtypeStruct((1, height, width, 1), jnp.float32),
        input_depth=jax.ShapeDtypeStruct((1, height, width, 1), jnp.float32),
        context_T_target=jax.ShapeDtypeStruct((1, num_context, 4, 4), jnp.float32),
    )
    variables = jax.eval_shape(
        lambda key: networks.init(key, config.data.image_shape, num_context), jax.random.key(0)
    )
    assert (networks.pose_net is not None) == config.needs.motion
    template = None
    if config.needs.ray_surface:
        rays = np.asarray(dummy_template(height, width))
        template = RayTemplate(rays, np.ones((height, width), bool))
    objective = make_objective(config.objective, config.loss, ray_template=template)

    def measure(variables, batch):
        predictions = predict(
            networks,
            variables,
            batch,
            flip=True,
            needs=objective.needs,
            dropout_key=jax.random.key(0),
        )
        return objective.measure(predictions, batch, 0.5)

    assert jax.eval_shape(measure, variables, batch).total.shape == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_file_evaluates_abstractly(name):
    """Every set that it evaluates, with input depth where that is asked for."""
    config = config_lib.resolve(loaded(name))
    height, width = config.data.image_shape
    network = make_depth_net(config.model.depth_net.name, config.model.depth_net.version)
    rgb = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
    own = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros(rgb.shape), train=False))
    variables = {collection: {"depth_net": values} for collection, values in own.items()}
    for source in config.data.eval_sources:
        input_depth = None
        if source.input_depth_type:
            assert takes_input_depth(network)
            input_depth = jax.ShapeDtypeStruct((1, height, width, 1), jnp.float32)
        evaluate = partial(predict_pair, network, compute_dtype=config.eval.compute_dtype)
        pair = jax.eval_shape(evaluate, variables, rgb, input_depth)
        assert pair.fused.shape == (1, height, width, 1)
        assert pair.fused.dtype == jnp.float32


def test_further_sets_of_a_recipe_lie_where_the_first_does_unless_said():
    raw = loaded("kitti_san")
    raw.data.root = "KITTI"
    assert [s.root for s in config_lib.resolve(raw).data.eval_sources] == ["KITTI", "KITTI"]
    raw.data.more_eval[0].root = "elsewhere"
    assert [s.root for s in config_lib.resolve(raw).data.eval_sources] == ["KITTI", "elsewhere"]


def test_json_brings_the_same_configuration_back():
    config = config_lib.resolve(loaded("kitti"))
    assert config_lib.resolve(json.loads(json.dumps(config_lib.to_json_dict(config)))) == config


def test_a_misspelt_field_fails_where_it_is_written():
    with pytest.raises(AttributeError, match="root"):
        config_lib.default().data.rot = "x"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data.image_shape", (100, 320), r"multiples of 32; nearest: \(96, 320\)"),
        ("data.image_shape", (96,), "expected tuple"),
        ("data.image_shape", (96.0, 320), r"image_shape\[0\]: given 96.0 \(float\), expected int"),
        ("data.name", "nuscenes", "one of 'kitti_raw', 'kitti_odometry', 'synthetic_drive', "),
        ("data.input_depth_type", "lidar", "kitti_raw has 'velodyne', 'groundtruth', ''"),
        ("data.input_depth_resize", "linear", "one of 'keep_points', 'nearest'"),
        ("eval.compute_dtype", "float16", "one of 'float32', 'bfloat16'"),
        ("data.cameras", ("camera_01",), "kitti_raw has one camera"),
        ("data.stack_cameras", True, "only synthetic_drive, ddad has rigs"),
        ("data.allow_missing", 1.5, "expected 0 to 1"),
        ("data.root", "", "--config.data.root=DIR"),
        ("data.depth_type", "dense", "kitti_raw has 'velodyne', 'groundtruth', ''"),
        ("data.jittering", (0.2, 0.2), "four values"),
        ("data.jittering", (0.2, 0.2, 0.2, 0.6), r"\(hue\) at most 0.5"),
        ("data.strides", (), "at least one stride"),
        ("data.shuffle", 1, "expected bool"),
        ("model.depth_net.dropout", -0.1, "expected 0 to 1"),
        ("model.depth_net.dropout", 1.0, "would drop everything"),
        ("model.pose_net.dropout", 0.5, "no pose network has dropout"),
        ("loss.num_scales", 5, "expected 1 to 4"),
        ("loss.photometric_reduce_op", "max", "one of 'min', 'mean'"),
        ("loss.photometric_reduce_op", "mean", "automask_loss=False"),
        ("loss.C1", float("nan"), "expected a finite number"),
        ("loss.C2", 0.0, "at least 1e-09"),
        ("optim.depth.lr", -1.0, "at least 0"),
        ("train.batch_size", 0, "at least 1"),
        ("train.accumulate", 5, "with train.batch_size=32"),
        ("model.batch_norm_groups", 5, "with train.batch_size=32.*use a divisor of 32"),
        ("model.batch_norm_groups", 0, "at least 1"),
        ("optim.scheduler", "OneCycle", "one of 'StepLR', 'CosineAnnealingLR', 'ExponentialLR'"),
        ("train.batch_size", True, "expected int"),
        ("train.num_steps", "600", "expected int"),
        ("data.image_shape", (10**400, 320), r"\(int\), expected int \(of 64 bits\)"),
        ("data.crop_eval_borders", (0, 10**300, 0, 1216), r"\[1\].*expected a finite number"),
        ("eval.min_depth", 90.0, "expected min < max"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(field, value, message):
    raw = loaded("kitti").to_dict()
    *path, name = field.split(".")
    group = raw
    for part in path:
        group = group[part]
    group[name] = value
    with pytest.raises(ConfigError, match=message) as error:
        config_lib.resolve(raw)
    assert f"config.{field}" in str(error.value)


def test_no_data_set_need_be_chosen():
    raw = config_lib.default()
    raw.data.name, raw.data.eval_split = "", "val"
    raw.data.more_eval = (config_lib.source(name="", split="val", input_depth_type="lidar"),)
    assert config_lib.resolve(raw).data.eval_names == ("none-val", "none-val-with_lidar")


def test_cameras_on_the_command_line_are_words_with_commas_between():
    raw = loaded("ddad")
    for given in (("camera_01,camera_05",), ("camera_01", "camera_05")):
        raw.data.cameras = given
        assert config_lib.resolve(raw).data.cameras == ("camera_01", "camera_05")
    raw.data.cameras = ("",)
    assert config_lib.resolve(raw).data.cameras == ()
    raw.data.cameras = (1,)
    with pytest.raises(ConfigError, match=r"data\.cameras\[0\]: given 1 \(int\)"):
        config_lib.resolve(raw)


def test_cameras_are_in_the_names_of_reports():
    data = config_lib.resolve(loaded("ddad_san")).data
    cameras = ("camera_01", "camera_05", "camera_06", "camera_09")
    assert [source.cameras for source in data.eval_sources] == [cameras, cameras]
    name = "ddad-val-camera_01-camera_05-camera_06-camera_09"
    assert data.eval_names == (f"{name}-with_lidar", name)
    assert config_lib.resolve(loaded("ddad")).data.eval_names == ("ddad-val-camera_01",)


def test_a_set_without_depth_leaves_the_evaluation_to_the_others():
    raw = loaded("cityscapes_to_kitti")
    assert config_lib.resolve(raw).data.eval_names == ("kitti_raw-eigen_test",)
    raw.data.more_eval = ()
    assert config_lib.resolve(raw).data.eval_names == ("cityscapes-val",)


def test_both_context_lengths_zero_are_refused():
    raw = loaded("kitti")
    raw.data.back_context = raw.data.forward_context = 0
    with pytest.raises(ConfigError, match="set one of them to 1"):
        config_lib.resolve(raw)


def test_all_problems_come_in_one_message():
    raw = loaded("kitti").to_dict()
    raw["data"]["colour"] = 1
    raw["optim"] = 3
    with pytest.raises(ConfigError) as error:
        config_lib.resolve(raw)
    for part in ("data.colour: unknown", "optim: given 3"):
        assert part in str(error.value)


def test_a_configuration_stored_before_a_field_existed_has_its_default():
    raw = loaded("kitti").to_dict()
    del raw["train"]["accumulate"]
    assert config_lib.resolve(raw).train.accumulate == 1


def test_dropout_reaches_the_depth_network_and_is_refused_where_there_is_none():
    raw = loaded("kitti")
    raw.model.depth_net.name, raw.model.depth_net.version = "PackNetSAN01", "1A"
    raw.model.depth_net.dropout = 0.5
    network: Any = Networks.from_config(config_lib.resolve(raw).model).depth_net
    assert network.dropout == 0.5
    raw.model.depth_net.name, raw.model.depth_net.version = "DepthResNet", "18"
    with pytest.raises(ConfigError, match=r"depth_net\.dropout: given 0\.5"):
        Networks.from_config(config_lib.resolve(raw).model)


def test_an_unknown_network_is_named():
    raw = loaded("kitti")
    raw.model.depth_net.version = "1Z"
    with pytest.raises(ConfigError, match="1Z"):
        Networks.from_config(config_lib.resolve(raw).model)


def mixed(**first_more):
    """KITTI, with rendered streets mixed in and evaluated on their own."""
    raw = loaded("kitti")
    street = {"name": "synthetic_drive", "depth_type": "dense"}
    raw.data.more_train = (config_lib.source(**street | {"split": "train", "repeat": 3}),)
    raw.data.more_eval = (
        config_lib.source(**street | {"split": "test"}),
        config_lib.source(name="kitti_raw", root="elsewhere", split="lists/other.txt"),
    )
    for name, value in first_more.items():
        raw.data.more_train[0][name] = value
    return raw


def test_further_sets_follow_the_first():
    data = config_lib.resolve(mixed()).data
    train, evaluation = data.train_sources, data.eval_sources
    assert [(s.title, s.repeat) for s in train] == [
        ("kitti_raw-eigen_zhou", 2),
        ("synthetic_drive-train", 3),
    ]
    assert [(s.title, s.root) for s in evaluation] == [
        ("kitti_raw-eigen_test", "somewhere"),
        ("synthetic_drive-test", ""),
        ("kitti_raw-other", "elsewhere"),
    ]
    assert data.eval_names == tuple(s.title for s in evaluation)


def test_a_set_alone_is_the_only_source():
    data = config_lib.resolve(loaded("demo")).data
    (train,), (evaluation,) = data.train_sources, data.eval_sources
    assert (train.title, evaluation.title) == ("synthetic_drive-train", "synthetic_drive-test")
    assert train.synthetic == evaluation.synthetic == data.synthetic
    assert train.synthetic.num_streets == 200


def test_json_brings_further_sets_back():
    config = config_lib.resolve(mixed())
    assert config_lib.resolve(json.loads(json.dumps(config_lib.to_json_dict(config)))) == config


def test_a_misspelt_field_of_a_further_set_fails_where_it_is_written():
    with pytest.raises(TypeError, match="rot"):
        config_lib.source(rot="x")
    with pytest.raises(AttributeError, match="root"):
        mixed().data.more_train[0].rot = "x"


@pytest.mark.parametrize(
    ("group", "field", "value", "message"),
    [
        ("more_train[0]", "split", "eigen_zhou", "'train' and 'test'"),
        ("more_train[0]", "depth_type", "velodyne", "synthetic_drive has 'dense', 'lidar', ''"),
        ("more_train[0]", "repeat", 0, "expected at least 1"),
        ("more_train[0]", "name", "nuscenes", "one of 'kitti_raw', 'kitti_odometry'"),
        ("more_train[0]", "synthetic.num_streets", 0, "expected at least 1"),
        ("more_train[0]", "synthetic.camera", "mirror", "one of 'pinhole', 'fisheye'"),
        ("more_train[0]", "cameras", ["camera_01"], "a single camera is all there is"),
        ("more_eval[1]", "cameras", ["camera_01"], "kitti_raw has one camera"),
        ("more_train[0]", "beams", 3, "one of 0, 1, 2, 4, 8, 16, 32"),
        ("more_train[0]", "beams", 4, "neither depth_type nor input_depth_type is 'velodyne'"),
        ("more_train[0]", "colour", 1, "unknown field"),
        ("more_eval[1]", "root", "", r"--config.data.more_eval\[1\].root=DIR"),
        ("more_eval[1]", "depth_type", "", "an evaluation needs depth"),
        ("more_eval[0]", "repeat", 2, "an evaluation sees a set once"),
    ],
)
def test_a_wrong_value_of_a_further_set_is_named_with_its_place(group, field, value, message):
    raw = config_lib.to_json_dict(config_lib.resolve(mixed()))
    name, index = group.rstrip("]").split("[")
    *path, last = field.split(".")
    fields = raw["data"][name][int(index)]
    for part in path:
        fields = fields[part]
    fields[last] = value
    with pytest.raises(ConfigError, match=message) as error:
        config_lib.resolve(raw)
    assert f"config.data.{group}.{field}: " in str(error.value)


def test_a_rig_of_mirrors_is_refused():
    raw = loaded("demo")
    raw.data.synthetic.camera, raw.data.synthetic.rig = "catadioptric", "six"
    with pytest.raises(ConfigError, match=r"data.synthetic.rig: .* sees all round"):
        config_lib.resolve(raw)


def test_input_depth_keeps_a_share_of_its_points():
    raw = loaded("demo")
    raw.data.input_depth_keep = (0.5, 0.2)
    with pytest.raises(ConfigError, match=r"input_depth_keep: given \(0.5, 0.2\)"):
        config_lib.resolve(raw)


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"input_depth_type": "velodyne"}, "kitti_raw-eigen_zhou-with_velodyne"),
        ({"input_depth_type": "velodyne", "beams": 4}, "kitti_raw-eigen_zhou-with_velodyne_4"),
        ({"input_depth_type": "groundtruth", "beams": 4}, "kitti_raw-eigen_zhou-with_groundtruth"),
        ({"beams": 4}, "kitti_raw-eigen_zhou"),
        ({"cameras": ("camera_01", "camera_09")}, "kitti_raw-eigen_zhou-camera_01-camera_09"),
    ],
)
def test_cameras_and_the_beams_that_a_network_is_given_are_in_the_name(fields, title):
    assert SourceConfig(**fields).title == title


def test_a_further_set_must_be_a_group_of_fields():
    raw = mixed()
    raw.data.more_train = ("kitti_raw",)
    with pytest.raises(ConfigError, match=r"more_train\[0\]: given 'kitti_raw', expected a group"):
        config_lib.resolve(raw)


def test_reports_of_one_split_are_told_apart_by_depth_type_or_refused():
    raw = loaded("demo")
    raw.data.more_eval = (
        config_lib.source(name="synthetic_drive", split="test", depth_type="lidar"),
    )
    names = config_lib.resolve(raw).data.eval_names
    assert names == ("synthetic_drive-test", "synthetic_drive-test-lidar")
    raw.data.more_eval *= 2
    with pytest.raises(ConfigError, match=r"more_eval: .*test-lidar, synthetic_drive-test-lidar"):
        config_lib.resolve(raw)


@pytest.mark.parametrize("borders", [(), (-352, 0, 0.5, 1216), (5, -7), (0.5, 100, 0, 0)])
def test_crops_keep_the_types_of_their_numbers(borders):
    raw = config_lib.default()
    raw.data.root = "somewhere"
    raw.data.crop_train_borders = raw.data.crop_eval_borders = borders
    through_json = json.loads(json.dumps(config_lib.to_json_dict(config_lib.resolve(raw))))
    for config in (config_lib.resolve(raw), config_lib.resolve(through_json)):
        assert config.data.crop_eval_borders == borders
        kinds = [type(value) for value in config.data.crop_train_borders]
        assert kinds == [type(value) for value in borders]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data.crop_train_borders": (1, 2, 3)}, "crop_train_borders.*height"),
        ({"data.crop_eval_borders": (100, 0.5)}, "crop_eval_borders.*height"),
        ({"data.crop_eval_borders": (0, 352.0, 0, 1216)}, "integer height"),
        ({"data.crop_eval_borders": (0, "352", 0, 1216)}, r"\[1\].*expected a finite number"),
        ({"data.crop_eval_borders": (5, 5), "eval.median_baseline": True}, "median_baseline"),
        ({"data.depth_type": "lidar"}, "'groundtruth'"),
    ],
)
def test_what_a_crop_or_depth_can_not_be_is_said(fields, message):
    raw = config_lib.default()
    raw.data.root = "somewhere"
    raw.update_from_flattened_dict(fields)
    with pytest.raises(ConfigError, match=message):
        config_lib.resolve(raw)


def test_rendered_streets_have_no_resized_variant():
    raw = config_lib.default()
    raw.data.name, raw.data.depth_type, raw.data.store_resized = "synthetic_drive", "dense", True
    raw.data.split, raw.data.eval_split = "train", "test"
    with pytest.raises(ConfigError, match="store_resized"):
        config_lib.resolve(raw)
