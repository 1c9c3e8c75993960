"""Several sets in one stream: how often, where from, and the same from wherever it is entered."""

import itertools
from collections import Counter

import numpy as np
import pytest
from fake_kitti import png
from frame_stores import memory_store, metadata, record

from packnet_jax.batch import Batch
from packnet_jax.data.mix import Mix
from packnet_jax.data.packed import unpack
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.store import FrameStore
from packnet_jax.errors import DataError

REPEATS = (2, 1)
SIZES = (5, 3)


def other_store(**fields) -> FrameStore:
    """Three targets in pictures of another size and content than `memory_store`'s."""
    records = [record(f"other/{i}", 50 + i, image=png(50 + i, (30, 44))) for i in range(5)]
    return FrameStore(records, metadata([5], (1, 2, 3), **fields), name="other")


def pipeline(*stores: FrameStore, **options) -> TrainPipeline:
    defaults = {"image_shape": (12, 20), "batch_size": 4, "num_threads": 0}
    return TrainPipeline(*stores, **(defaults | options))


def mixed(**options) -> TrainPipeline:
    return pipeline(memory_store(), other_store(), **({"repeats": REPEATS} | options))


def assert_equal(actual: Batch, expected: Batch) -> None:
    for field, a, b in zip(Batch._fields, actual, expected, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=field)


def numbers(of: TrainPipeline, *, seed: int, steps: range) -> list[int]:
    return [int(number) for step in steps for number in of.batch(seed, step).index]


@pytest.mark.parametrize(
    ("sizes", "repeats"), [((3,), (1,)), ((3,), (4,)), ((2, 5), (3, 1)), ((1, 4, 2), (6, 2, 4))]
)
def test_an_epoch_holds_every_sample_as_often_as_its_set_repeats(sizes, repeats):
    mix = Mix(sizes, repeats)
    counts = Counter(np.tile(mix.one_pass, mix.passes_per_epoch).tolist())
    assert sorted(counts) == list(range(len(mix))) == list(range(sum(sizes)))
    for number, count in counts.items():
        which, position = mix.locate(number)
        assert count == repeats[which]
        assert number == sum(sizes[:which]) + position
        assert 0 <= position < sizes[which]


def test_a_set_alone_comes_once_in_a_pass():
    assert Mix([4], [7]).one_pass.tolist() == [0, 1, 2, 3]
    assert Mix([4], [7]).passes_per_epoch == 7


@pytest.mark.parametrize("seed", [0, 8])
def test_every_pass_of_a_mix_holds_each_sample_as_often_as_its_set_repeats(seed):
    whole_pass = mixed(batch_size=13)
    assert whole_pass.steps_per_epoch == 1
    passes = [whole_pass.batch(seed, step).index.tolist() for step in range(6)]
    expected = Counter({number: 2 if number < 5 else 1 for number in range(8)})
    assert all(Counter(drawn) == expected for drawn in passes)
    assert len({tuple(drawn) for drawn in passes}) == 6
    first_halves = [{number < 5 for number in drawn[:6]} for drawn in passes]
    assert {True, False} in first_halves  # not one set after the other


def test_a_common_factor_of_the_repeats_only_makes_epochs_longer():
    one, twice = mixed(batch_size=1), mixed(batch_size=1, repeats=(4, 2))
    assert (one.steps_per_epoch, twice.steps_per_epoch) == (13, 26)
    assert numbers(one, seed=1, steps=range(26)) == numbers(twice, seed=1, steps=range(26))


def test_without_shuffling_sets_follow_each_other():
    ordered = mixed(batch_size=13, shuffle=False)
    assert ordered.batch(0, 0).index.tolist() == [*range(5), *range(5), 5, 6, 7]


def test_a_sample_is_the_one_of_its_own_set():
    options = {"shuffle": False, "with_depth": True, "with_pose": True, "batch_size": 1}
    alone = [
        pipeline(store, **options).batch(0, position)
        for store, size in zip((memory_store(), other_store()), SIZES, strict=True)
        for position in range(size)
    ]
    together = mixed(**(options | {"shuffle": True, "batch_size": 13})).batch(3, 0)
    for row, number in enumerate(together.index.tolist()):
        one = Batch(*(None if field is None else field[row][None] for field in together))
        assert_equal(one, alone[number]._replace(index=np.array([number], np.int32)))


def test_a_batch_of_a_mix_depends_on_seed_and_step_alone():
    options = {"jittering": (0.2, 0.2, 0.2, 0.05), "with_depth": True, "with_pose": True}
    expected = [mixed(**options).batch(5, step) for step in range(5)]
    used = mixed(**options, cache_resized=True)
    for step in (4, 0, 3, 3, 1):
        used.batch(4, step)  # another stream in between
        assert_equal(used.batch(5, step), expected[step])
    threaded = mixed(**options, num_threads=3, prefetch=2)
    for step, batch in enumerate(itertools.islice(threaded.iterate(5, 2), 3), 2):
        assert_equal(unpack(batch), expected[step])


def test_all_processes_together_make_the_mixed_batch_of_one():
    options = {"jittering": (0.2, 0.2, 0.2, 0.05)}
    whole = mixed(**options)
    shares = [range(i, whole.batch_size, 2) for i in range(2)]
    processes = [mixed(**options, rows=rows) for rows in shares]
    for step in range(4):
        batch = whole.batch(2, step)
        for i, process in enumerate(processes):
            mine = Batch(*(None if field is None else field[i::2] for field in batch))
            assert_equal(process.batch(2, step), mine)


def test_the_stream_of_a_set_alone_is_fixed():
    """Recorded before sets could be mixed: runs that resume see the same data, jitter included."""
    alone = pipeline(
        memory_store(),
        batch_size=2,
        strides=(1, 2),
        repeats=(3,),
        jittering=(0.2, 0.2, 0.2, 0.05),
    )
    assert (len(alone), alone.steps_per_epoch) == (8, 12)
    drawn = [alone.batch(42, step) for step in range(8)]
    order = [batch.index.tolist() for batch in drawn]
    assert order == [[3, 4], [2, 7], [6, 1], [5, 0], [0, 4], [6, 1], [2, 7], [3, 5]]
    means = [float(batch.rgb.mean()) for batch in drawn]
    recorded = [0.4874, 0.459, 0.4404, 0.565, 0.4178, 0.446, 0.4402, 0.5263]
    assert means == pytest.approx(recorded, abs=1e-3)


@pytest.mark.parametrize(
    ("lacking", "asked", "message"),
    [
        ({"has_depth": False}, {"with_depth": True}, "other has no depth"),
        ({"has_pose": False}, {"with_pose": True}, "other has no camera poses"),
        ({}, {"with_stereo": True}, "targets of other .*other eye"),
        ({}, {"repeats": (1,)}, "There are 2 sets"),
        ({}, {"repeats": (1, 0)}, "at least 1"),
    ],
)
def test_every_set_must_give_what_is_asked_for(lacking, asked, message):
    with pytest.raises(DataError, match=message):
        pipeline(memory_store(), other_store(**lacking), **asked)


def test_no_set_at_all_is_refused():
    with pytest.raises(DataError, match="There are 0 sets"):
        pipeline()
