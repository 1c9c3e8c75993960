"""Whole checkpoints of the original become ours, tensor by tensor, or are refused."""

import re

import jax
import numpy as np
import original_files
import pytest
from golden.networks import NAMES
from golden.seeded import GOLDEN_DIR, seeded_state_dict
from torch_files import CONTAINERS

from packnet_jax.config import NetworkConfig
from packnet_jax.convert.inverse import to_state_dict
from packnet_jax.convert.original import import_original, read_original, template_of
from packnet_jax.convert.report import report
from packnet_jax.convert.rules import RULES
from packnet_jax.convert.state_dict import from_state_dict
from packnet_jax.errors import CheckpointError
from packnet_jax.networks import DEPTH_NETS

LARGE = ("DepthResNet_34", "DepthResNet_50", "PackNet01_1A", "PackNet01_1B", "PoseResNet_50")


def kind_of(network):
    return "depth_net" if network.partition("_")[0] in DEPTH_NETS else "pose_net"


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


@pytest.fixture(scope="module")
def seeded():
    """A checkpoint's content; tests take copies of what they change."""
    return original_files.content_of("DepthResNet_18", "PoseNet")


@pytest.fixture
def written(tmp_path):
    def write(content):
        return original_files.write(tmp_path / "some.ckpt", content)

    return write


@pytest.mark.slow
@pytest.mark.parametrize(
    "network", [pytest.param(n, marks=[pytest.mark.slow] if n in LARGE else []) for n in NAMES]
)
def test_every_network_from_both_containers_and_back(tmp_path, network):
    """The variables are those that the golden tests of the networks run with."""
    kind = kind_of(network)
    both = (network, "") if kind == "depth_net" else ("", network)
    content = original_files.content_of(*both)
    source = {
        name.removeprefix(f"model.{kind}."): tensor
        for name, tensor in content["state_dict"].items()
    }
    name, _, version = network.partition("_")
    template = template_of(kind, NetworkConfig(name, version))
    expected = from_state_dict(source, RULES[name], template)
    for container in CONTAINERS:
        path = original_files.write(tmp_path / "some.ckpt", content, container)
        imported = import_original(path)
        path.unlink()
        assert list(imported.networks) == [kind]
        model = imported.config.model
        assert (getattr(model, kind).name, getattr(model, kind).version) == (name, version)
        found = {collection: networks[kind] for collection, networks in imported.variables.items()}
        assert_equal(found["params"], expected["params"])
        assert_equal(found["batch_stats"], expected.get("batch_stats", {}))
    back = to_state_dict(expected, RULES[name])
    assert set(back) == set(source)
    for tensor in set(source) - set(imported.networks[kind].fit.unused):
        assert np.array_equal(back[tensor], source[tensor])


def test_both_networks_and_the_configuration(seeded, written):
    imported = import_original(written(seeded))
    assert list(imported.networks) == ["depth_net", "pose_net"]
    assert imported.epoch == original_files.EPOCH
    assert imported.left == ("optimizer", "scheduler")
    assert imported.config.model.pose_net.name == "PoseNet"
    assert imported.config.eval.crop == "garg"


@pytest.mark.slow
@pytest.mark.parametrize(
    "network", ["DepthResNet_18", "PackNetSlim01_1A", "PoseNet", "PoseResNet_18"]
)
def test_a_state_dict_alone_is_known_by_its_weights(written, network):
    kind = kind_of(network)
    state_dict = {f"model.{kind}.{n}": t for n, t in seeded_state_dict(network).items()}
    for content in (state_dict, {"state_dict": state_dict}):
        imported = import_original(written(content))
        name, _, version = network.partition("_")
        assert imported.networks[kind].network == NetworkConfig(name, version)
        assert imported.settings == {}


# --- names


def test_names_of_the_first_release():
    original = read_original(GOLDEN_DIR / "ckpt" / "tiny_old.pth.tar")
    assert {kind: list(tensors) for kind, tensors in original.networks.items()} == {
        "depth_net": [
            "pre_calc.conv_base.weight",
            "conv2.0.conv3.0.weight",  # the rules read it with and without the 0
            "conv2.0.conv3.0.bias",
            "conv2.0.conv3.weight",
            "conv3.1.conv1.normalize.weight",
        ],
        "pose_net": ["conv1.0.weight", "conv3.0.weight", "conv3.0.bias"],
    }


@pytest.mark.parametrize(
    "prefixes", [("disp_network.", "pose_network."), ("model.disp_network.", "model.pose_network.")]
)
def test_a_checkpoint_of_the_first_release(seeded, tmp_path, prefixes):
    new = ("model.depth_net.", "model.pose_net.")
    renamed = {}
    for name, tensor in seeded["state_dict"].items():
        for prefix, old in zip(new, prefixes, strict=True):
            name = name.replace(prefix, old)
        renamed[name] = tensor
    path = original_files.write(tmp_path / "old.pth.tar", {"state_dict": renamed}, "legacy")
    found, expected = (
        import_original(path),
        import_original(original_files.write(tmp_path / "new.ckpt", seeded)),
    )
    assert_equal(found.variables, expected.variables)
    assert found.config.model.depth_net == expected.config.model.depth_net


# --- every tensor once, every variable once


def test_all_that_does_not_match_is_in_one_message(seeded, written):
    state_dict = dict(seeded["state_dict"])
    del state_dict["model.depth_net.decoder.decoder.3.conv.conv.bias"]
    del state_dict["model.depth_net.encoder.encoder.bn1.running_var"]
    state_dict["model.depth_net.decoder.decoder.14.conv.bias"] = np.zeros(1, np.float32)
    state_dict["model.pose_net.conv1.0.bias"] = np.zeros(15, np.float32)
    state_dict["model.pose_net.conv2.0.weight"] = np.zeros((32, 16, 3, 3), np.float32)
    with pytest.raises(CheckpointError) as error:
        import_original(written(seeded | {"state_dict": state_dict}))
    message = str(error.value)
    for part in (
        "some.ckpt",
        "depth_net: not the weights of DepthResNet 18",
        "2 variables get no value: ",
        "params/decoder/upconv_3_1/conv/bias",
        "batch_stats/encoder/bn1/var",
        "1 tensors have no place in it: decoder.decoder.14.conv.bias",
        "pose_net: not the weights of PoseNet",
        "'conv1.0.bias' of shape (15,)",
        "expected (16,)",
        "'conv2.0.weight' of shape (32, 16, 3, 3)",
        "expected (5, 5, 16, 32)",
    ):
        assert part in message


def test_weights_of_another_network_are_named(seeded, written):
    content = seeded | {"config": original_files.config_of("DepthResNet_34", "PoseResNet_18")}
    with pytest.raises(CheckpointError) as error:
        import_original(written(content))
    assert "not the weights of DepthResNet 34 (they are those of DepthResNet 18)" in str(
        error.value
    )
    assert "not the weights of PoseResNet 18 (they are those of PoseNet)" in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state_dict": {}}, "0 entries are no tensors"),
        ({"state_dict": {"fc.weight": np.zeros(3)}}, "model.depth_net.* and model.pose_net.*"),
        (
            {"state_dict": {"model.pose_net.conv1.0.bias": "no tensor"}},
            "model.pose_net.conv1.0.bias",
        ),
        ({"state_dict": {"model.extra": np.zeros(3)}}, "(model.extra)"),
        ({"config": ["model"]}, "its configuration is a list"),
        ({"config": {"model": {"depth_net": {"name": "MyNet"}}}}, "unknown depth network 'MyNet'"),
        ({"config": {"model": {"depth_net": {"name": ["x"]}}}}, "model.depth_net.name"),
    ],
)
def test_other_content_is_refused(seeded, written, change, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        import_original(written(seeded | change))


def test_what_no_known_network_has_is_refused(written):
    state_dict = {"model.depth_net.layer.weight": np.zeros(3)}
    with pytest.raises(CheckpointError, match=r"none that is known here .*layer\.weight"):
        import_original(written({"state_dict": state_dict}))


# --- one network of two


def test_one_network_alone(seeded, written):
    path = written(seeded)
    whole = import_original(path)
    for kind, other in (("depth_net", "pose_net"), ("pose_net", "depth_net")):
        part = import_original(path, only=kind)
        assert list(part.networks) == [kind]
        assert_equal(part.variables["params"][kind], whole.variables["params"][kind])
        assert getattr(part.config.model, kind) == getattr(whole.config.model, kind)
        assert getattr(part.config.model, other).name == ""
        assert other in part.left


def test_a_network_that_is_missing_must_be_asked_for(written):
    content = original_files.content_of("", "PoseNet")
    content["config"] = original_files.config_of("DepthResNet_18", "PoseNet")
    path = written(content)
    with pytest.raises(CheckpointError, match="holds no depth_net, only a pose_net, which --only"):
        import_original(path)
    assert list(import_original(path, only="pose_net").networks) == ["pose_net"]
    with pytest.raises(CheckpointError, match="holds no depth_net"):
        import_original(path, only="depth_net")


def test_the_other_network_may_then_be_damaged(seeded, written):
    state_dict = dict(seeded["state_dict"])
    del state_dict["model.pose_net.conv1.0.bias"]
    path = written(seeded | {"state_dict": state_dict})
    assert list(import_original(path, only="depth_net").networks) == ["depth_net"]


# --- the report


def test_entries_are_named_whatever_their_key_is(seeded, written):
    path = written({**seeded, 5: 1})
    imported = import_original(path)
    assert imported.left == ("optimizer", "scheduler", "5")
    assert "Not needed: " in report(imported, path)


def test_the_report_names_everything(seeded, written):
    path = written(seeded)
    seeded = dict(seeded)
    text = report(import_original(path), path)
    for part in (
        "some.ckpt, after epoch 7",
        "depth_net = DepthResNet 18",
        "pose_net = PoseNet",
        "encoder",
        "decoder",
        "20 x *.num_batches_tracked, depth_net.encoder.encoder.fc.weight",
        "optimizer, scheduler",
        "name='golden-run'",
    ):
        assert part in text
    # Parameters and running statistics of both networks.
    numbers = [int(n.replace(",", "")) for n in re.findall(r"=.* tensors +([\d,]+)", text)]
    fc, counters = 1000 * 512 + 1000, 20
    total = sum(t.size for t in seeded["state_dict"].values())
    assert sum(numbers) == total - fc - counters
