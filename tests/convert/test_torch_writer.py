"""Files for torch: read back here, and by torch itself where it is installed."""

import json
import os
import subprocess
import sys
import zipfile
import zlib
from importlib.util import find_spec

import numpy as np
import original_files
import pytest

from packnet_jax.convert.torch_file import read_torch_file
from packnet_jax.convert.torch_writer import cfg_node, ordered_dict, write_torch_file

CONTENT = {
    "none": None,
    "flags": [True, False],
    "numbers": (0, -1, 127, 128, -128, 255, 2**31, -(2**40), 1.5, -1e-30),
    "text": "é 深度",
    "nested": {"a": [{"b": ()}], "c": {}},
    "scalar": np.asarray(3, np.int64),
    "empty": np.zeros((0, 2), np.float32),
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "transposed": np.arange(24, dtype=np.float32).reshape(2, 3, 4).T,
}


def assert_same(found, given):
    assert type(found) is type(given)
    if isinstance(given, np.ndarray):
        assert (found.dtype, found.shape) == (given.dtype, given.shape)
        np.testing.assert_array_equal(found, given)
    elif isinstance(given, dict):
        assert list(found) == list(given)
        for key in given:
            assert_same(found[key], given[key])
    else:
        assert found == given


def test_what_is_written_is_read(tmp_path):
    write_torch_file(tmp_path / "some.ckpt", CONTENT)
    assert_same(read_torch_file(tmp_path / "some.ckpt"), CONTENT)


def test_ordered_dicts_and_configurations(tmp_path):
    tree = {"arch": {"seed": 1}, "tags": []}
    write_torch_file(tmp_path / "some.ckpt", [ordered_dict({"b": 1, "a": 2}), cfg_node(tree)])
    assert_same(read_torch_file(tmp_path / "some.ckpt"), [{"b": 1, "a": 2}, tree])


def test_numbers_start_at_multiples_of_64_bytes_and_the_archive_is_sound(tmp_path):
    path = tmp_path / "some.ckpt"
    write_torch_file(path, CONTENT)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        storages = [info for info in archive.infolist() if "/data/" in info.filename]
        assert len(storages) == 4
        content = path.read_bytes()
        for info in storages:
            assert info.compress_type == zipfile.ZIP_STORED
            name_and_extra = content[info.header_offset + 26 : info.header_offset + 30]
            lengths = (
                int.from_bytes(name_and_extra[:2], "little"),
                int.from_bytes(name_and_extra[2:], "little"),
            )
            assert (info.header_offset + 30 + sum(lengths)) % 64 == 0


def test_the_same_content_gives_the_same_file(tmp_path):
    for name in ("a.ckpt", "b.ckpt"):
        write_torch_file(tmp_path / name, CONTENT)
    assert (tmp_path / "a.ckpt").read_bytes() == (tmp_path / "b.ckpt").read_bytes()


@pytest.mark.parametrize("strange", [{1, 2}, np.zeros(3, np.complex64), object()])
def test_what_torch_files_do_not_hold_is_refused_and_nothing_written(tmp_path, strange):
    with pytest.raises((TypeError, KeyError)):
        write_torch_file(tmp_path / "some.ckpt", {"a": [strange]})
    assert list(tmp_path.iterdir()) == []


# --- with torch

LOAD = """
import json, sys, zlib
import torch, yacs.config
source, zip_copy, legacy_copy = sys.argv[1:]
content = torch.load(source, map_location="cpu", weights_only=False)
assert type(content["config"]) is yacs.config.CfgNode
assert type(content["config"].model.depth_net) is yacs.config.CfgNode
content["config"].merge_from_list(["model.loss.num_scales", 2])
assert not content["config"].is_frozen()
torch.save(content, zip_copy)
torch.save(content, legacy_copy, _use_new_zipfile_serialization=False)
print(json.dumps({
    "config": content["config"],
    "epoch": content["epoch"],
    "tensors": {
        name: [list(t.shape), str(t.dtype), t.is_contiguous(), zlib.crc32(t.numpy().tobytes())]
        for name, t in content["state_dict"].items()
    },
}))
"""


@pytest.fixture(scope="module")
def torch_python():
    """An interpreter with torch: the tests' own, or the one PACKNET_JAX_TEST_TORCH names."""
    python = os.environ.get("PACKNET_JAX_TEST_TORCH")
    if python is None and find_spec("torch") and find_spec("yacs"):
        python = sys.executable
    if python is None:
        pytest.skip("needs torch and yacs, here or in the interpreter of PACKNET_JAX_TEST_TORCH")
    return python


@pytest.mark.torch
def test_torch_loads_the_file_and_what_torch_writes_is_read(tmp_path, torch_python):
    content = original_files.content_of("", "PoseNet")
    paths = [tmp_path / name for name in ("ours.ckpt", "zip.ckpt", "legacy.ckpt")]
    state_dict = content["state_dict"] | {"counter": np.asarray(5, np.int64)}
    written = {
        "config": cfg_node(content["config"]),
        "epoch": content["epoch"],
        "state_dict": ordered_dict(state_dict),
    }
    write_torch_file(paths[0], written)
    command = [torch_python, "-c", LOAD, *map(str, paths)]
    loaded = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    content["config"]["model"]["loss"]["num_scales"] = 2
    assert loaded["config"] == content["config"]
    assert loaded["epoch"] == content["epoch"]
    assert loaded["tensors"] == {
        name: [list(t.shape), f"torch.{t.dtype.name}", True, zlib.crc32(t.tobytes())]
        for name, t in state_dict.items()
    }
    for path in paths[1:]:
        found = read_torch_file(path)
        assert found["config"] == content["config"]
        assert_same(found["state_dict"], state_dict)
