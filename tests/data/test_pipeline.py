import itertools

import numpy as np
import pytest
from fake_kitti import sparse_depth
from frame_stores import SHAPE, K, memory_store, metadata, pose, record

from packnet_jax.batch import Batch
from packnet_jax.data.examples import EvalPipeline
from packnet_jax.data.packed import unpack
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.samples import InputDepth
from packnet_jax.data.store import FrameStore
from packnet_jax.data.transforms import (
    resize_depth,
    resize_depth_nearest,
    resize_image,
    to_float,
)
from packnet_jax.errors import DataError
from tfds_builders.depth_codec import encode_depth
from tfds_builders.frames import encode_array

SMALL = (12, 20)
JITTER = (0.2, 0.2, 0.2, 0.05)


def pipeline(store=None, **options) -> TrainPipeline:
    defaults = {"image_shape": SMALL, "batch_size": 2, "jittering": JITTER, "num_threads": 0}
    return TrainPipeline(store or memory_store(), **(defaults | options))


BEAMS = InputDepth("beams")


def with_beams(length: int = 7, **more) -> FrameStore:
    """`memory_store` with sparse depth beside the pictures; keywords are more metadata."""
    records = [
        record(f"s/{i}", i, features={"beams": encode_depth(sparse_depth(100 + i, SHAPE))})
        for i in range(length)
    ]
    stereo = [min(i + 1, length - 1) for i in range(length)]
    stored = metadata([length], range(1, 6), stereo=stereo, **more)
    return FrameStore(records, stored, name="beams")


def assert_equal(actual: Batch, expected: Batch) -> None:
    for field, a, b in zip(Batch._fields, actual, expected, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=field)


def joined(parts) -> Batch:
    """What several processes made of one step, one after the other."""
    return Batch(
        *(
            None if fields[0] is None else np.concatenate(fields)
            for fields in zip(*parts, strict=True)
        )
    )


def test_fields_have_their_shapes_and_types():
    asked = {"with_depth": True, "with_pose": True, "with_stereo": True}
    masked = with_beams(mask=encode_array(np.ones(SHAPE, bool)))
    everything = pipeline(masked, input_depths=[BEAMS], **asked).batch(0, 0)
    shapes = {key: value.shape for key, value in everything._asdict().items()}
    assert shapes == {
        "rgb": (2, 12, 20, 3),
        "rgb_original": (2, 12, 20, 3),
        "rgb_context": (2, 2, 12, 20, 3),
        "rgb_context_original": (2, 2, 12, 20, 3),
        "intrinsics": (2, 3, 3),
        "index": (2,),
        "valid": (2,),
        "depth": (2, 12, 20, 1),
        "context_T_target": (2, 2, 4, 4),
        "rgb_stereo": (2, 12, 20, 3),
        "stereo_T_target": (2, 4, 4),
        "input_depth": (2, 12, 20, 1),
        "mask": (2, 12, 20, 1),
    }
    assert {value.dtype.name for value in everything} == {"float32", "int32", "bool"}
    assert everything.valid.all()


def test_absent_fields_are_none():
    batch = pipeline().batch(0, 0)
    optional = ("depth", "context_T_target", "rgb_stereo", "stereo_T_target", "input_depth")
    assert [getattr(batch, name) for name in optional] == [None] * 5


def test_no_context_is_an_empty_axis():
    batch = pipeline(back_context=0, forward_context=0).batch(0, 0)
    assert batch.rgb_context.shape == (2, 0, 12, 20, 3)


def test_sequential_batches_run_over_the_end_of_a_pass():
    ordered = pipeline(shuffle=False)
    drawn = [ordered.batch(0, step).index.tolist() for step in range(5)]
    assert drawn == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]


@pytest.mark.parametrize(("batch_size", "repeat", "steps"), [(2, 1, 3), (5, 1, 1), (8, 3, 2)])
def test_an_epoch_is_as_many_steps_as_its_samples_need(batch_size, repeat, steps):
    assert pipeline(batch_size=batch_size, repeats=[repeat]).steps_per_epoch == steps


def test_every_pass_is_a_new_permutation():
    shuffled = pipeline(batch_size=5, jittering=())
    passes = [tuple(shuffled.batch(3, step).index.tolist()) for step in range(12)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in passes)
    assert len(set(passes)) > 6


def test_the_seed_changes_order_and_jitter():
    one, other = (pipeline(batch_size=5).batch(seed, 0) for seed in (0, 1))
    assert one.index.tolist() != other.index.tolist()
    one, other = (pipeline(shuffle=False).batch(seed, 0) for seed in (0, 1))
    np.testing.assert_array_equal(one.rgb_original, other.rgb_original)
    assert np.abs(one.rgb - other.rgb).max() > 0.02


def test_a_batch_depends_on_seed_and_step_alone():
    options = {"with_depth": True, "with_pose": True, "with_stereo": True}
    expected = [pipeline(**options).batch(5, step) for step in range(7)]
    used = pipeline(**options, cache_resized=True)
    for step in (6, 0, 3, 3, 1, 6):
        used.batch(4, step)  # other streams in between
        assert_equal(used.batch(5, step), expected[step])


@pytest.mark.parametrize("num_threads", [0, 1, 5])
@pytest.mark.parametrize("start_step", [0, 4])
def test_iterating_equals_asking(num_threads, start_step):
    threaded = pipeline(num_threads=num_threads, prefetch=3)
    batches = threaded.iterate(9, start_step)
    for step, batch in enumerate(itertools.islice(batches, 8), start_step):
        assert_equal(unpack(batch), pipeline().batch(9, step))
    assert batches.samples_per_second > 0
    assert 0 < batches.wait_fraction <= 1


@pytest.mark.parametrize("shares", [[(0, 1), (2, 3)], [(0,), (1,), (2,), (3,)], [(0, 1, 2), (3,)]])
def test_all_processes_together_make_the_batch_of_one(shares):
    options = {"batch_size": 4, "with_depth": True, "with_pose": True}
    for step in range(4):
        parts = [pipeline(**options, rows=rows).batch(2, step) for rows in shares]
        assert_equal(joined(parts), pipeline(**options).batch(2, step))


def test_a_process_reads_only_the_frames_of_its_rows():
    opened = []

    class Noting(list):
        def __getitem__(self, number):
            opened.append(number)
            return super().__getitem__(number)

    records = Noting(record(f"stream0/{i}", i) for i in range(9))
    store = FrameStore(records, metadata([9], [1, 4, 7]), name="noting")
    whole = pipeline(store, batch_size=3, shuffle=False)
    opened.clear()
    whole.batch(0, 0)
    assert sorted(opened) == list(range(9))
    opened.clear()
    pipeline(store, batch_size=3, shuffle=False, rows=(1,)).batch(0, 0)
    assert sorted(opened) == [3, 4, 5]


def test_one_draw_of_jitter_serves_target_and_context_and_originals_are_kept():
    twins = FrameStore(
        [record(f"stream0/{i}", seed=1) for i in range(3)], metadata([3], [1]), name="twins"
    )
    batch = pipeline(twins, batch_size=1).batch(0, 0)
    for context in range(2):
        np.testing.assert_array_equal(batch.rgb_context[:, context], batch.rgb)
        np.testing.assert_array_equal(batch.rgb_context_original[:, context], batch.rgb_original)
    assert np.abs(batch.rgb - batch.rgb_original).max() > 0.02
    expected = to_float(resize_image(twins[1].image(), SMALL))
    np.testing.assert_array_equal(batch.rgb_original[0], expected)


def test_jitter_differs_between_two_visits_and_can_be_switched_off():
    first, second = (pipeline(batch_size=5, shuffle=False).batch(0, step) for step in range(2))
    assert np.abs(first.rgb - second.rgb).max() > 0.02
    plain = pipeline(batch_size=5, shuffle=False, jittering=()).batch(0, 0)
    np.testing.assert_array_equal(plain.rgb, plain.rgb_original)
    np.testing.assert_array_equal(plain.rgb_original, first.rgb_original)


def test_intrinsics_and_depth_follow_the_size():
    batch = pipeline(shuffle=False, with_depth=True).batch(0, 0)
    expected = K * np.array([[20 / 40], [12 / 24], [1]])
    np.testing.assert_allclose(batch.intrinsics[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(
        batch.depth[0, ..., 0], resize_depth(sparse_depth(1, SHAPE), SMALL)
    )


def test_motion_takes_points_from_target_to_context():
    batch = pipeline(shuffle=False, with_pose=True, with_stereo=True).batch(0, 0)
    for row, target in enumerate((1, 2)):
        for n, context in enumerate((target - 1, target + 1)):
            expected = np.linalg.inv(pose(context)) @ pose(target)
            np.testing.assert_allclose(batch.context_T_target[row, n], expected, atol=1e-6)
    assert batch.stereo_T_target[0, 0, 3] == -0.5


def test_the_other_eye_is_not_jittered():
    batch = pipeline(shuffle=False, with_stereo=True).batch(0, 0)
    expected = to_float(resize_image(memory_store()[2].image(), SMALL))
    np.testing.assert_array_equal(batch.rgb_stereo[0], expected)


@pytest.mark.parametrize(
    ("store_fields", "options", "message"),
    [
        ({"has_depth": False}, {"with_depth": True}, "no depth"),
        ({"has_pose": False}, {"with_pose": True}, "no camera poses"),
        ({}, {"batch_size": 0}, "positive multiple"),
        ({}, {"rows": (1, 2)}, r"A batch of 2 has no rows \(1, 2\)"),
        ({}, {"repeats": (0,)}, "a repeat of at least 1"),
        ({}, {"repeats": (1, 1)}, "There are 1 sets"),
    ],
)
def test_what_the_store_can_not_give_is_refused(store_fields, options, message):
    with pytest.raises(DataError, match=message):
        pipeline(memory_store(**store_fields), **options)


@pytest.mark.parametrize("num_threads", [0, 3])
def test_a_damaged_picture_is_named_also_from_a_thread(num_threads):
    records = [record(f"stream0/{i}", seed=i) for i in range(3)]
    whole = FrameStore(records, metadata([3], [1]), name="set")[0].encoded["image"]
    records[2] = record("stream0/2", seed=2, image=whole[: len(whole) // 2])
    damaged = pipeline(
        FrameStore(records, metadata([3], [1]), name="set"), batch_size=1, num_threads=num_threads
    )
    with pytest.raises(DataError, match=r"stream0/2 is damaged.*tfds_dir"):
        next(damaged.iterate(0))


@pytest.mark.parametrize("num_threads", [0, 3])
def test_evaluation_goes_through_the_split_once_in_order(num_threads):
    store = memory_store(targets=(4, 0, 2))
    evaluation = EvalPipeline(store, image_shape=SMALL, num_threads=num_threads)
    examples = list(evaluation)
    assert len(evaluation) == len(examples) == 3
    assert [example.name for example in examples] == ["stream0/4", "stream0/0", "stream0/2"]
    assert [example.index for example in examples] == [0, 1, 2]
    assert [example.name for example in evaluation] == [example.name for example in examples]
    for example, seed in zip(examples, (4, 0, 2), strict=True):
        np.testing.assert_array_equal(example.depth, sparse_depth(seed, SHAPE))
        assert example.rgb.shape == (*SMALL, 3)
        np.testing.assert_allclose(example.intrinsics[0, 0], 15.0)


def test_evaluation_without_depth_gives_none():
    records = [record("stream0/0", seed=0, has_depth=False)]
    store = FrameStore(records, metadata([1], [0], has_depth=False), name="blind")
    (example,) = EvalPipeline(store, image_shape=SMALL, num_threads=0)
    assert example.depth is None


@pytest.mark.parametrize("resize", [resize_depth, resize_depth_nearest])
def test_input_depth_is_cropped_and_resized_with_the_picture_and_truth_is_not(resize):
    sparse = sparse_depth(7, SHAPE)
    frame = record("stream0/0", seed=0, features={"beams": encode_depth(sparse)})
    store = FrameStore([frame], metadata([1], [0]), name="with beams")
    (example,) = EvalPipeline(
        store,
        image_shape=SMALL,
        crop=(4, 18, 6, 30),
        input_depth_feature="beams",
        resize_input_depth=resize,
        num_threads=0,
    )
    np.testing.assert_array_equal(example.input_depth, resize(sparse[4:22, 6:36], SMALL))
    np.testing.assert_array_equal(example.depth, sparse_depth(0, SHAPE))
    assert example.input_depth_source == "beams"


def test_input_depth_that_is_not_stored_is_named():
    with pytest.raises(DataError, match="memory was built without the feature 'beams'"):
        EvalPipeline(memory_store(), image_shape=SMALL, input_depth_feature="beams")
    frame = record("stream0/0", seed=0, features={"beams": b""})
    store = FrameStore([frame], metadata([1], [0]), name="dark")
    evaluation = EvalPipeline(store, image_shape=SMALL, input_depth_feature="beams", num_threads=0)
    with pytest.raises(DataError, match="stream0/0 has no beams in dark"):
        list(evaluation)


@pytest.mark.parametrize("resize", [resize_depth, resize_depth_nearest])
@pytest.mark.parametrize("cache_resized", [False, True])
def test_training_s_input_depth_is_cropped_and_resized_with_the_picture(resize, cache_resized):
    given = pipeline(
        with_beams(),
        crop=(4, 18, 6, 30),
        shuffle=False,
        with_depth=True,
        input_depths=[InputDepth("beams", resize)],
        cache_resized=cache_resized,
    )
    for _ in range(2):
        batch = given.batch(0, 0)
        for row, target in enumerate((1, 2)):
            expected = resize(sparse_depth(100 + target, SHAPE)[4:22, 6:36], SMALL)
            np.testing.assert_array_equal(batch.input_depth[row, ..., 0], expected)
            truth = resize_depth(sparse_depth(target, SHAPE)[4:22, 6:36], SMALL)
            np.testing.assert_array_equal(batch.depth[row, ..., 0], truth)


def test_input_depth_is_thinned_out_anew_at_every_visit_and_by_seed_and_step_alone():
    def thinned(**options):
        options = {"batch_size": 5, "shuffle": False, "cache_resized": True} | options
        thin = InputDepth("beams", keep=(0.2, 0.7))
        return pipeline(with_beams(), input_depths=[thin], **options)

    whole = pipeline(with_beams(), batch_size=5, shuffle=False, input_depths=[BEAMS]).batch(0, 0)
    used = thinned()
    visits = [used.batch(0, step).input_depth for step in range(4)]
    for step, kept in enumerate(visits):
        np.testing.assert_array_equal(kept, thinned().batch(0, step).input_depth)
        np.testing.assert_array_equal(kept[kept > 0], whole.input_depth[kept > 0])
        share = np.count_nonzero(kept) / np.count_nonzero(whole.input_depth)
        assert 0.15 < share < 0.75
    assert len({kept.tobytes() for kept in visits}) == 4
    # what is drawn after the jitter does not change it
    np.testing.assert_array_equal(used.batch(0, 0).rgb, whole.rgb)
    parts = [thinned(batch_size=4, rows=rows).batch(2, 1) for rows in ((0, 1), (2, 3))]
    assert_equal(joined(parts), thinned(batch_size=4).batch(2, 1))


def test_input_depth_that_a_training_set_lacks_is_refused():
    with pytest.raises(DataError, match="memory was built without the feature 'beams'"):
        pipeline(input_depths=[BEAMS])
    with pytest.raises(DataError, match="2 sets and 1 input depths"):
        TrainPipeline(
            with_beams(), memory_store(), image_shape=SMALL, batch_size=2, input_depths=[BEAMS]
        )


# --- several cameras


def rig_store(moments: int = 6, cameras: int = 3) -> FrameStore:
    """Streams of as many frames as there are moments, and what was taken at once."""
    records = [
        record(f"camera{camera}/{number}", 10 * camera + number)
        for camera in range(cameras)
        for number in range(moments)
    ]
    rigs = np.arange(cameras * moments).reshape(cameras, moments).T.tolist()
    targets = [target for rig in rigs for target in rig]
    return FrameStore(records, metadata([moments] * cameras, targets, rigs=rigs), name="rig")


def stacked(**options) -> TrainPipeline:
    return pipeline(rig_store(), batch_size=6, stack_cameras=True, **options)


def test_the_cameras_of_a_moment_come_together_in_order():
    whole = stacked()
    assert len(whole) == 3 * 4
    indices = np.array([whole.batch(1, step).index for step in range(4)]).reshape(-1, 3)
    assert (indices[:, 0] % 3 == 0).all()
    np.testing.assert_array_equal(indices, indices[:, :1] + np.arange(3))
    first_pass = indices[:4, 0].tolist()
    assert sorted(first_pass) == [0, 3, 6, 9]
    assert first_pass != indices[4:, 0].tolist()


def test_each_camera_has_its_own_jitter_and_its_own_pose():
    batch = stacked(with_pose=True, jittering=(0.5, 0.0, 0.0, 0.0)).batch(0, 0)
    gains = (batch.rgb / np.maximum(batch.rgb_original, 1e-3)).mean((1, 2, 3))
    assert len(set(gains.round(3))) == 6
    assert batch.context_T_target.shape == (6, 2, 4, 4)


def test_a_moment_stays_in_one_process():
    parts = [stacked(rows=rows).batch(3, 1).index for rows in ((0, 1, 2), (3, 4, 5))]
    np.testing.assert_array_equal(np.concatenate(parts), stacked().batch(3, 1).index)


def test_a_stack_is_the_same_from_any_number_of_threads():
    threaded = stacked(num_threads=3, prefetch=2)
    for step, batch in zip(range(3), threaded.iterate(5), strict=False):
        assert_equal(unpack(batch), stacked().batch(5, step))


@pytest.mark.parametrize("options", [{"batch_size": 4}, {"batch_size": 6, "rows": (0, 1)}])
def test_a_batch_must_hold_whole_rigs(options):
    with pytest.raises(DataError, match=r"whole rigs of 3 cameras.*multiple of that"):
        pipeline(rig_store(), stack_cameras=True, **options)


def test_mixed_rigs_must_have_as_many_cameras():
    with pytest.raises(DataError, match="whole rigs of 2 and 3 cameras"):
        TrainPipeline(
            rig_store(), rig_store(cameras=2), image_shape=SMALL, batch_size=6, stack_cameras=True
        )


def masked_store() -> FrameStore:
    """As `memory_store`, but the lowest 8 of 24 rows and the right 10 of 40 columns are ignored."""
    counts = np.ones(SHAPE, bool)
    counts[16:] = counts[:, 30:] = False
    return memory_store(mask=encode_array(counts))


def test_a_mask_is_cropped_and_resized_with_the_pictures():
    (mask,) = pipeline(masked_store(), batch_size=1).batch(0, 0).mask
    assert mask.dtype == np.float32
    expected = np.zeros((*SMALL, 1), np.float32)
    expected[:8, :15] = 1
    np.testing.assert_array_equal(mask, expected)
    (mask,) = pipeline(masked_store(), batch_size=1, crop=(12, 12, 0, 0)).batch(0, 0).mask
    assert (mask[:4, :15] == 1).all()
    assert mask[4:].sum() == mask[:, 15:].sum() == 0


def test_without_a_mask_there_is_none_and_beside_one_all_pixels_count():
    assert pipeline().batch(0, 0).mask is None
    mixed = TrainPipeline(
        masked_store(), memory_store(), image_shape=SMALL, batch_size=10, num_threads=0
    )
    batch = mixed.batch(0, 0)
    is_whole = batch.mask.reshape(10, -1).all(axis=1)
    np.testing.assert_array_equal(is_whole, batch.index >= 5)


def test_evaluation_has_the_mask_at_the_full_size():
    masked, plain = (
        EvalPipeline(s, image_shape=SMALL, num_threads=0)[0]
        for s in (masked_store(), memory_store())
    )
    assert masked.mask.shape == masked.depth.shape
    assert masked.mask.sum() == 16 * 30
    assert plain.mask is None
