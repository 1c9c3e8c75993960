"""Files that somebody made up: only our errors come of them, in little memory."""

import contextlib
import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fuzz
import numpy as np
import pytest
from fake_dgp import make_dgp
from fake_kitti import frame_name, make_kitti, png
from golden.seeded import GOLDEN_DIR
from hypothesis import strategies as st
from PIL import Image
from torch_files import Raw, legacy_bytes, zip_bytes

from packnet_jax import untrusted
from packnet_jax.convert.original import read_original
from packnet_jax.convert.torch_file import read_torch_file
from packnet_jax.errors import CheckpointError, DataError, PacknetError
from packnet_jax.infer.inputs import read_picture
from packnet_jax.ray_template import load_template, read_model
from packnet_jax.ray_template.calibration import MODELS
from packnet_jax.visualize import read_depth
from tfds_builders import dgp_depth, kitti_depth
from tfds_builders.calibration import Calibration
from tfds_builders.depth_codec import decode_depth, encode_depth
from tfds_builders.dgp_files import read_scene
from tfds_builders.frame_checks import header_shape, picture_shape
from tfds_builders.pictures import decode_image

CHECKPOINT = {
    "config": {"model": {"name": "SelfSupModel", "depth_net": {"version": "1A"}}},
    "epoch": 3,
    "state_dict": {
        "model.depth_net.conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "model.pose_net.conv.bias": np.arange(2, dtype=np.float32),
    },
}
WORDS = (
    *(b"N", b"\x88", b"K\x05", b"M\xff\xff", b"J\xff\xff\xff\xff", b"\x8a\x08" + b"\xff" * 8),
    *(b"G" + struct.pack(">d", 1e300), b"X\x01\x00\x00\x00a", b"X\x05\x00\x00\x00model"),
    *(b"}", b"]", b")", b"(", b"s", b"u", b"a", b"e", b"t", b"\x85", b"\x86", b"\x87"),
    *(b"q\x00", b"q\x01", b"q\x02", b"h\x00", b"h\x01", b"h\x02", b"\x94", b"R", b"\x81", b"b"),
    *(b"Q", b"ctorch\nSize\n", b"ctorch\ndevice\n", b"ccollections\nOrderedDict\n"),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"cbuiltins\nset\n"),
    *(b"cos\nsystem\n", b"cbuiltins\neval\n", b"cyacs.config\nCfgNode\n", b"l", b"0", b"2", b"."),
    *(b"X\x07\x00\x00\x00storage", b"X\x02\x00\x00\x00id", b"cnumpy\nndarray\n"),
)
"""Instructions of pickles, those among them that torch never writes."""


def only_our_errors(read: Callable[[], object], *documented: type[Exception]) -> None:
    with contextlib.suppress(PacknetError, *documented):
        read()


def reads_checkpoint(path: Path) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        path.write_bytes(content)
        only_our_errors(lambda: read_torch_file(path))
        only_our_errors(lambda: read_original(path))

    return read


# --- checkpoints


@pytest.mark.parametrize("write", [zip_bytes, legacy_bytes])
@fuzz.SHORT_AND_LONG
def test_damaged_checkpoints(tmp_path, write, effort):
    fuzz.check(
        reads_checkpoint(tmp_path / "x.ckpt"),
        fuzz.mutated(write(CHECKPOINT)),
        examples=150 * effort,
    )


@pytest.mark.parametrize("name", ["tiny_partial_zip.ckpt", "tiny_partial_legacy.ckpt"])
@fuzz.SHORT_AND_LONG
def test_damaged_checkpoints_of_torch(tmp_path, name, effort):
    content = (GOLDEN_DIR / "ckpt" / name).read_bytes()
    fuzz.check(reads_checkpoint(tmp_path / "x.ckpt"), fuzz.mutated(content), examples=10 * effort)


@fuzz.SHORT_AND_LONG
def test_checkpoints_whose_pickle_is_damaged_but_whose_check_sums_hold(tmp_path, effort):
    with zipfile.ZipFile(io.BytesIO(zip_bytes(CHECKPOINT))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    read = reads_checkpoint(tmp_path / "x.ckpt")

    def pack(program: bytes) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, content in entries.items():
                archive.writestr(name, program if name.endswith("data.pkl") else content)
        read(buffer.getvalue())

    fuzz.check(pack, fuzz.mutated(entries["archive/data.pkl"]), examples=200 * effort)


@pytest.mark.parametrize("write", [zip_bytes, legacy_bytes])
@fuzz.SHORT_AND_LONG
def test_pickles_of_any_instructions(tmp_path, write, effort):
    read = reads_checkpoint(tmp_path / "x.ckpt")
    programs = st.lists(st.sampled_from(WORDS), max_size=25).map(b"".join)
    fuzz.check(lambda program: read(write(Raw(program))), programs, examples=200 * effort)


MAPPING = b"ccollections\nOrderedDict\n)RX\x01\0\0\0a"
"""And a key, whose value is to come, and then an `s`."""


def shared(open_: bytes, close: bytes, levels: int) -> bytes:
    """A container of ten references to one of ten references to one …"""
    program = open_ + b"K\x01" * 10 + close + b"q\x00"
    for level in range(1, levels + 1):
        program = open_ + program + (b"h" + bytes([level - 1])) * 9 + close
        program += b"q" + bytes([level])
    return program


@pytest.mark.parametrize(
    "program",
    [
        b"ctorch\ndevice\n" + shared(b"](", b"e", 40) + b"\x85R",
        b"ctorch\ndevice\n" + MAPPING + shared(b"](", b"e", 40) + b"s\x85R",
        b"ctorch\ndevice\n" + shared(MAPPING + b"](", b"es", 40) + b"\x85R",
        shared(b"ctorch\ndevice\n(", b"tR", 40),
        b"}" + shared(b"(", b"t", 40) + b"K\x01s",
        b"cbuiltins\nset\n]" + shared(b"(", b"t", 40) + b"a\x85R",
        b"}X\x06\x00\x00\x00config}X\x01\x00\x00\x00a" + shared(b"](", b"e", 40) + b"ss",
    ],
    ids=[
        "written out",
        "written out as a mapping",
        "as mappings",
        "joined",
        "hashed as a key",
        "hashed in a set",
        "gone through",
    ],
)
@pytest.mark.parametrize("write", [zip_bytes, legacy_bytes])
def test_a_few_bytes_that_stand_for_10_to_the_40_values_are_refused(tmp_path, write, program):
    path = tmp_path / "bomb.ckpt"
    path.write_bytes(write(Raw(program)))
    with pytest.raises(CheckpointError):
        read_torch_file(path)


def test_tuples_nested_too_deeply_to_be_hashed_are_refused(tmp_path):
    """Hashing them recurses in C, until the stack ends and the interpreter with it."""
    size, program = b"ctorch\nSize\n", [b"}K\x01]r\0\0\0\0K\x05as"]
    for level in range(1, 100_000):
        memo = struct.pack("<I", level), struct.pack("<I", level - 1)
        program.append(b"K\x01]r" + memo[0] + size + b"j" + memo[1] + b"\x85Ras")
    program.append(size + b"j" + struct.pack("<I", 99_999) + b"\x85RK\x01s")
    path = tmp_path / "deep.ckpt"
    path.write_bytes(zip_bytes(Raw(b"".join(program))))
    with pytest.raises(CheckpointError):
        read_torch_file(path)


# --- pictures


def png_that_declares(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def reads_picture(folder: Path) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        path = folder / "x.png"
        path.write_bytes(content)
        for decode in (header_shape, picture_shape, decode_image):
            only_our_errors(lambda decode=decode: decode(content), ValueError)
        only_our_errors(lambda: read_picture(path))
        only_our_errors(lambda: read_depth(path))

    return read


def picture_file(kind: str) -> bytes:
    if kind == "depth":
        buffer = io.BytesIO()
        Image.fromarray(np.arange(96, dtype=np.uint16).reshape(8, 12) * 256).save(buffer, "PNG")
        return buffer.getvalue()
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png(0))).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "depth"])
@fuzz.SHORT_AND_LONG
def test_damaged_pictures(tmp_path, kind, effort):
    fuzz.check(reads_picture(tmp_path), fuzz.mutated(picture_file(kind)), examples=40 * effort)


@fuzz.SHORT_AND_LONG
def test_pictures_that_declare_any_size(tmp_path, effort):
    side = st.one_of(st.integers(0, 2**31), st.sampled_from([1, 2**13, 2**15, 2**16, 2**31 - 1]))
    files = st.builds(
        png_that_declares,
        side,
        side,
        st.sampled_from([1, 8, 16]),
        st.sampled_from([0, 2, 3, 6]),
        st.binary(max_size=50),
    )
    fuzz.check(reads_picture(tmp_path), files, examples=40 * effort)


@pytest.mark.parametrize("shape", [(50_000, 50_000), (1, 2**20), (10_000, 10_000)])
def test_a_picture_larger_than_any_is_refused_by_what_it_declares(tmp_path, shape):
    content = png_that_declares(*shape, 8, 2, b"")
    for decode in (header_shape, picture_shape, decode_image):
        with pytest.raises(ValueError, match="pixels"):
            decode(content)
    path = tmp_path / "bomb.png"
    path.write_bytes(content)
    for read in (read_picture, read_depth):
        with pytest.raises(PacknetError, match="pixels"):
            read(path)


# --- arrays


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # pyright: ignore
    return buffer.getvalue()


def npy_that_declares(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def stored(name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


RAYS = np.tile(np.array([0, 0, 1], np.float32).reshape(1, 3, 1, 1), (1, 1, 4, 6))


def reads_arrays(folder: Path) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        for suffix in (".npz", ".npy"):
            path = folder / f"x{suffix}"
            path.write_bytes(content)
            only_our_errors(lambda path=path: load_template(path))
            only_our_errors(lambda path=path: read_depth(path))
            only_our_errors(lambda path=path: Calibration.parse(str(path)))

    return read


@pytest.mark.parametrize("name", ["rays", "depth", "intrinsics"])
@fuzz.SHORT_AND_LONG
def test_damaged_arrays(tmp_path, name, effort):
    array = {"rays": RAYS, "depth": np.ones((4, 6)), "intrinsics": np.eye(3)}[name]
    read = reads_arrays(tmp_path)
    fuzz.check(read, fuzz.mutated(npz(**{name: array})), examples=50 * effort)
    buffer = io.BytesIO()
    np.save(buffer, array)
    fuzz.check(read, fuzz.mutated(buffer.getvalue()), examples=30 * effort)
    fuzz.check(
        lambda content: read(stored(name, content)),
        fuzz.mutated(buffer.getvalue()),
        examples=50 * effort,
    )


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 1000000, 1000000), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, -1, 4), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1, 3, 4, 4), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (1000000, 1000000, 1000000), }",
        "((((((((((",
        "{'descr': __import__('os').system('true'), }",
    ],
)
@pytest.mark.parametrize("name", ["rays", "depth", "intrinsics"])
def test_arrays_are_not_what_their_header_declares(tmp_path, name, header):
    read = {"rays": load_template, "depth": read_depth, "intrinsics": Calibration.parse}[name]
    path = tmp_path / "x.npz"
    path.write_bytes(stored(name, npy_that_declares(header)))
    with pytest.raises(PacknetError):
        read(str(path) if name == "intrinsics" else path)  # pyright: ignore


def test_an_archive_of_zeros_is_not_unpacked_beyond_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted, "MAX_ARRAY_BYTES", 2**20)
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3, 1024, 1024), }"
    path = tmp_path / "zeros.npz"
    path.write_bytes(stored("rays", npy_that_declares(header, bytes(3 * 2**20))))
    assert path.stat().st_size < 2**13
    with pytest.raises(PacknetError, match="at most"):
        load_template(path)


def test_an_archive_that_lists_an_array_twice_is_not_unpacked(tmp_path):
    """A directory could list it thousands of times, at no more than its few bytes each."""
    path = tmp_path / "twice.npz"
    path.write_bytes(npz(rays=RAYS))
    with zipfile.ZipFile(path, "a") as archive:
        archive.filelist *= 2
        archive._didModify = True  # pyright: ignore
    with pytest.raises(PacknetError, match="same name"):
        load_template(path)


@fuzz.SHORT_AND_LONG
def test_damaged_depth_codes(effort):
    sparse = np.where(np.arange(80).reshape(8, 10) % 7, 0, 2.5)
    for depth in (sparse, np.ones((8, 10))):
        fuzz.check(
            lambda code: only_our_errors(lambda: decode_depth(code), ValueError),
            fuzz.mutated(encode_depth(depth)),
            examples=100 * effort,
        )


def test_an_array_of_another_shape_is_neither_converted_nor_printed(tmp_path):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (4000000, 0), }"
    path = tmp_path / "x.npz"
    path.write_bytes(stored("intrinsics", npy_that_declares(header)))
    with pytest.raises(DataError, match=r"of shape \(4000000, 0\)") as error:
        Calibration.parse(str(path))
    assert len(str(error.value)) < 2000


def projected_of_kitti(root: Path) -> tuple[Path, str, Callable[[], object]]:
    drive = (make_kitti(root, {1: 1}, [(1, 0)]) / frame_name(1, 0)).parents[2]
    path = drive / "proj_depth" / "velodyne" / "image_02" / f"{0:010d}.npz"
    arguments = (drive, "image_02", f"{0:010d}", "velodyne")
    read = partial(kitti_depth.read_depth, *arguments, image_T_velodyne=None, shape=(12, 40))
    return path, "velodyne_depth", read


def cached_of_dgp(root: Path) -> tuple[Path, str, Callable[[], object]]:
    data_set = make_dgp(root, {"000001": 1})
    scene = read_scene(data_set, "000001/scene_000001.json")
    picture = scene.samples[0].datum("camera_01").filename
    read = partial(dgp_depth.read_depth, scene.folder, scene.samples[0], "camera_01")
    path = dgp_depth.cached_map(scene.folder, picture)
    return path, "depth", partial(read, intrinsics=np.eye(3), shape=(24, 40))


@pytest.mark.parametrize("make", [projected_of_kitti, cached_of_dgp])
def test_depth_of_another_shape_takes_no_memory_beyond_its_own(tmp_path, make):
    path, name, read = make(tmp_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 2**23
    path.write_bytes(npz(**{name: np.zeros(size, np.uint8)}))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="has shape"):
            read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * size


def test_a_scan_of_too_many_points_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dgp_depth, "_MAX_POINTS", 10)
    data_set = make_dgp(tmp_path, {"000001": 1})
    scene = read_scene(data_set, "000001/scene_000001.json")
    with pytest.raises(ValueError, match="points; at most 10 are read"):
        dgp_depth.read_depth(
            scene.folder, scene.samples[0], "camera_01", intrinsics=np.eye(3), shape=(24, 40)
        )


# --- calibrations


PINHOLE = {"fx": 30.0, "fy": 30.0, "cx": 19.5, "cy": 5.5, "image_size": [40, 12]}
MATRIX = {"K": [[30, 0, 19.5], [0, 30, 5.5], [0, 0, 1]], "xi": 1.0, "D": [0.1, 0.0, 0.0, 0.0]}
OCAM = "#\n3 -1.5 0 0.002\n\n#\n2 1.5 0.7\n\n#\n5.5 19.5\n\n#\n1.0 0.0 0.0\n\n#\n12 40\n"


def makes_finite_rays(model: str, given: str) -> None:
    with np.errstate(all="ignore"):
        rays = read_model(model, given).model.unproject(np.array([[0.0, 0.0], [20.0, 6.0]]))
    assert rays.directions.shape == (2, 3)


@fuzz.SHORT_AND_LONG
def test_damaged_calibrations_of_cameras(tmp_path, effort):
    path = tmp_path / "x.json"

    def read(model: str, tree: object) -> None:
        path.write_text(json.dumps(tree))
        only_our_errors(lambda: makes_finite_rays(model, str(path)))

    trees = st.one_of(fuzz.mutated_tree(PINHOLE), fuzz.mutated_tree(MATRIX))
    fuzz.check(read, st.sampled_from(MODELS), trees, examples=200 * effort)

    def read_bytes(model: str, content: bytes) -> None:
        path.write_bytes(content)
        only_our_errors(lambda: makes_finite_rays(model, str(path)))
        only_our_errors(lambda: Calibration.parse(str(path)))

    files = st.one_of(*(fuzz.mutated(t.encode()) for t in (OCAM, json.dumps(MATRIX))))
    fuzz.check(read_bytes, st.sampled_from(MODELS), files, examples=200 * effort)


@fuzz.SHORT_AND_LONG
def test_calibrations_as_any_text(tmp_path, effort):
    numbers = st.lists(st.floats().map(str), max_size=9).map(",".join)
    texts = st.one_of(
        st.text(max_size=30),
        numbers,
        st.sampled_from([*fuzz.EVIL_PATHS, "1," * 3000, "[" * 9000, "~nobody/x"]),
    ).filter(lambda text: not Path(text.replace("\0", "")[:200].strip("/") or "x").exists())

    def read(model: str, text: str) -> None:
        only_our_errors(lambda: makes_finite_rays(model, text))
        only_our_errors(lambda: Calibration.parse(text))

    fuzz.check(read, st.sampled_from(MODELS), texts, examples=200 * effort)


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"K": ' * 50_000, b'{"fx": 1' + b"0" * 5000])
def test_json_that_breaks_parsers_is_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(PacknetError):
        read_model("pinhole", str(path))
    with pytest.raises(PacknetError):
        Calibration.parse(str(path))
