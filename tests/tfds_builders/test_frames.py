import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from packnet_jax.errors import DataError
from tfds_builders import frames
from tfds_builders.depth_codec import decode_depth, encode_depth
from tfds_builders.frames import (
    SPLIT,
    Frame,
    FramesBuilder,
    Missing,
    decode_array,
    encode_array,
)

K = np.array([[30.123456789012345, 0, 5], [0, 30, 4], [0, 0, 1]])


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.49, 0.51, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (37, 124)])
def test_depth_survives_encoding(fraction, shape):
    rng = np.random.default_rng(0)
    values = rng.uniform(1e-3, 500, shape).astype(np.float32)
    depth = np.where(rng.random(shape) < fraction, values, 0).astype(np.float32)
    decoded = decode_depth(encode_depth(depth))
    np.testing.assert_array_equal(decoded, depth)
    assert decoded.dtype == np.float32
    assert decoded.flags.writeable


@pytest.mark.parametrize("filler", [0.0, 5.0])
def test_what_is_not_a_depth_becomes_zero(filler):
    depth = np.full((4, 6), filler, np.float32)
    depth[0, :4] = [-1, np.nan, np.inf, 3]
    decoded = decode_depth(encode_depth(depth))
    np.testing.assert_array_equal(decoded[0, :4], [0, 0, 0, 3])
    np.testing.assert_array_equal(decoded[1:], filler)


def test_no_depth_is_empty():
    assert encode_depth(None) == b""
    assert decode_depth(b"") is None


def test_sparse_depth_is_small():
    depth = np.zeros((375, 1242), np.float32)
    depth[::5, ::5] = np.random.default_rng(0).uniform(2, 80, depth[::5, ::5].shape)
    assert len(encode_depth(depth)) < 1.1 * 4 * (depth > 0).sum()


@pytest.mark.parametrize("shape", [(3,), (2, 3, 1)])
def test_only_maps_are_encoded(shape):
    with pytest.raises(ValueError, match=r"shape \[h, w\]"):
        encode_depth(np.ones(shape))


def test_damaged_depth_is_refused():
    data = encode_depth(np.eye(20, dtype=np.float32))
    for bad in (data[:10], data[:-9], b"npz0" + data[4:], data[:8] + b"\x01" + data[9:]):
        with pytest.raises(ValueError, match="not a depth map"):
            decode_depth(bad)


def encoded(seed: int, kind: str) -> bytes:
    image = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def frame(stream: str, number: int, **fields: Any) -> Frame:
    defaults = {"image": encoded(number, "png"), "intrinsics": K}
    return Frame(f"{stream}/{number}", stream, number, **(defaults | fields))


class ListedFrames(FramesBuilder):
    """Builds from a list that the test gives."""

    items: Iterable[Frame | Missing] = ()
    names: Sequence[str] = ()
    pairs: dict[str, str] = {}  # noqa: RUF012 (replaced, never changed)
    groups: Sequence[Sequence[str]] = ()

    @classmethod
    def from_options(cls, *, data_dir: str, **_: Any) -> "ListedFrames":
        return cls(config=tfds.core.BuilderConfig(name="listed"), data_dir=data_dir)

    def read_frames(self) -> Iterator[Frame | Missing]:
        yield from self.items

    def targets(self) -> Sequence[str]:
        return self.names

    def stereo_pairs(self) -> dict[str, str]:
        return self.pairs

    def rigs(self) -> Sequence[Sequence[str]]:
        return self.groups


def build(folder, items, names, pairs=None, rigs=(), **options) -> ListedFrames:
    builder = ListedFrames.from_options(data_dir=str(folder))
    builder.items, builder.names, builder.pairs = items, names, pairs or {}
    builder.groups = rigs
    builder.build(**options)
    return ListedFrames.from_options(data_dir=str(folder))


def test_a_set_is_plain_tfds_in_build_order(tmp_path):
    items = [frame("a", i) for i in (0, 1, 5)] + [frame("b", i) for i in (2, 3)]
    builder = build(tmp_path, items, ["b/3", "a/5", "b/3"], {"a/0": "b/2"})
    examples = list(builder.as_data_source(SPLIT))
    assert [example["name"] for example in examples] == [b"a/0", b"a/1", b"a/5", b"b/2", b"b/3"]
    np.testing.assert_array_equal(examples[2]["intrinsics"], K)
    np.testing.assert_array_equal(examples[2]["world_T_camera"], np.eye(4))
    expected = np.asarray(Image.open(io.BytesIO(items[2].image)))
    np.testing.assert_array_equal(examples[2]["image"], expected)
    assert dict(builder.info.metadata) == {
        "streams": [
            {"name": "a", "numbers": [0, 1, 5], "first_record": 0},
            {"name": "b", "numbers": [2, 3], "first_record": 3},
        ],
        "targets": [4, 2, 4],
        "stereo": [3, -1, -1, -1, -1],
        "has_pose": False,
        "has_depth": False,
        "depth_sources": {},
        "missing": [],
    }


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_the_bytes_of_a_picture_are_kept(tmp_path, kind):
    data = encoded(0, kind)
    builder = build(tmp_path, [frame("a", 0, image=data)], ["a/0"])
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    assert data in builder.as_data_source(SPLIT, deserialize_method=raw)[0]


def test_poses_and_depth_are_kept_exactly(tmp_path):
    rng = np.random.default_rng(0)
    world_T_camera, depth = rng.normal(size=(4, 4)), rng.random((8, 10)).astype(np.float32)
    item = frame("a", 0, world_T_camera=world_T_camera, depth=depth)
    builder = build(tmp_path, [item], ["a/0"])
    example = builder.as_data_source(SPLIT)[0]
    np.testing.assert_array_equal(example["world_T_camera"], world_T_camera)
    np.testing.assert_array_equal(decode_depth(example["depth"]), depth)
    assert builder.info.metadata["has_pose"]
    assert builder.info.metadata["has_depth"]


@pytest.mark.slow
def test_order_holds_when_the_build_spills_to_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.core.shuffle.MAX_MEM_BUFFER_SIZE", 2000)
    # Keys far enough apart for forty frames to fall into several buckets.
    monkeypatch.setattr("tfds_builders.frames._KEY_STEP", 2**128 // 64)
    items = [frame("a", i, image=np.full((4, 4, 3), i, np.uint8)) for i in range(40)]
    builder = build(tmp_path, items, ["a/7"])
    examples = builder.as_data_source(SPLIT)
    assert [int(example["image"][0, 0, 0]) for example in examples] == list(range(40))


def test_missing_and_damaged_frames_are_listed_and_are_no_targets(tmp_path):
    half = encoded(1, "png")[:100]
    items = [
        frame("a", 0),
        frame("a", 1, image=half),
        Missing("a/2", "gone"),
        frame("a", 2),
        frame("a", 3),
    ]
    builder = build(tmp_path, items, ["a/0", "a/1", "a/2", "a/3"], allow_missing=0.5)
    metadata = builder.info.metadata
    assert metadata["streams"][0]["numbers"] == [0, 2, 3]
    assert metadata["targets"] == [0, 2]
    assert [item["name"] for item in metadata["missing"]] == ["a/1", "a/2"]
    assert "decoded" in metadata["missing"][0]["reason"]


@pytest.mark.parametrize(
    ("wanted", "bad", "allow_missing", "is_let_go"),
    [
        (5, 1, 0.01, True),  # one always is
        (5, 2, 0.01, False),
        (200, 2, 0.01, True),
        (200, 3, 0.01, False),
        (200, 1, 0.0, True),
        (200, 199, 1.0, True),
    ],
)
def test_few_bad_targets_are_let_go_and_more_are_an_error(
    tmp_path, wanted, bad, allow_missing, is_let_go
):
    names = [f"a/{i}" for i in range(wanted)]
    picture = encoded(0, "png")
    items = [frame("a", i, image=b"no picture" if i < bad else picture) for i in range(wanted)]
    if is_let_go:
        metadata = build(tmp_path, items, names, allow_missing=allow_missing).info.metadata
        assert (len(metadata["targets"]), len(metadata["missing"])) == (wanted - bad, bad)
        return
    with pytest.raises(DataError, match=rf"{bad} of the {wanted} target frames") as error:
        build(tmp_path, items, names, allow_missing=allow_missing)
    assert "a/0: the picture can not be decoded" in str(error.value)
    assert "data.allow_missing" in str(error.value)
    build(tmp_path, [frame("a", 0)], ["a/0"])  # nothing is left of the failed build


def test_a_build_stops_early_once_too_many_are_bad(tmp_path):
    read = []

    def items():
        for i in range(1000):
            read.append(i)
            yield Missing(f"a/{i}", "gone")

    with pytest.raises(DataError, match="20 or more of the 1000"):
        build(tmp_path, items(), [f"a/{i}" for i in range(1000)])
    assert len(read) == 20


def test_context_that_is_missing_and_gaps_of_the_set_itself_do_not_count(tmp_path):
    gaps = [Missing(f"a/{i}", "not measured", is_gap=True) for i in range(5)]
    context = [Missing(f"b/{i}", "gone") for i in range(5)]
    names = [f"a/{i}" for i in range(6)]
    metadata = build(tmp_path, [*gaps, *context, frame("a", 5)], names).info.metadata
    assert metadata["targets"] == [0]
    assert len(metadata["missing"]) == 10


def matrix(**entries: float) -> np.ndarray:
    changed = K.copy()
    for name, value in entries.items():
        places = {"fx": (0, 0), "skew": (0, 1), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}
        changed[places[name]] = value
    return changed


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"world_T_camera": np.full((4, 4), np.nan)}, "not finite"),
        ({"depth": np.zeros((0, 5), np.float32)}, r"no pixel: its shape is \(0, 5\)"),
        ({"intrinsics": matrix(fx=0)}, "of no camera: fx=0"),
        ({"intrinsics": matrix(fy=-30)}, "fy=-30"),
        ({"intrinsics": matrix(cx=np.nan)}, "cx=nan"),
        ({"intrinsics": matrix(fx=1e-50)}, "of no camera: fx=1e-50"),
        ({"intrinsics": matrix(fy=1e39)}, "of no camera: .*fy=1e.39"),
        ({"intrinsics": matrix(skew=1e39)}, "of no camera: .*skew=1e.39"),
        ({"intrinsics": matrix(cx=100)}, "not of this picture: cx=100, cy=4, .* 10 pixels wide"),
        ({"image": np.zeros((4, 5, 3), np.uint8)}, "5 pixels wide and 4 high, those before"),
    ],
)
def test_a_frame_that_can_not_be_used_is_listed(tmp_path, fields, reason):
    items = [frame("a", 0), frame("a", 1, **fields), frame("a", 2)]
    (item,) = build(tmp_path, items, ["a/0", "a/1", "a/2"]).info.metadata["missing"]
    assert item["name"] == "a/1"
    assert re.search(reason, item["reason"])


def test_pictures_of_other_sizes_may_be_of_other_cameras(tmp_path):
    small = {"image": np.zeros((4, 5, 3), np.uint8)}
    items = [
        frame("a", 0),
        frame("a", 1, intrinsics=matrix(fx=20), **small),
        frame("b", 0, **small),
    ]
    metadata = build(tmp_path, items, ["a/0"]).info.metadata
    assert metadata["missing"] == []


def test_rigs_are_the_moments_that_lack_no_camera(tmp_path):
    items = [frame("a", 0), frame("a", 1), Missing("b/0", "gone"), frame("b", 1), frame("b", 2)]
    rigs = [["a/0", "b/0"], ["b/1", "a/1"], ["a/2", "b/2"]]
    metadata = build(tmp_path, items, ["a/0", "b/1"], rigs=rigs).info.metadata
    assert metadata["rigs"] == [[2, 1]]


def test_a_set_without_targets_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match=r"2 are missing(.|\n)*a/9: gone"):
        build(tmp_path, [Missing("a/9", "gone"), Missing("a/8", "gone")], ["a/9"])
    assert not ListedFrames.from_options(data_dir=str(tmp_path)).is_prepared()
    build(tmp_path, [frame("a", 0)], ["a/0"])


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([frame("a", 1), frame("a", 0)], "sort them"),
        ([frame("a", 0), frame("b", 0), frame("a", 1)], "come together"),
        ([frame("a", 0), frame("a", 0)], "must be unique"),
    ],
)
def test_builders_that_mix_frames_up_are_told(tmp_path, items, message):
    with pytest.raises(DataError, match=message):
        build(tmp_path, items, ["a/0"])


def test_arrays_survive_metadata():
    array = np.random.default_rng(0).random((3, 5)) > 0.5
    decoded = decode_array(encode_array(array))
    np.testing.assert_array_equal(decoded, array)
    assert decoded.dtype == bool
    with pytest.raises(ValueError):
        decode_array("bm90IGFuIGFycmF5")


def test_an_array_of_metadata_is_not_unpacked_beyond_its_bound(monkeypatch):
    text = encode_array(np.zeros(2**21, np.uint8))
    assert decode_array(text).size == 2**21
    monkeypatch.setattr(frames, "MAX_ARRAY_BYTES", 2**20)
    with pytest.raises(ValueError, match=r"are not an array: .* in 1048576 bytes"):
        decode_array(text)
