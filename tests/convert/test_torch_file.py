import json
import struct
import tracemalloc
import zipfile
import zlib
from io import BytesIO

import jax.numpy as jnp
import numpy as np
import pytest
from golden.seeded import GOLDEN_DIR
from torch_files import (
    CONTAINERS,
    STORAGE_NAMES,
    Build,
    Call,
    Global,
    Parameter,
    Raw,
    Storage,
    Tensor,
    legacy_bytes,
    zip_bytes,
)

from packnet_jax.convert.torch_file import read_torch_file
from packnet_jax.errors import CheckpointError

FOLDER = GOLDEN_DIR / "ckpt"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())


@pytest.fixture(params=CONTAINERS)
def container(request):
    """Writes one of the two containers."""
    return CONTAINERS[request.param]


@pytest.fixture
def read(tmp_path):
    """Reads a file of the given bytes."""

    def read_bytes(content):
        path = tmp_path / "file.pth"
        path.write_bytes(content)
        return read_torch_file(path)

    return read_bytes


def one_tensor(**changes):
    """Six numbers as a 2x3 tensor, or what the changes say of them."""
    fields = {"offset": 0, "shape": (2, 3), "strides": (3, 1), "count": 6} | changes
    storage = Storage("0", fields.get("type_name", "FloatStorage"), fields["count"])
    data = np.arange(6, dtype=np.float32)
    return {"w": Tensor(storage, data, fields["offset"], fields["shape"], fields["strides"])}


# --- what torch wrote


@pytest.mark.parametrize("name", MANIFEST)
def test_files_of_torch_give_every_tensor(name):
    expected = MANIFEST[name]
    content = read_torch_file(FOLDER / name)
    assert list(content) == expected["top_level_keys"]
    assert content.get("epoch") == expected["epoch"]
    state_dict = content["state_dict"]
    assert list(state_dict) == [tensor["key"] for tensor in expected["tensors"]]
    for tensor in expected["tensors"]:
        array = state_dict[tensor["key"]]
        assert list(array.shape) == tensor["shape"]
        assert array.dtype == tensor["dtype"]
        assert zlib.crc32(np.ascontiguousarray(array)) == tensor["crc32"]


@pytest.mark.parametrize("name", [n for n in MANIFEST if "partial" in n])
def test_files_of_torch_give_optimizer_scheduler_and_configuration(name):
    content, expected = read_torch_file(FOLDER / name), MANIFEST[name]
    groups = json.loads(json.dumps(content["optimizer"]["param_groups"]))
    assert groups == expected["optimizer_param_groups"]
    for key, names in expected["optimizer_state_keys"].items():
        assert sorted(content["optimizer"]["state"][int(key)]) == names
    scheduler = content["scheduler"]
    assert scheduler == expected["scheduler"]
    assert type(content["config"]) is dict
    assert content["config"]["model"]["name"] == "SelfSupModel"


def test_both_containers_give_the_same():
    first, second = (
        read_torch_file(FOLDER / f"tiny_partial_{container}.ckpt") for container in CONTAINERS
    )
    assert first["config"] == second["config"]
    for key, tensor in first["state_dict"].items():
        np.testing.assert_array_equal(tensor, second["state_dict"][key])


# --- every kind of content


@pytest.mark.parametrize("dtype", STORAGE_NAMES)
def test_every_type_of_number(container, read, dtype):
    array = np.arange(-3, 9).reshape(3, 4).astype(jnp.dtype(dtype))
    found = read(container({"a": array}))["a"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_strides_offsets_and_shared_storages(container, read):
    base = np.arange(24.0)
    grid = np.lib.stride_tricks.as_strided(base, (4, 6), (48, 8))
    views = {
        "base": base,
        "transposed": np.lib.stride_tricks.as_strided(base, (6, 4), (8, 48)),
        "columns": base[3::6],
        "grid": grid,
    }
    # Views of views have their own base in numpy, but one storage in torch.
    tensors = {
        name: Tensor(
            Storage("7", "DoubleStorage", 24),
            base,
            3 if name == "columns" else 0,
            view.shape,
            tuple(stride // 8 for stride in view.strides),
        )
        for name, view in views.items()
    }
    found = read(container(tensors))
    for name, view in views.items():
        np.testing.assert_array_equal(found[name], view)
    assert all(np.shares_memory(found["base"], found[name]) for name in views)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (1, 1, 1, 1)])
def test_scalars_and_empty_tensors(container, read, shape):
    array = np.full(shape, 2.5, np.float32)
    found = read(container([array]))[0]
    assert found.shape == shape
    np.testing.assert_array_equal(found, array)


def test_plain_values_and_containers(container, read):
    content = {
        "none": None,
        "flags": [True, False],
        "numbers": (0, -1, 2**40, 1.5, float("inf")),
        "text": "é 深度",
        "nested": {"a": [{"b": ()}], 3: {}},
    }
    assert read(container(content)) == content


def test_old_parameters_ordered_dicts_sizes_devices_and_sets(container, read):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = read(
        container(
            {
                "parameter": Parameter(weight),
                "new": Call(Global("torch._utils", "_rebuild_parameter"), (weight, True, {})),
                "old": Call(
                    Global("torch._utils", "_rebuild_tensor"),
                    (Storage("1", "FloatStorage", 0), 0, (0,), (1,)),
                ),
                "ordered": Build(
                    Call(Global("collections", "OrderedDict"), ([["x", 1], ["y", 2]],)),
                    {"_metadata": 1},
                ),
                "size": Call(Global("torch", "Size"), ((2, 3),)),
                "device": Call(Global("torch", "device"), ("cuda", 0)),
                "set": Call(Global("__builtin__", "set"), ([1, 2],)),
                "keep": Tensor(Storage("1", "FloatStorage", 0), np.zeros(0, "f4"), 0, (0,), (1,)),
            }
        )
    )
    np.testing.assert_array_equal(found["parameter"], weight)
    np.testing.assert_array_equal(found["new"], weight)
    assert found["old"].shape == (0,)
    assert found["ordered"] == {"x": 1, "y": 2}
    assert type(found["ordered"]) is dict
    assert found["size"] == (2, 3)
    assert found["device"] == "cuda:0"
    assert found["set"] == {1, 2}


def test_arrays_are_read_only(container, read):
    array = read(container([np.zeros(3)]))[0]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_strings_of_python_2(container, read):
    assert read(container(Raw(b"U\x05conv1"))) == "conv1"


# --- hostile files

ATTACKS = {
    "os.system": Call(Global("os", "system"), ("touch {witness}",)),
    "posix.system": Call(Global("posix", "system"), ("touch {witness}",)),
    "builtins.eval": Call(Global("builtins", "eval"), ("open('{witness}', 'w')",)),
    "builtins.exec": Call(Global("builtins", "exec"), ("open('{witness}', 'w')",)),
    "builtins.getattr": Call(Global("builtins", "getattr"), ({}, "clear")),
    "__builtin__.eval": Call(Global("__builtin__", "eval"), ("open('{witness}', 'w')",)),
    "builtins.open": Call(Global("builtins", "open"), ("{witness}", "w")),
    "subprocess.Popen": Call(Global("subprocess", "Popen"), (["touch", "{witness}"],)),
    "torch.load": Call(Global("torch", "load"), ("x",)),
    "torch.serialization.load": Call(Global("torch.serialization", "load"), ("x",)),
    "torch._utils.sys": Global("torch._utils", "sys"),
    "collections.OrderedDict.fromkeys": Call(Global("collections", "OrderedDict.fromkeys"), ("a",)),
    "numpy.core.multiarray._reconstruct": Call(Global("numpy.core.multiarray", "_reconstruct"), ()),
    "functools.partial": Call(Global("functools", "partial"), (Global("os", "system"), "true")),
    "packnet_jax.convert.safe_pickle.pickle": Global("packnet_jax.convert.safe_pickle", "pickle"),
}


def with_witness(node, witness):
    if isinstance(node, str):
        return node.format(witness=witness) if "{witness}" in node else node
    if isinstance(node, (Call, Global)):
        return type(node)(*(with_witness(part, witness) for part in node))
    if isinstance(node, (tuple, list)):
        return type(node)(with_witness(part, witness) for part in node)
    return node


@pytest.mark.parametrize("name", ATTACKS)
def test_unknown_names_are_refused_and_not_called(container, read, tmp_path, name):
    witness = tmp_path / "witness"
    attack = with_witness(ATTACKS[name], witness)
    expected = "functools.partial|os.system" if name == "functools.partial" else name
    with pytest.raises(CheckpointError, match=rf"asks for ({expected}), .*load it with torch"):
        read(container({"state_dict": {"w": np.zeros(3), "x": attack}}))
    assert not witness.exists()


def test_names_given_on_the_stack_are_refused(container, read):
    program = b"\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R"  # STACK_GLOBAL
    with pytest.raises(CheckpointError, match=r"asks for os\.system"):
        read(container(Raw(program)))


@pytest.mark.parametrize(
    ("instruction", "program"),
    {
        "INST": b"(ios\nsystem\n",
        "OBJ": b"(cos\nsystem\no",
        "EXT1": b"\x82\x01",
        "EXT4": b"\x84\x01\x00\x00\x00",
        "PERSID": b"Pkey\n",
        "NEXT_BUFFER": b"\x97",
        "BYTEARRAY8": b"\x96" + bytes(8),
        "DUP": b"N2",
        "INT": b"I1\n",
        "NEWOBJ_EX": b")}\x92",
    }.items(),
)
def test_instructions_that_torch_does_not_write_are_refused(container, read, instruction, program):
    with pytest.raises(CheckpointError, match=f"instruction {instruction}"):
        read(container(Raw(program)))


STATES = [
    {"function": None},
    (None, {"function": None}),  # these are set by setattr
    (None, {"__setstate__": None, "__defaults__": None, "dtype": None}),
]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    "target",
    [
        Global("collections", "OrderedDict"),
        Global("torch._utils", "_rebuild_tensor_v2"),
        Global("torch", "FloatStorage"),
        Global("torch", "Size"),
        Storage("0", "FloatStorage", 0),
    ],
)
def test_the_readers_own_objects_can_not_be_altered(container, read, target, state):
    with pytest.raises(CheckpointError):
        read(container(Build(target, state)))
    assert read(container({"a": np.ones((2, 3))}))["a"].shape == (2, 3)
    assert read(container(Call(Global("collections", "OrderedDict"), ()))) == {}


@pytest.mark.parametrize(
    "root",
    [
        Global("torch._utils", "_rebuild_tensor"),
        Global("collections", "OrderedDict"),
        Global("torch", "FloatStorage"),
        {Call(Global("torch", "Size"), ((1, 2),)): 1},
        Call(Global("torch", "Size"), (3,)),
        Call(Global("torch._utils", "_rebuild_tensor_v2"), ([1], 0, (1,), (1,), False, {})),
        Call(Global("torch._utils", "_rebuild_parameter"), ({}, True, {})),
    ],
)
def test_what_is_no_data_is_refused(container, read, root):
    with pytest.raises(CheckpointError):
        read(container(root))


def test_containers_that_hold_themselves_are_refused(container, read):
    with pytest.raises(CheckpointError, match="holds itself"):
        read(container(Raw(b"]q\x00h\x00a")))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b")" + b"\x85" * 500_000 + b"}h\x00Ns", "nested tuples|damaged"),
        (b"}" + b")" + b"\x85" * 500_000 + b"Ns", "nested tuples"),
        (b"]" * 5_000 + b"a" * 4_999, "nested too deeply"),
        (b"Nr\xff\xff\xff\x7f", "memo index"),
        (b"\x8e" + struct.pack("<Q", 2**60) + b"x", "damaged"),
        (b"\x8d" + struct.pack("<Q", 2**60) + b"x", "damaged"),
        (b"B\xff\xff\xff\x7fx", "damaged"),
        (b"\x8b\xff\xff\xff\x7fx", "damaged"),
        (b"\x95" + struct.pack("<Q", 2**60) + b"N", "damaged"),
        (b"h\x05", "damaged"),
        (b"0", "instruction POP"),
        (b"t", "damaged"),
        (b"R", "damaged"),
        (b"(R", "damaged"),
    ],
)
def test_programs_that_would_crash_or_fill_the_memory_are_refused(
    container, read, program, message
):
    with pytest.raises(CheckpointError, match=message):
        read(container(Raw(program)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offset": 1}, "does not lie in its storage"),
        ({"offset": 2**60}, "does not lie in its storage"),
        ({"offset": -1}, "no negative"),
        ({"shape": (3, 3)}, "does not lie in its storage"),
        ({"strides": (4, 1)}, "does not lie in its storage"),
        ({"strides": (-3, 1)}, "no negative"),
        ({"strides": (1,)}, "as many strides as axes"),
        ({"strides": (2**60, 1)}, "does not lie in its storage"),
        ({"shape": (2**60, 1), "strides": (0, 0)}, "impossible shape"),
        ({"shape": (2**60, 2**60, 0)}, "as many strides"),
        ({"shape": (2**60, 0), "strides": (1, 1)}, "impossible shape"),
        ({"shape": (7,), "strides": (0,)}, "does not lie in its storage"),
        ({"shape": (1,) * 60, "strides": (1,) * 60}, "impossible shape"),
        ({"shape": (True, 3)}, "expected as many"),
        ({"count": 2**60}, "damaged|cut off"),
        ({"count": 5}, "damaged|does not lie"),
        ({"count": 7}, "damaged|cut off"),
        ({"count": -6}, "impossible size"),
        ({"count": 1.5}, "impossible size"),
        ({"type_name": "DoubleStorage"}, "damaged|cut off"),
        ({"type_name": "QInt8Storage"}, r"asks for torch\.QInt8Storage"),
    ],
)
def test_tensors_that_do_not_fit_their_storage_are_refused(container, read, changes, message):
    assert read(container(one_tensor()))["w"][1, 2] == 5
    with pytest.raises(CheckpointError, match=message):
        read(container(one_tensor(**changes)))


def test_a_stride_along_an_axis_of_length_one_does_not_matter(container, read):
    found = read(container(one_tensor(shape=(1, 6), strides=(2**60, 1))))["w"]
    np.testing.assert_array_equal(found, [np.arange(6)])


def test_one_storage_described_in_two_ways_is_refused(container, read):
    data = np.zeros(6, np.float32)
    tensors = [
        Tensor(Storage("0", kind, 6), data, 0, (6,), (1,))
        for kind in ("FloatStorage", "IntStorage")
    ]
    with pytest.raises(CheckpointError, match="two ways"):
        read(container(tensors))


# --- damaged files


def positions(size):
    """The first bytes, the last bytes, and many between."""
    return sorted({*range(0, min(size, 60)), *range(0, size, max(1, size // 80)), size - 1})


@pytest.mark.parametrize("name", MANIFEST)
def test_a_file_cut_off_anywhere_is_refused(read, name):
    content = (FOLDER / name).read_bytes()
    for position in positions(len(content)):
        with pytest.raises(CheckpointError, match=r"file\.pth"):
            read(content[:position])


def assert_equal(a, b):
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_equal(a[key], b[key])
    else:
        assert a == b


def test_a_flipped_bit_in_a_zip_is_an_error_or_changes_nothing(read):
    content = (FOLDER / "tiny_old.pth.tar").read_bytes()
    whole = read(content)
    errors = 0
    for bit in range(0, 8 * len(content), 11):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = read(damaged)
        except CheckpointError:
            errors += 1
        else:
            assert_equal(found, whole)
    assert errors > len(content) // 3  # the rest is padding, dates and the like


def test_a_flipped_bit_in_a_legacy_file_is_an_error_or_other_data(read):
    """This container has no check sums: bytes in the storages may change unseen."""
    content = legacy_bytes({"state_dict": {"a": np.arange(6.0), "b": np.arange(3)}, "epoch": 4})
    errors = 0
    for bit in range(0, 8 * len(content), 3):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            read(damaged)
        except CheckpointError:
            errors += 1
    assert errors > len(content) // 3


def test_surplus_bytes_after_the_last_storage_are_an_error(read):
    with pytest.raises(CheckpointError, match="3 bytes follow"):
        read(legacy_bytes([np.zeros(4)]) + b"abc")


def test_storages_that_are_missing_or_too_many_are_an_error(read):
    lonely = Call(
        Global("torch._utils", "_rebuild_tensor"), (Storage("1", "FloatStorage", 4), 0, (4,), (1,))
    )
    with pytest.raises(CheckpointError, match="storage '1' is missing"):
        read(zip_bytes(lonely))
    with pytest.raises(CheckpointError, match="does not fit the tensors"):
        read(legacy_bytes(lonely))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with"),
        (b"<!DOCTYPE html>", "complete download"),
        (b"version https://git-lfs", "complete download"),
        (b"\x80\x02}.", "none that torch.save wrote"),
        (b"PK\x03\x04 and no more", "damaged zip"),
        (legacy_bytes([], protocol=1000), "protocol 1000"),
        (legacy_bytes([], little_endian=False), "big-endian"),
        (zip_bytes([], more={"archive/byteorder": b"big"}), "big-endian"),
        (zip_bytes([], more={"other/data.pkl": b""}), "2 entries"),
        (zip_bytes([], more={"archive/constants.pkl": b""}), "TorchScript"),
    ],
)
def test_other_files_are_named_for_what_they_are(read, content, message):
    with pytest.raises(CheckpointError, match=message):
        read(content)


def test_a_little_endian_mark_is_welcome(read):
    assert read(zip_bytes([1], more={"archive/byteorder": b"little"})) == [1]


def test_compressed_archives_are_refused_before_they_grow(read):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x00" * 10**7)
    with pytest.raises(CheckpointError, match="compressed"):
        read(buffer.getvalue())


@pytest.mark.parametrize("missing", ["absent.pth", "."])
def test_a_missing_file_and_a_folder_are_named(tmp_path, missing):
    with pytest.raises(CheckpointError, match="can not be read"):
        read_torch_file(tmp_path / missing)


@pytest.mark.parametrize(
    "root",
    [
        one_tensor(count=2**33),
        one_tensor(shape=(2**33, 1), strides=(0, 0)),
        Raw(b"r\xff\xff\xff\x7f"),
        Raw(b"B\xff\xff\xff\x7fx"),
        Raw(b"\x8e" + struct.pack("<Q", 2**34)),
    ],
)
def test_memory_stays_within_the_size_of_the_file(container, read, root):
    content = container(root)
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        read(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
