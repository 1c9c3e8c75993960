"""What travels in bytes is, once unpacked, what the host would have made in floats."""

import jax
import numpy as np
import pytest
from frame_stores import SHAPE, memory_store

from packnet_jax import augment, sharding
from packnet_jax.data.jitter import Jitter, apply_jitter, draw_jitter, for_device
from packnet_jax.data.packed import unpack
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.transforms import to_float

JITTER = (0.2, 0.2, 0.2, 0.05)


def pipeline(**options) -> TrainPipeline:
    defaults = {"image_shape": (12, 20), "batch_size": 4, "jittering": JITTER, "num_threads": 0}
    return TrainPipeline(memory_store(), **(defaults | options))


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_pictures_travel_as_bytes_and_become_the_host_s_floats():
    packed = pipeline(with_stereo=True, with_depth=True).packed(3, 1)
    assert packed.jitter is None
    pictures = (*packed.frames, *packed.jittered, packed.stereo)
    assert {picture.dtype.name for picture in pictures} == {"uint8"}
    batch = unpack(packed)
    assert_equal(batch.rgb, to_float(packed.jittered[0]))
    assert_equal(batch.rgb_context, to_float(np.stack(packed.jittered[1:], axis=1)))
    assert_equal(batch.rgb_original, to_float(packed.frames[0]))
    assert_equal(batch.rgb_context_original, to_float(np.stack(packed.frames[1:], axis=1)))
    assert_equal(batch.rgb_stereo, to_float(packed.stereo))
    assert_equal(batch.depth, packed.others["depth"])


@pytest.mark.parametrize("jitter_on", ["host", "device"])
def test_without_jitter_pictures_travel_once(jitter_on):
    packed = pipeline(jittering=(), jitter_on=jitter_on).packed(0, 0)
    assert packed.jittered is packed.jitter is None
    batch = unpack(packed)
    assert_equal(batch.rgb, batch.rgb_original)
    assert_equal(batch.rgb_context, batch.rgb_context_original)


def test_jitter_on_the_device_is_that_of_the_host():
    """Equal where this was measured (on CPU); a level's difference is what is promised."""
    host, device = pipeline(image_shape=SHAPE), pipeline(image_shape=SHAPE, jitter_on="device")
    for step in range(3):
        packed = device.packed(7, step)
        assert packed.jittered is None
        assert {len(draw) for draw in packed.jitter} == {4}
        assert_equal(unpack(packed), host.batch(7, step))


def test_draws_are_the_host_s_also_with_channel_gains():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (12, 20, 3), dtype=np.uint8)
    jittered = jax.jit(augment.apply_jitter)
    for _ in range(20):
        jitter = draw_jitter(rng, (*JITTER, 0.1))
        expected = to_float(apply_jitter(picture, jitter))
        assert_equal(jittered(to_float(picture), for_device(jitter)), expected)


def test_the_hue_turns_by_the_host_s_whole_levels_also_at_their_borders():
    borders = np.arange(-127, 128) / 255
    turns = np.concatenate([borders, np.nextafter(borders, 1), np.nextafter(borders, -1)])
    for turn in turns:
        sent = for_device(Jitter(hue=float(turn))).hue
        assert sent.dtype == np.float32
        assert int(sent * np.float32(255)) == int(turn * 255), turn


@pytest.mark.parametrize("num_threads", [0, 3])
def test_with_draws_in_it_a_batch_still_depends_on_seed_and_step_alone(num_threads):
    expected = [pipeline(jitter_on="device").packed(5, step) for step in range(5)]
    resumed = pipeline(jitter_on="device", num_threads=num_threads, prefetch=2).iterate(5, 2)
    for batch, whole in zip(resumed, expected[2:], strict=False):
        assert_equal(batch, whole)


def test_processes_draw_their_parts_of_the_batch_of_one():
    whole = pipeline(jitter_on="device").packed(2, 3)
    for i in range(2):
        rows = range(i, len(whole.frames[0]), 2)
        mine = pipeline(jitter_on="device", rows=rows).packed(2, 3)
        assert_equal(mine, jax.tree.map(lambda field, i=i: field[i::2], whole))


@pytest.mark.parametrize("jitter_on", ["host", "device"])
def test_what_is_split_over_devices_stays_there_and_is_the_same(jitter_on):
    mesh = sharding.make_mesh()
    packed = pipeline(jitter_on=jitter_on).packed(0, 0)
    split = unpack(sharding.place_batch(packed, mesh))
    for field in jax.tree.leaves(split):
        assert field.sharding.is_equivalent_to(sharding.batch_sharding(mesh), field.ndim)
    assert_equal(split, unpack(packed))


def test_a_packed_batch_is_an_eighth_of_its_floats():
    packed = pipeline(jitter_on="device").packed(0, 0)
    floats = unpack(packed)[:4]
    assert 8 * sum(f.nbytes for f in packed.frames) == sum(f.nbytes for f in floats)
