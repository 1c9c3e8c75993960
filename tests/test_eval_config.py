"""An evaluation's configuration: which of the three sources decides what."""

import dataclasses

import pytest

from packnet_jax import config as config_lib
from packnet_jax.config import Config, NetworkConfig
from packnet_jax.errors import ConfigError
from packnet_jax.eval_config import EvaluationConfig, Given, for_evaluation


@pytest.fixture
def stored() -> Config:
    """Of a PackNet trained on rendered streets."""
    raw = config_lib.default()
    raw.model.depth_net.name, raw.model.depth_net.version = "PackNet01", "1A"
    raw.model.pose_net.name, raw.model.pose_net.version = "PoseNet", ""
    raw.data.name, raw.data.depth_type = "synthetic_drive", "dense"
    raw.data.split, raw.data.eval_split = "train", "test"
    raw.data.image_shape = (96, 320)
    raw.data.crop_eval_borders = (-96, 0, 0.5, 320)
    raw.eval.crop, raw.eval.max_depth = "", 50.0
    raw.eval.scale_output = "top-center"
    raw.eval.batch_size = 7
    return config_lib.resolve(raw)


def given(file=None, **explicit) -> Given:
    """`explicit` has double underscores for dots."""
    raw = config_lib.default()
    if file is not None:
        raw.data.root = "KITTI"
        raw.data.num_threads = 2
        raw.eval.batch_size = 3
    explicit = {name.replace("__", "."): value for name, value in explicit.items()}
    raw.update_from_flattened_dict(explicit)
    return Given(file, raw, explicit)


def combined(stored, *args, **explicit) -> Config:
    return for_evaluation(stored, given(*args, **explicit)).config


def test_the_checkpoint_gives_network_shape_and_protocol_and_the_file_all_else(stored):
    config = combined(stored, "kitti.py")
    assert config.model == stored.model
    assert config.data.image_shape == (96, 320)
    assert config.data.crop_eval_borders == (-96, 0, 0.5, 320)
    protocol = {"crop": "", "max_depth": 50.0, "scale_output": "top-center", "batch_size": 3}
    assert config.eval == dataclasses.replace(config_lib.EvalConfig(), **protocol)
    assert (config.data.name, config.data.root) == ("kitti_raw", "KITTI")
    assert config.data.num_threads == 2


def test_without_a_file_the_checkpoint_gives_everything(stored):
    assert combined(stored) == stored


def test_an_evaluation_need_not_have_what_training_asks_for(stored):
    """Depth that a network learnt to complete can be left out when it is evaluated."""
    data = dataclasses.replace(stored.data, depth_type="lidar", input_depth_type="lidar")
    stored = dataclasses.replace(stored, objective="completion", data=data)
    config = combined(stored, data__input_depth_type="")
    assert config.objective == "completion"
    assert config.data.eval_names == ("synthetic_drive-test",)
    with pytest.raises(ConfigError, match=r"data\.input_depth_type: empty, but objective"):
        config_lib.resolve(config_lib.to_json_dict(config))


def test_flags_win_over_both(stored):
    flags = {"data__image_shape": (64, 64), "data__root": "there", "eval__max_depth": 20.0}
    config = combined(stored, "kitti.py", **flags)
    assert config.data.image_shape == (64, 64)
    assert config.data.root == "there"
    assert config.eval.max_depth == 20
    assert config.eval.crop == ""
    without_file = combined(stored, **flags)
    assert without_file.data.image_shape == (64, 64)
    assert (without_file.data.name, without_file.eval.batch_size) == ("synthetic_drive", 7)


def test_a_flag_that_says_the_default_is_explicit_all_the_same(stored):
    assert combined(stored, eval__crop="garg").eval.crop == "garg"


def test_the_files_own_networks_do_not_matter_but_a_flag_may_not_ask_for_others(stored):
    with pytest.raises(ConfigError, match="the checkpoint holds PackNet01 1A"):
        combined(stored, "kitti.py", model__depth_net__version="1B")
    assert combined(stored, model__depth_net__version="1A") == stored


def test_whether_encoders_started_from_imagenet_makes_no_other_network(stored):
    network = NetworkConfig("DepthResNet", "18pt", "resnet18.pth")
    stored = dataclasses.replace(stored, model=dataclasses.replace(stored.model, depth_net=network))
    flags = {"model__depth_net__version": "18", "model__depth_net__imagenet_weights": ""}
    assert combined(stored, **flags).model.depth_net == NetworkConfig("DepthResNet", "18")


def test_what_the_checkpoint_does_not_say_is_not_decided_by_it(stored):
    unsaid = ("data.image_shape", "eval.crop")
    config, origin = for_evaluation(stored, given("kitti.py"), unsaid=unsaid)
    assert (config.data.image_shape, config.eval.crop) == ((192, 640), "garg")
    assert config.eval.max_depth == 50
    assert "data.image_shape = (192, 640), which the checkpoint does not say\n" in origin
    without_file, origin = for_evaluation(stored, given(eval__crop="garg"), unsaid=unsaid)
    assert (without_file.data.image_shape, without_file.eval.crop) == ((96, 320), "garg")
    assert "does not say: the default; a flag may set it" in origin
    assert origin.count("eval.crop") == 1


def test_of_a_pose_network_the_checkpoint_gives_what_it_sees(stored):
    data = dataclasses.replace(stored.data, back_context=2, crop_train_borders=(-96, 0, 0.5, 320))
    stored = dataclasses.replace(stored, data=data)
    found = for_evaluation(stored, given("kitti.py"), kind="pose_net")
    assert found.config.data.back_context == 2
    assert found.config.data.crop_train_borders == (-96, 0, 0.5, 320)
    assert found.config.data.crop_eval_borders == ()  # says nothing of it
    assert found.config.eval.max_depth == 80
    assert "model.pose_net.name = 'PoseNet'" in found.origin
    assert "depth_net" not in found.origin
    with pytest.raises(ConfigError, match="the checkpoint holds PoseNet"):
        for_evaluation(stored, given(model__pose_net__name="PoseResNet"), kind="pose_net")


def test_what_does_not_hold_together_is_named(stored):
    with pytest.raises(ConfigError, match=r"given 60\.0 and 50\.0, expected min < max"):
        combined(stored, eval__min_depth=60.0)
    with pytest.raises(ConfigError, match=r"config\.data\.root: empty"):
        combined(stored, data__name="kitti_raw", data__depth_type="velodyne")


def test_the_sources_are_listed(stored):
    found: EvaluationConfig = for_evaluation(stored, given("kitti.py", data__tfds_dir="built"))
    for words in (
        "The checkpoint decides",
        "model.depth_net.name = 'PackNet01'  (and not 'DepthResNet', as in kitti.py)",
        "eval.min_depth = 0.0\n",
        "data.image_shape = (96, 320)  (and not (192, 640), as in kitti.py)",
        "kitti.py gives all else",
        "kitti_raw-eigen_test: depth 'velodyne', input depth '', in KITTI",
        "The command line sets\n    data.tfds_dir = 'built'",
    ):
        assert words in found.origin
    assert "pose_net" not in found.origin
    alone = for_evaluation(stored, given()).origin
    assert "no --config" in alone
    assert "synthetic_drive-test" in alone
    assert "The command line sets nothing" in alone
