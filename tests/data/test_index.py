import numpy as np
import pytest
from frame_stores import metadata

from packnet_jax.data.index import count_left_out, make_index
from packnet_jax.data.store import FrameStore
from packnet_jax.errors import DataError


def store(lengths, targets, **fields) -> FrameStore:
    return FrameStore([], metadata(lengths, targets, **fields), name="listed")


def samples(of: FrameStore, **options) -> list[tuple[int, list[int]]]:
    index = make_index(of, **options)
    return list(zip(index.target.tolist(), index.context.tolist(), strict=True))


SEVEN = store([7], range(7))


def neighbours(count, back, forward, stride):
    """What the samples must be: written anew, frame by frame."""
    found = []
    for target in range(count):
        before = [target - stride * k for k in range(back, 0, -1)]
        after = [target + stride * k for k in range(1, forward + 1)]
        if all(0 <= i < count for i in before + after):
            found.append((target, before + after))
    return found


@pytest.mark.parametrize("back", [0, 1, 2, 3])
@pytest.mark.parametrize("forward", [0, 1, 2, 3])
@pytest.mark.parametrize("strides", [(1,), (2,), (1, 2), (2, 1), (1, 2, 3)])
def test_samples_are_those_with_all_neighbours_stride_by_stride(back, forward, strides):
    used = strides if back or forward else (1,)
    expected = [pair for stride in used for pair in neighbours(7, back, forward, stride)]
    options = {"back_context": back, "forward_context": forward, "strides": strides}
    if expected:
        assert samples(SEVEN, **options) == expected
    else:
        with pytest.raises(DataError, match="less context"):
            make_index(SEVEN, **options)


def test_context_order_is_oldest_first_then_forward():
    assert samples(SEVEN, back_context=2, forward_context=1, strides=(2,)) == [(4, [0, 2, 6])]


def test_context_stays_within_its_stream():
    both = store([3, 3], range(6))
    assert samples(both, back_context=1, forward_context=1) == [(1, [0, 2]), (4, [3, 5])]


def test_a_gap_in_the_numbers_breaks_the_context():
    gap = store([6], range(6), numbers=[[10, 11, 12, 14, 15, 16]])
    assert samples(gap, back_context=1, forward_context=1) == [(1, [0, 2]), (4, [3, 5])]
    assert samples(gap, back_context=1, strides=(2,)) == [(2, [0]), (3, [2]), (5, [3])]


def test_the_order_and_repeats_of_the_split_are_kept():
    assert [target for target, _ in samples(store([4], [3, 0, 3]))] == [3, 0, 3]


def test_stereo_is_found_and_required_on_demand():
    pairs = store([2, 2], [0, 1], stereo=[2, -1, 0, -1])
    np.testing.assert_array_equal(make_index(pairs).stereo, [2, -1])
    np.testing.assert_array_equal(make_index(pairs, with_stereo=True).target, [0])


def test_shapes_without_context():
    index = make_index(SEVEN)
    assert index.context.shape == (7, 0)
    assert index.context.dtype == index.target.dtype == np.int64


@pytest.mark.parametrize("options", [{"back_context": -1}, {"strides": (0,)}, {"strides": ()}])
def test_impossible_options_are_refused(options):
    with pytest.raises(DataError, match="at least"):
        make_index(SEVEN, **options)


def test_samples_that_are_left_out_are_counted(caplog):
    samples(SEVEN, back_context=1, forward_context=1, strides=(1, 2))
    assert "6 of 14 samples are left out" in caplog.text
    caplog.clear()
    samples(store([7], [2, 3]), back_context=1)
    assert not caplog.text


RIG = store([4, 4], [0, 4, 1, 5, 2, 6, 3, 7], rigs=[[0, 4], [1, 5], [2, 6], [3, 7]])
"""Two cameras that took four pictures each at the same moments."""


def test_the_cameras_of_a_moment_are_neighbours_in_order():
    found = samples(RIG, back_context=1, forward_context=1, stack_cameras=True)
    assert found == [(1, [0, 2]), (5, [4, 6]), (2, [1, 3]), (6, [5, 7])]
    turned = store([4, 4], range(8), rigs=[[5, 1], [6, 2]])
    assert [target for target, _ in samples(turned, stack_cameras=True)] == [5, 1, 6, 2]


def test_a_moment_of_which_a_camera_is_no_sample_is_left_out():
    # The second camera lacks number 2, so that its numbers 1 and 3 have no context.
    gap = store([4, 3], range(7), numbers=[[0, 1, 2, 3], [0, 1, 3]], rigs=[[0, 4], [1, 5], [3, 6]])
    options = {"back_context": 1, "stack_cameras": True}
    assert samples(gap, **options) == [(1, [0]), (5, [4])]
    with pytest.raises(DataError, match="for every camera of its rig"):
        make_index(gap, back_context=1, forward_context=1, stack_cameras=True)


def test_every_stride_goes_through_the_moments():
    found = samples(RIG, back_context=1, strides=(1, 3), stack_cameras=True)
    assert [target for target, _ in found] == [1, 5, 2, 6, 3, 7, 3, 7]


def test_there_must_be_rigs_to_stack():
    with pytest.raises(DataError, match=r"nothing to stack; set `data\.stack_cameras` to False"):
        make_index(SEVEN, stack_cameras=True)


def test_what_is_left_out_is_counted_by_its_reason():
    gap = store([3, 4], range(7), numbers=[[0, 1, 2], [5, 6, 8, 9]])
    context = {"back_context": 1, "forward_context": 1}
    assert count_left_out(gap, **context) == {
        "at the start or end of their stream": 4,
        "beside a gap in their stream": 2,
    }
    for options in (context, {"back_context": 2}, {"forward_context": 1, "strides": (1, 2)}):
        wanted = 7 * len(options.get("strides", (1,)))
        left = sum(count_left_out(SEVEN, **options).values())
        assert wanted - left == len(samples(SEVEN, **options))
    assert count_left_out(SEVEN) == {}
