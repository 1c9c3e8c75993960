import functools
import re

import jax
import numpy as np
import pytest
from torch_files import Parameter, write_legacy, write_zip
from torchvision_resnets import torchvision_state_dict

from packnet_jax import config as config_lib
from packnet_jax.convert.imagenet import imagenet_encoder, with_imagenet_encoders
from packnet_jax.errors import CheckpointError, ConfigError
from packnet_jax.networks.resnet import ResNetEncoder

SHAPE = (32, 32)


def encoder_template(depth=18, num_images=1):
    """Shapes of the variables of one encoder."""
    images = np.zeros((1, *SHAPE, 3 * num_images), np.float32)
    init = functools.partial(ResNetEncoder(depth).init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), images)
    return {collection: {"encoder": shapes[collection]} for collection in shapes}


@pytest.fixture(scope="module")
def state_dict():
    return torchvision_state_dict()


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize("counters", [True, False], ids=["new", "before torch 0.4"])
def test_every_variable_of_the_encoder_is_filled(depth, counters):
    template = encoder_template(depth)
    tensors = torchvision_state_dict(depth, counters=counters)
    encoder = imagenet_encoder(template, tensors)
    shapes = jax.tree.map(lambda leaf: leaf.shape, template)
    assert jax.tree.map(lambda leaf: leaf.shape, encoder) == shapes
    params = encoder["params"]["encoder"]
    np.testing.assert_array_equal(
        params["conv1"]["kernel"], tensors["conv1.weight"].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(
        params["layer3_1"]["conv2"]["kernel"],
        tensors["layer3.1.conv2.weight"].transpose(2, 3, 1, 0),
    )
    np.testing.assert_array_equal(
        encoder["batch_stats"]["encoder"]["layer2_0"]["shortcut"]["bn"]["var"],
        tensors["layer2.0.downsample.1.running_var"],
    )


@pytest.mark.slow
def test_stacked_equal_images_give_the_features_of_one(state_dict):
    image = np.random.default_rng(0).random((1, *SHAPE, 3), np.float32)
    apply = jax.jit(functools.partial(ResNetEncoder(18).apply, train=False))
    features = []
    for num_images in (1, 2):
        encoder = imagenet_encoder(encoder_template(num_images=num_images), state_dict)
        own = {collection: tree["encoder"] for collection, tree in encoder.items()}
        features.append(apply(own, np.concatenate([image] * num_images, axis=-1)))
    for one, two in zip(*features, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-5 * np.abs(one).max())


def test_an_encoder_of_two_images_has_half_of_the_weights_twice(state_dict):
    encoder = imagenet_encoder(encoder_template(num_images=2), state_dict)
    kernel = encoder["params"]["encoder"]["conv1"]["kernel"]
    expected = state_dict["conv1.weight"].transpose(2, 3, 1, 0) / 2
    np.testing.assert_array_equal(kernel[:, :, :3], expected)
    np.testing.assert_array_equal(kernel[:, :, 3:], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("conv1.weight"), "params/encoder/conv1/kernel"),
        (lambda d: d.pop("layer4.1.bn2.running_var"), "batch_stats/encoder/layer4_1/bn2/var"),
        (lambda d: d.update({"layer5.0.conv1.weight": d["conv1.weight"]}), "layer5.0.conv1.weight"),
        (lambda d: d.update({"fc.scale": d["fc.bias"]}), "no place in it: fc.scale"),
        (lambda d: d.update({"conv1.weight": d["conv1.weight"][0]}), "4 axes"),
        (lambda d: d.update({"conv1.weight": d["conv1.weight"][:, :2]}), "expected (7, 7, 3, 64)"),
        (lambda d: d.update({"epoch": 3}), "tensors alone"),
    ],
)
def test_every_tensor_must_fit(state_dict, change, message):
    tensors = dict(state_dict)
    change(tensors)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        imagenet_encoder(encoder_template(), tensors)


def monodepth2_file(tensors):
    """An encoder as monodepth2 stores it."""
    named = {f"encoder.{name}": tensor for name, tensor in tensors.items()}
    return {**named, "height": 192, "width": 640, "use_stereo": False}


@pytest.mark.parametrize("num_images", [1, 2])
def test_encoders_of_monodepth2_are_the_same_under_other_names(state_dict, num_images):
    template = encoder_template(num_images=num_images)
    found = imagenet_encoder(template, monodepth2_file(state_dict))
    jax.tree.map(np.testing.assert_array_equal, found, imagenet_encoder(template, state_dict))


def test_a_first_convolution_for_two_images_stays_as_it_is(state_dict):
    """monodepth2's pose_encoder.pth."""
    weights = np.random.default_rng(0).random((64, 6, 7, 7), np.float32)
    content = monodepth2_file(state_dict | {"conv1.weight": weights})
    encoder = imagenet_encoder(encoder_template(num_images=2), content)
    kernel = encoder["params"]["encoder"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, weights.transpose(2, 3, 1, 0))
    with pytest.raises(CheckpointError, match=r"expected \(7, 7, 3, 64\)"):
        imagenet_encoder(encoder_template(), content)


@pytest.mark.parametrize("content", [{}, [], {"height": 192}, {3: np.zeros(3)}])
def test_other_contents_are_refused(content):
    with pytest.raises(CheckpointError):
        imagenet_encoder(encoder_template(), content)


def test_another_depth_is_refused(state_dict):
    with pytest.raises(CheckpointError, match="choose the network and version"):
        imagenet_encoder(encoder_template(depth=50), state_dict)


def model_config(**weights):
    raw = config_lib.default()
    for name, path in weights.items():
        raw.model[name].version = "18pt"
        raw.model[name].imagenet_weights = str(path)
    raw.data.root = "somewhere"
    return config_lib.resolve(raw).model


def both_templates():
    """Encoders beside a decoder that must stay as it is."""
    kept = {"kernel": np.ones(3, np.float32)}
    depth_net, pose_net = encoder_template(), encoder_template(num_images=2)
    return {
        "params": {
            "depth_net": depth_net["params"] | {"decoder": kept},
            "pose_net": pose_net["params"] | {"decoder": kept},
        },
        "batch_stats": {
            "depth_net": depth_net["batch_stats"],
            "pose_net": pose_net["batch_stats"],
        },
    }


@pytest.mark.parametrize("write", [write_legacy, write_zip])
def test_files_start_the_encoders_that_the_configuration_names(tmp_path, state_dict, write):
    parameters = {
        name: Parameter(tensor) if name.endswith((".weight", ".bias")) else tensor
        for name, tensor in state_dict.items()
    }
    path = write(tmp_path / "resnet18.pth", parameters)
    variables = both_templates()
    started = with_imagenet_encoders(variables, model_config(pose_net=path))
    assert started["params"]["depth_net"] == variables["params"]["depth_net"]
    assert started["params"]["pose_net"]["decoder"] is variables["params"]["pose_net"]["decoder"]
    assert jax.tree.structure(started) == jax.tree.structure(variables)
    for tree, start in ((variables, jax.ShapeDtypeStruct), (started, np.ndarray)):
        assert isinstance(tree["params"]["pose_net"]["encoder"]["conv1"]["kernel"], start)
    kernel = started["params"]["pose_net"]["encoder"]["layer1_0"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, state_dict["layer1.0.conv1.weight"].transpose(2, 3, 1, 0))
    both = with_imagenet_encoders(variables, model_config(depth_net=path, pose_net=path))
    kernels = [both["params"][name]["encoder"]["conv1"]["kernel"] for name in both["params"]]
    np.testing.assert_array_equal(kernels[0][:, :, :3], 2 * kernels[1][:, :, :3])


def test_a_file_that_can_not_be_read_is_named_with_its_field(tmp_path):
    path = tmp_path / "absent.pth"
    with pytest.raises(
        CheckpointError, match=r"config\.model\.depth_net\.imagenet_weights=.*absent"
    ):
        with_imagenet_encoders(both_templates(), model_config(depth_net=path))


@pytest.mark.parametrize(
    ("name", "version", "weights", "message"),
    [
        ("DepthResNet", "18pt", "", "give the path of torchvision's resnet18 .pth file"),
        ("DepthResNet", "18", "resnet18.pth", "does not start from ImageNet weights"),
        ("PackNet01", "1A", "resnet18.pth", "does not start from ImageNet weights"),
    ],
)
def test_the_file_and_the_version_go_together(name, version, weights, message):
    raw = config_lib.default()
    raw.data.root = "somewhere"
    network = raw.model.depth_net
    network.name, network.version, network.imagenet_weights = name, version, weights
    with pytest.raises(ConfigError, match=rf"model\.depth_net\.imagenet_weights.*{message}"):
        config_lib.resolve(raw)
