"""Settings of the original become ours, or are named; and ours become the original's."""

import copy
import dataclasses
import json

import numpy as np
import original_files
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from packnet_jax import config as config_lib
from packnet_jax.convert.yacs_config import (
    BUILT_IN,
    MODEL_NAMES,
    OBJECTIVES,
    SAME,
    to_yacs,
    translate,
)
from packnet_jax.convert.yacs_defaults import DEFAULTS
from packnet_jax.errors import CheckpointError

TREE = original_files.CONFIG
"""Of a run of the original with every setting it has."""

OTHER = {
    "arch.seed": 7,
    "arch.max_epochs": 3,
    "model.scheduler.name": "ExponentialLR",
    "model.params.crop": "",
    "model.params.scale_output": "top-center",
    "model.loss.num_scales": 2,
    "model.loss.upsample_depth_maps": False,
    "model.loss.padding_mode": "border",
    "model.loss.automask_loss": False,
    "model.loss.photometric_reduce_op": "mean",
    "model.loss.supervised_method": "sparse-silog",
    "model.loss.supervised_num_scales": 1,
    "datasets.augmentation.jittering": (),
    "datasets.augmentation.crop_train_borders": (-352, 0, 0.5, 1216),
    "datasets.augmentation.crop_eval_borders": (-352, 0, 0.5, 1216),
}
"""Values that differ from those of the tree, where others by a rule would be no good."""


def changed(**settings):
    """The tree with other settings; '__' stands for the dot."""
    flat = flatten_dict(TREE, sep=".")
    flat |= {key.replace("__", "."): value for key, value in settings.items()}
    return unflatten_dict(flat, sep=".")


def plain(tree):
    """As JSON has it: tuples are lists."""
    return json.loads(json.dumps(tree))


def test_the_settings_of_the_original_are_all_known():
    assert set(flatten_dict(TREE, sep=".")) == set(flatten_dict(DEFAULTS, sep="."))


def test_a_run_of_the_original():
    config, unknown, without_place = translate(TREE)
    assert unknown == {}
    assert (config.model.depth_net.name, config.model.depth_net.version) == ("DepthResNet", "18")
    assert (config.model.pose_net.name, config.model.pose_net.version) == ("PoseNet", "")
    data = config.data
    assert (data.name, data.root) == ("kitti_raw", "/data/datasets/KITTI_raw")
    assert (data.split, data.eval_split, data.repeat) == ("eigen_zhou", "eigen_test", 2)
    assert data.image_shape == (192, 640)
    assert (config.eval.crop, config.eval.max_depth) == ("garg", 80.0)
    assert config.train.batch_size == 4
    assert set(without_place) == {
        "name",
        "config",
        "default",
        *(f"datasets.validation.{field}" for field in ("dataset", "path", "split", "depth_type")),
    }


@pytest.mark.parametrize("key", SAME)
def test_a_setting_with_two_names_is_carried_over_both_ways(key):
    before = flatten_dict(TREE, sep=".")[key]
    value = (
        OTHER[key] if key in OTHER else (before + 1 if type(before) is int else before / 2 + 0.1)
    )
    others = {"model.loss.automask_loss": False}  # which 'mean' goes without
    settings = others | {key: value}
    translated = translate(changed(**{k.replace(".", "__"): v for k, v in settings.items()}))
    assert key not in translated.without_place
    flat = flatten_dict(config_lib.to_json_dict(translated.config), sep=".")
    assert flat[SAME[key]] == value
    back = flatten_dict(to_yacs(translated.config, {}), sep=".")
    assert back[key] == value


def test_there_and_back_is_the_same_tree():
    translated = translate(TREE)
    expected = flatten_dict(plain(TREE) | {"prepared": True}, sep=".")
    assert flatten_dict(plain(to_yacs(translated.config, TREE)), sep=".") == expected
    without_origin = flatten_dict(plain(to_yacs(translated.config, {})), sep=".")
    for key in set(expected) - set(translated.without_place):
        if not key.startswith("datasets.validation."):  # what is evaluated here, too
            assert without_origin[key] == expected[key]


def test_what_has_no_place_here_comes_back_unless_it_was_changed():
    tree = changed(
        model__scheduler__name="ReduceLROnPlateau",
        model__loss__supervised_method="dense-l1",
        datasets__augmentation__image_shape=(),
    )
    config = translate(tree).config
    expected = plain(tree) | {"prepared": True}
    assert plain(to_yacs(config, plain(tree))) == expected
    optim = dataclasses.replace(config.optim, scheduler="ExponentialLR", gamma=0.9)
    data = dataclasses.replace(config.data, image_shape=(64, 96), split="eigen_other")
    config = dataclasses.replace(config, optim=optim, data=data)
    back = to_yacs(config, plain(tree))
    assert back["model"]["scheduler"]["name"] == "ExponentialLR"
    assert back["model"]["scheduler"]["gamma"] == 0.9
    assert back["model"]["loss"]["supervised_method"] == "dense-l1"
    assert back["datasets"]["augmentation"]["image_shape"] == (64, 96)
    assert back["datasets"]["train"]["split"] == ["data_splits/eigen_other_files.txt"]


def test_what_a_checkpoint_does_not_say_is_the_originals_default():
    config = translate({}).config
    assert (config.eval.crop, config.optim.step_size, config.train.batch_size) == ("", 10, 8)
    assert config.data.name == ""
    tree = to_yacs(config, {})
    untouched = ("model.name", "datasets.augmentation.image_shape", "prepared")
    for key, value in flatten_dict(DEFAULTS, sep=".").items():
        if key not in untouched:
            assert flatten_dict(tree, sep=".")[key] == value


def test_settings_that_nobody_knows_are_named():
    tree = copy.deepcopy(TREE) | {"colour": 3}
    tree["model"]["loss"] = tree["model"]["loss"] | {"new_weight": 0.5}
    assert translate(tree).unknown == {"colour": 3, "model.loss.new_weight": 0.5}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.name", "OtherModel"),
        ("model.name", "SemiSupCompletionModel"),  # without input depth
        ("model.optimizer.name", "SGD"),
        ("model.scheduler.name", "ReduceLROnPlateau"),
        ("model.loss.rotation_mode", "quaternion"),
        ("model.loss.photometric_reduce_op", "mean"),  # with automasking
        ("model.loss.supervised_loss_weight", 1.5),
        ("model.loss.supervised_method", "dense-l1"),
        ("model.loss.num_scales", 0),
        ("datasets.augmentation.jittering", (0.2, 0.2)),
        ("datasets.train.cameras", [["camera_01"]]),
        ("arch.seed", -1),
    ],
)
def test_settings_of_training_without_a_place_here_are_named(key, value):
    translated = translate(changed(**{key.replace(".", "__"): value}))
    assert translated.without_place[key] == value
    if key in SAME:  # our default stands
        flat = flatten_dict(config_lib.to_json_dict(translated.config), sep=".")
        assert flat[SAME[key]] == flatten_dict(config_lib.default().to_dict(), sep=".")[SAME[key]]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.params.crop", "centre", "config.eval.crop"),
        ("model.params.scale_output", "nearest", "config.eval.scale_output"),
        ("model.params.max_depth", "80", "config.eval.max_depth"),
        ("datasets.augmentation.image_shape", (190, 640), "config.data.image_shape"),
        ("datasets.augmentation.crop_eval_borders", (1, 2, 3), "config.data.crop_train_borders"),
        ("model.depth_net.name", 3, "config.model.depth_net.name"),
    ],
)
def test_what_decides_the_prediction_and_its_score_must_fit(key, value, message):
    with pytest.raises(CheckpointError, match=message):
        translate(changed(**{key.replace(".", "__"): value}))


@pytest.mark.parametrize("tree", [{1: 2}, {"model": {3: 4}}, [1]])
def test_what_is_no_tree_of_names_is_refused(tree):
    with pytest.raises(CheckpointError, match="no tree of named settings"):
        translate(tree)


@pytest.mark.parametrize("value", [np.zeros(3), [np.zeros(3)], b"bytes", {1, 2}])
def test_what_is_no_setting_is_refused(value):
    with pytest.raises(CheckpointError, match=r"more than settings: arch\.seed"):
        translate(changed(arch__seed=value))


@pytest.mark.parametrize("version", ["18pt", "18"])
def test_weights_from_imagenet_are_in_the_checkpoint(version):
    network = translate(changed(model__depth_net__version=version)).config.model.depth_net
    assert (network.version, network.imagenet_weights) == ("18", "")
    trained_here = config_lib.default()
    trained_here.data.root = "somewhere"
    trained_here.model.depth_net.version = version
    trained_here.model.depth_net.imagenet_weights = "resnet18.pth" if version == "18pt" else ""
    tree = to_yacs(config_lib.resolve(trained_here), {})
    assert tree["model"]["depth_net"]["version"] == "18"


# --- objectives


def learning(name, **settings):
    """The tree of a run of that class of the original, with depth beside the pictures."""
    depth = {f"datasets__{part}__input_depth_type": ["velodyne"] for part in ("train", "test")}
    return changed(model__name=name, **depth, **settings)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_class_of_the_original_is_an_objective(name):
    translated = translate(learning(name))
    assert translated.config.objective == OBJECTIVES[name]
    assert "model.name" not in translated.without_place
    kept = to_yacs(translated.config, plain(learning(name)))
    assert kept["model"]["name"] == (name or "SelfSupModel")


@pytest.mark.parametrize("objective", MODEL_NAMES)
def test_each_objective_becomes_a_class_that_the_original_can_build(objective):
    config = dataclasses.replace(translate(learning("")).config, objective=objective)
    name = to_yacs(config, {})["model"]["name"]
    assert name == to_yacs(config, plain(learning("SelfSupModel")))["model"]["name"]
    if objective in ("velocity", "reprojected"):
        assert name == "SelfSupModel"
    else:
        assert OBJECTIVES[name] == objective


def test_measured_depth_alone_needs_no_neighbours():
    alone = {"datasets__train__back_context": 0, "datasets__train__forward_context": 0}
    alone["model__loss__supervised_loss_weight"] = 1.0
    data = translate(learning("SemiSupModel", **alone)).config.data
    assert (data.back_context, data.forward_context) == (0, 0)
    translated = translate(learning("SelfSupModel", **alone))  # which the original can not train
    assert translated.config.data.forward_context == 1
    assert translated.without_place == {
        **translate(learning("SelfSupModel")).without_place,
        "datasets.train.forward_context": 0,
    }


def test_a_weight_that_its_objective_does_not_have_is_named():
    translated = translate(learning("SemiSupModel", model__loss__supervised_loss_weight=0.0))
    assert translated.config.loss.supervised_loss_weight == 0.9
    assert translated.without_place["model.loss.supervised_loss_weight"] == 0.0


# --- pictures and sets


def test_the_size_of_pictures_that_are_only_cropped():
    shape = {"datasets__augmentation__image_shape": ()}
    crop = {"datasets__augmentation__crop_eval_borders": (-352, 0, 0.5, 1216)}
    assert translate(changed(**shape, **crop)).config.data.image_shape == (352, 1216)
    named = translate(changed(**shape)).without_place
    assert named["datasets.augmentation.image_shape"] == "the picture's own size"


def lists(part, **columns):
    return {f"datasets__{part}__{field}": column for field, column in columns.items()}


def test_several_sets_and_lists_of_one():
    kitti = {"dataset": ["KITTI"], "path": ["/kitti"], "depth_type": ["groundtruth"]}
    tree = changed(
        **lists("train", **kitti, split=["a.txt", "data_splits/b_files.txt"], repeat=[2, 3]),
        **lists("test", **kitti, split=["eigen_test.txt", "other.txt"]),
    )
    data = translate(tree).config.data
    found = [(s.root, s.split, s.depth_type, s.repeat) for s in data.train_sources]
    assert found == [("/kitti", "a.txt", "groundtruth", 2), ("/kitti", "b", "groundtruth", 3)]
    assert [s.split for s in data.eval_sources] == ["eigen_test.txt", "other.txt"]
    back = to_yacs(translate(tree).config, {})["datasets"]
    assert back["train"]["split"] == ["a.txt", "data_splits/b_files.txt"]
    assert back["train"]["repeat"] == [2, 3]
    assert back["test"]["dataset"] == back["validation"]["dataset"] == ["KITTI", "KITTI"]


def test_the_validation_stands_for_a_missing_test():
    empty = {"dataset": [], "path": [], "split": [], "depth_type": [""]}
    translated = translate(changed(**lists("test", **empty)))
    assert translated.config.data.eval_split == "eigen_val"
    assert translated.config.data.more_eval[0].split == "eigen_test"
    assert "datasets.validation.split" not in translated.without_place


def test_the_cameras_of_ddad_are_sets_of_their_own():
    ddad = {"dataset": ["DGP"], "path": ["/ddad.json"], "depth_type": ["lidar"]}
    tree = changed(
        **lists("train", **ddad, split=["train"], cameras=[["camera_01"], ["camera_05"]]),
        **lists("test", **ddad, split=["val"], cameras=[["camera_01"]]),
    )
    translated = translate(tree)
    data = translated.config.data
    assert [(s.name, s.root, s.split, s.cameras) for s in data.train_sources] == [
        ("ddad", "/ddad.json", "train", ("camera_01",)),
        ("ddad", "/ddad.json", "train", ("camera_05",)),
    ]
    assert data.eval_names == ("ddad-val-camera_01",)
    assert not [key for key in translated.without_place if key.startswith("datasets.t")]
    back = to_yacs(translated.config, {})["datasets"]
    assert back["train"]["cameras"] == [["camera_01"], ["camera_05"]]
    assert back["train"]["split"] == ["train", "train"]
    assert back["test"]["dataset"] == ["DGP"]


def test_sets_that_are_not_here_are_named():
    frames = {"dataset": ["Other"], "path": ["/frames"], "depth_type": ["lidar"]}
    tree = changed(
        **lists("train", **frames, split=["{:05}"], cameras=[["one"]]),
        **lists("test", **frames, split=["{:05}"]),
    )
    translated = translate(tree)
    assert translated.config.data.name == ""
    for key in ("train.dataset", "train.path", "train.split", "train.cameras", "test.depth_type"):
        assert f"datasets.{key}" in translated.without_place
    back = to_yacs(translated.config, tree)["datasets"]
    assert back["train"] == plain(tree)["datasets"]["train"]


def test_where_training_differs_the_evaluated_set_decides():
    other = lists("test", path=["/elsewhere"], depth_type=["groundtruth"])
    translated = translate(changed(**other))
    data = translated.config.data
    assert (data.root, data.depth_type) == ("/elsewhere", "groundtruth")
    assert translated.without_place["datasets.train.path"] == ["/data/datasets/KITTI_raw"]
    assert translated.without_place["datasets.train.depth_type"] == ["velodyne"]


def test_what_is_built_in_is_the_originals_own():
    for key, value in BUILT_IN.items():
        default = flatten_dict(DEFAULTS, sep=".")[key]
        assert default in ("", value)


def test_sets_with_and_without_input_depth_are_two():
    config = translate(
        changed(
            datasets__train__input_depth_type=["velodyne"],
            datasets__test__path=[],
            datasets__validation__split=["data_splits/eigen_test_files.txt"],
            datasets__validation__depth_type=["velodyne"],
            datasets__validation__input_depth_type=["velodyne", ""],
        )
    ).config
    assert [source.input_depth_type for source in config.data.eval_sources] == ["velodyne", ""]
    tree = to_yacs(config, {})
    assert tree["datasets"]["test"]["input_depth_type"] == ["velodyne", ""]
