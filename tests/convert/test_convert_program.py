"""`python -m packnet_jax.convert` as a user runs it: checkpoints of the original in and out."""

import time

import cli
import jax
import numpy as np
import original_files
import pytest
from PIL import Image
from torch_files import Call, Global

from packnet_jax import checkpoint
from packnet_jax.convert.torch_file import read_torch_file
from packnet_jax.trained import load_depth_network

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a checkpoint of the original, some.ckpt."""
    folder = tmp_path_factory.mktemp("convert")
    content = original_files.content_of("DepthResNet_18", "PoseNet")
    original_files.write(folder / "some.ckpt", content)
    return folder


@pytest.fixture(scope="module")
def converted(place):
    """What the program printed when it wrote the folder `converted`."""
    return cli.run("convert", "--input=some.ckpt", "--output=converted", cwd=place)


def test_a_checkpoint_is_converted_with_a_table(place, converted):
    for words in ("depth_net = DepthResNet 18", "pose_net = PoseNet", "optimizer", "Written to"):
        assert words in converted
    direct = load_depth_network(place / "some.ckpt")
    stored = load_depth_network(place / "converted")
    jax.tree.map(np.testing.assert_array_equal, stored.variables, direct.variables)
    assert sorted(p.name for p in (place / "converted" / "checkpoints").iterdir()) == ["00000000"]
    assert checkpoint.read_origin(stored.folder)["epoch"] == original_files.EPOCH


def test_a_taken_folder_stays_as_it_is(place, converted):
    before = checkpoint.read_config(place / "converted")
    output = cli.run("convert", "--input=some.ckpt", "--output=converted", cwd=place, status=2)
    assert "converted is taken" in output
    assert checkpoint.read_config(place / "converted") == before


def test_one_network_is_converted_alone(place):
    output = cli.run("convert", "--input=some.ckpt", "--output=pose", "--only=pose_net", cwd=place)
    assert "depth_net = " not in output
    assert "Not needed: optimizer, scheduler, depth_net" in output
    model = checkpoint.read_config(place / "pose").config.model
    assert (model.depth_net.name, model.pose_net.name) == ("", "PoseNet")


def test_what_was_converted_is_exported_bit_for_bit(place, converted):
    output = cli.run("convert", "--input=converted", "--output=back.ckpt", cwd=place)
    assert "DepthResNet 18: 150 tensors" in output
    before, after = (read_torch_file(place / name) for name in ("some.ckpt", "back.ckpt"))
    assert after["epoch"] == before["epoch"]
    assert set(after) == {"config", "epoch", "state_dict"}  # a fresh optimiser
    assert set(after["state_dict"]) == set(before["state_dict"])
    for name, tensor in before["state_dict"].items():
        found = after["state_dict"][name]
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        if name.endswith(".num_batches_tracked") or ".fc." in name:
            assert not found.any()
        else:
            np.testing.assert_array_equal(found, tensor)
    again = cli.run("convert", "--input=converted", "--output=back.ckpt", cwd=place, status=2)
    assert "back.ckpt is there already" in again


def test_a_file_is_evaluated_without_being_converted_first(place):
    picture = np.random.default_rng(0).integers(0, 255, (40, 70, 3), np.uint8)
    Image.fromarray(picture).save(place / "one.png")
    arguments = ("--input=one.png", "--image_shape=32,64", "--save=npz")
    cli.run("infer", "--checkpoint=some.ckpt", "--output=direct.npz", *arguments, cwd=place)
    cli.run("convert", "--input=some.ckpt", "--output=for_infer", cwd=place)
    cli.run("infer", "--checkpoint=for_infer", "--output=stored.npz", *arguments, cwd=place)
    direct, stored = (np.load(place / f"{name}.npz")["depth"] for name in ("direct", "stored"))
    np.testing.assert_array_equal(direct, stored)


def test_a_kill_leaves_nothing_half(place):
    process = cli.start("convert", "--input=some.ckpt", "--output=killed", cwd=place)
    while process.poll() is None and not list(place.glob("killed/checkpoints/*")):
        time.sleep(0.002)
    process.kill()
    process.communicate()
    if not checkpoint.has_checkpoint(place / "killed"):
        cli.run("convert", "--input=some.ckpt", "--output=killed", cwd=place)
    direct, stored = load_depth_network(place / "some.ckpt"), load_depth_network(place / "killed")
    jax.tree.map(np.testing.assert_array_equal, stored.variables, direct.variables)


# --- refusals


def malicious(content):
    return content | {"extra": Call(Global("os", "system"), ("touch witness",))}


def other_network(content):
    return content | {"config": original_files.config_of("PackNet01_1A", "PoseNet")}


def incomplete(content):
    state_dict = dict(content["state_dict"])
    del state_dict["model.pose_net.conv1.0.bias"]
    return content | {"state_dict": state_dict}


@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (malicious, "it asks for os.system, which is not among the few names"),
        (other_network, "not the weights of PackNet01 1A (they are those of DepthResNet 18)"),
        (incomplete, "1 variables get no value: params/conv1/conv/bias"),
    ],
)
def test_unfit_content_is_refused_and_nothing_written(tmp_path, container, change, message):
    content = change(original_files.content_of("DepthResNet_18", "PoseNet"))
    original_files.write(tmp_path / "bad.ckpt", content, container)
    assert_refused(tmp_path, "bad.ckpt", message)


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_a_truncated_file_is_refused_and_nothing_written(tmp_path, container):
    content = original_files.content_of("", "PoseNet")
    path = original_files.write(tmp_path / "cut.ckpt", content, container)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = {"zip": "damaged zip archive", "legacy": "cut off"}[container]
    assert_refused(tmp_path, "cut.ckpt", message)


def test_a_flipped_bit_in_a_zip_is_refused_and_nothing_written(tmp_path):
    """In a tensor of the optimiser's, too, which is not even read."""
    content = original_files.content_of("", "PoseNet")
    whole = original_files.write(tmp_path / "whole.ckpt", content).read_bytes()
    of_network = content["state_dict"]["model.pose_net.conv4.0.weight"].tobytes()[:64]
    of_optimizer = content["optimizer"]["state"][0]["exp_avg"].tobytes()
    for part in (of_network, of_optimizer):
        damaged = bytearray(whole)
        damaged[whole.index(part) + 5] ^= 4
        (tmp_path / "flipped.ckpt").write_bytes(damaged)
        assert_refused(tmp_path, "flipped.ckpt", "Bad CRC-32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--input is missing"),
        (("--input=absent.ckpt", "--output=new"), "absent.ckpt: can not be read"),
        (("--input=empty", "--output=new.ckpt"), "no checkpoint at"),
        (("--input=empty", "--output=new"), "new does not end in .ckpt"),
        (("--input=empty", "--output=new.ckpt", "--only=both"), "depth_net"),
    ],
)
def test_a_mistake_is_one_clear_error(tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    output = cli.run("convert", *arguments, cwd=tmp_path, status=2)
    assert message in output
    assert "Traceback" not in output
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


def assert_refused(folder, name, message):
    before = sorted(folder.iterdir())
    output = cli.run("convert", f"--input={name}", "--output=new", cwd=folder, status=2)
    assert message in output
    assert name in output
    assert "Traceback" not in output
    assert sorted(folder.iterdir()) == before
