import json

import cv2
import numpy as np
import pytest
from fake_kitti import png
from golden.parity import FOLDER

from packnet_jax.errors import DataError
from tfds_builders.frame_checks import header_shape
from tfds_builders.pictures import Box, crop_box, decode_image, encode_bmp

CASES = json.loads((FOLDER / "funcs" / "crop_borders.json").read_text())
WHOLE = (375, 1242)


def borders_of(case) -> tuple[int | float, ...]:
    kinds = {"int": int, "float": float}
    return tuple(kinds[k](v) for k, v in zip(case["kinds"], case["borders"], strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["borders"]))
def test_crops_equal_the_reference(case, parity):
    if "error" in case:
        with pytest.raises(DataError, match="rop borders"):
            crop_box(borders_of(case), tuple(case["shape"]))
        return
    box = crop_box(borders_of(case), tuple(case["shape"]))
    assert {type(value) for value in box} == {int}
    parity.compare("funcs/crop_borders", str(case["borders"]), box, case["result"], tolerance=0)


def test_the_golden_cases_hold_both_results_and_errors():
    assert sum("result" in case for case in CASES) > 15
    assert sum("error" in case for case in CASES) > 5


@pytest.mark.parametrize(
    "borders",
    [
        (100, 0.5),  # the original: a centred square of 100
        (0.5, 100),
        (0.0, 0.0),
        (0, 352.0, 0, 1216),
        (0, 352, 0.5, 1216.0),
        (5,),
        (1, 2, 3, 4, 5),
    ],
)
def test_what_nobody_can_mean_is_refused(borders):
    with pytest.raises(DataError, match="are neither"):
        crop_box(borders, WHOLE)


@pytest.mark.parametrize(
    "borders",
    [
        (0, 352, float("nan"), 1216),
        (0, 352, float("inf"), 1216),
        (0, 352, 4e306, 1216),
        (10**400, 352, 0.5, 1216),
        (0, 352, 0.5, 10**400),
        (0, 10**400),
    ],
)
def test_what_leads_out_of_every_picture_is_refused(borders):
    with pytest.raises(DataError, match="out of every picture"):
        crop_box(borders, WHOLE)


@pytest.mark.parametrize("width", [1242, 1241, 1238, 1226, 1224])
def test_the_released_crop_is_the_bottom_centre_of_every_kitti_picture(width):
    box = crop_box((-352, 0, 0.5, 1216), (375, width))
    assert box == Box((width - 1216) // 2, 23, (width - 1216) // 2 + 1216, 375)
    assert box.shape == (352, 1216)


def test_a_crop_follows_points_of_the_picture():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (12, 40, 3), dtype=np.uint8)
    K = np.array([[30.0, 0, 19.5], [0, 30, 5.5], [0, 0, 1]])
    box = crop_box((-10, 0, 0.5, 30), picture.shape[:2])
    u, v, _ = K @ (0.1, 0.05, 1.0)
    u_cut, v_cut, _ = box.shift_intrinsics(K) @ (0.1, 0.05, 1.0)
    np.testing.assert_array_equal(box.cut(picture)[int(v_cut), int(u_cut)], picture[int(v), int(u)])
    np.testing.assert_allclose((u - u_cut, v - v_cut), (box.left, box.top), atol=1e-12)


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="whole picture"):
        decode_image(b"\x89PNG cut short")


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (12, 40)])
def test_what_is_stored_as_bmp_is_read_as_it_was(shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_image(encode_bmp(picture)), picture)
    assert header_shape(encode_bmp(picture)) == shape


def test_a_chunk_longer_than_its_file_is_refused_before_memory_is_taken_for_it(monkeypatch):
    """OpenCV's decoder reserves what a chunk declares: gigabytes for a file of 100 bytes."""
    whole = png(0)
    start = whole.index(b"IDAT") - 4
    length = int.from_bytes(whole[start : start + 4], "big")
    for more in (1, 2**31 - 1 - length):
        damaged = whole[:start] + (length + more).to_bytes(4, "big") + whole[start + 4 :]
        with monkeypatch.context() as patch:
            patch.setattr(cv2, "imdecode", None)  # it is not asked
            with pytest.raises(ValueError, match="it is not a whole picture"):
                decode_image(damaged)
    np.testing.assert_array_equal(decode_image(whole + b"more"), decode_image(whole))
