"""Training batches from stores."""

import itertools
from collections.abc import Sequence

import grain
import jax
import numpy as np

from packnet_jax.batch import Batch
from packnet_jax.data.ahead import read_ahead
from packnet_jax.data.meter import BatchIterator, SampleMeter
from packnet_jax.data.mix import Mix
from packnet_jax.data.order import SampleOrder
from packnet_jax.data.packed import PackedBatch, stack, unpack
from packnet_jax.data.samples import InputDepth, SampleSet
from packnet_jax.data.store import FrameStore, Framing
from packnet_jax.data_config import JitterPlace
from packnet_jax.errors import DataError
from tfds_builders.pictures import CropBorders


class TrainPipeline:
    """An endless stream of training batches that can be entered at any step.

    `packed(seed, step)` is a pure function: the same arrays, whatever was asked before, from
    however many threads. It rests on three things: the order of samples is a permutation per pass
    over the mix, derived from the seed and the number of the pass; the colour jitter of a sample,
    and which points of its input depth are kept, are drawn from a generator derived from the seed
    and the sample's place in the stream; and the store's bytes do not change. The first is
    `SampleOrder`, the second grain's `random_map`, so a stream is promised to repeat under the same
    versions of numpy and grain, and of Pillow and OpenCV for the pixels. Which `rows` of a batch a
    process makes changes nothing in them: those of all processes are together, in order, the batch
    that one would have made.

    Passes follow each other without a gap: a batch may end one and begin the next.

    Several stores are mixed sample by sample, so that a batch may hold frames of each. `Mix` says
    how often they come, and numbers the samples of all of them for `Batch.index`.

    Batches hold a mask where any of the stores has one.

    Source: packnet-sfm `models/model_wrapper.py: setup_dataset`.
    Differs: the reference writes each set's samples down `repeat` times and shuffles an epoch as a
    whole; here repeats' common divisor is taken out, so that, for instance, a set alone has all its
    samples seen once before one comes again. An epoch holds the same samples.
    """

    def __init__(
        self,
        *stores: FrameStore,
        image_shape: tuple[int, int],
        crop: CropBorders = (),
        batch_size: int,
        back_context: int = 1,
        forward_context: int = 1,
        strides: Sequence[int] = (1,),
        jittering: Sequence[float] = (),
        jitter_on: JitterPlace = "host",
        shuffle: bool = True,
        repeats: Sequence[int] = (),
        with_depth: bool = False,
        with_pose: bool = False,
        with_stereo: bool = False,
        input_depths: Sequence[InputDepth] = (),
        num_threads: int = 4,
        prefetch: int = 8,
        cache_resized: bool = False,
        stack_cameras: bool = False,
        rows: Sequence[int] | None = None,
    ):
        """Args:
        stores: the frames of each set.
        image_shape: (height, width) of the images in a batch, whatever their own size.
        crop: what is cut off all pictures and depth maps before resizing; see
            `tfds_builders.pictures.crop_box`.
        batch_size: of all processes together.
        back_context: context frames before the target.
        forward_context: context frames after it.
        strides: steps between context frames; every stride is a pass over the targets.
        jittering: strengths as in `draw_jitter`; () for none.
        jitter_on: whether `packed` batches are jittered, or bring their draws for `unpack`.
        shuffle: whether each pass is in a new order.
        repeats: how often each store's samples come in an epoch; () for once.
        with_depth: whether batches hold the target's depth.
        with_pose: whether they hold measured camera motion.
        with_stereo: whether they hold the other eye's image.
        input_depths: of each store, what becomes `Batch.input_depth`; () for none.
        num_threads: threads that prepare batches ahead in `iterate`; 0 for none.
        prefetch: how many batches are prepared ahead, at most, or one for each thread.
        cache_resized: keep each frame in memory once it is decoded and resized (3 h w bytes).
        stack_cameras: keep what a rig's cameras took at one moment together, in order, in one
            batch of one process; each camera's jitter is its own.
        rows: which rows of each batch this process makes, rising; None for all.

        Raises:
            DataError: if a store lacks what is asked for, or sizes do not fit.
        """
        repeats = tuple(repeats) or (1,) * len(stores)
        rows = tuple(range(batch_size) if rows is None else rows)
        if not rows or not set(rows) <= set(range(batch_size)):
            raise DataError(
                f"A batch of {batch_size} has no rows {rows}; make it a positive multiple of the "
                "number of devices."
            )
        if not stores or len(repeats) != len(stores) or min(repeats) < 1:
            raise DataError(
                f"There are {len(stores)} sets and `repeats` {repeats}, but there must be at least "
                "one set, and for each a repeat of at least 1."
            )
        if len(input_depths) not in (0, len(stores)):
            raise DataError(
                f"There are {len(stores)} sets and {len(input_depths)} input depths, but a batch "
                "holds samples of all sets; give each its own, or none."
            )
        self.sets = [
            SampleSet(
                store,
                framing=Framing(image_shape, tuple(crop)),
                back_context=back_context,
                forward_context=forward_context,
                strides=strides,
                jittering=jittering,
                jitter_on=jitter_on,
                with_depth=with_depth,
                with_pose=with_pose,
                with_stereo=with_stereo,
                input_depth=input_depth,
                with_mask=any(other.mask is not None for other in stores),
                cache_resized=cache_resized,
                stack_cameras=stack_cameras,
            )
            for store, input_depth in zip(
                stores, tuple(input_depths) or (None,) * len(stores), strict=True
            )
        ]
        cameras = {samples.cameras_per_moment for samples in self.sets}
        moments = tuple(dict.fromkeys(row // max(cameras) for row in rows))
        if len(cameras) > 1 or batch_size % max(cameras) or rows != _rows_of(moments, max(cameras)):
            raise DataError(
                f"data.stack_cameras: {len(rows)} rows of a batch of {batch_size} can not "
                f"hold whole rigs of {' and '.join(map(str, sorted(cameras)))} cameras; give every "
                "set as many `cameras`, and make train.batch_size a multiple of that on each "
                "process."
            )
        self._moments = moments
        self._cameras_per_moment = max(cameras)
        self._mix = Mix([len(samples) for samples in self.sets], repeats)
        samples_per_epoch = len(self._mix.one_pass) * self._mix.passes_per_epoch
        self.steps_per_epoch = -(-samples_per_epoch // batch_size)
        self.batch_size = batch_size
        self._meter = SampleMeter()
        self._shuffle = shuffle
        self._read_options = read_ahead(num_threads, prefetch)

    def __len__(self) -> int:
        """Number of different samples."""
        return len(self._mix)

    def batch(self, seed: int, step: int) -> Batch:
        """This process's rows of the batch of `step` (from 0), unpacked, in numpy."""
        return jax.device_get(unpack(self.packed(seed, step)))

    def packed(self, seed: int, step: int) -> PackedBatch:
        """The same as it travels."""
        packed = self._stream(seed)[step]
        assert packed is not None  # the stream has no end
        return packed

    def iterate(self, seed: int, start_step: int = 0) -> BatchIterator:
        """`packed(seed, start_step)`, `packed(seed, start_step + 1)`, ... without end."""
        batches = iter(self._stream(seed).to_iter_dataset(self._read_options))
        batches.set_state({"next_index": start_step})
        return BatchIterator(batches, self._meter)

    def _stream(self, seed: int) -> grain.MapDataset:
        together = self._cameras_per_moment
        order = SampleOrder(
            len(self._mix.one_pass), seed=seed, shuffle=self._shuffle, together=together
        )
        samples = grain.MapDataset.source(order).seed(seed).random_map(self._sample)
        moments = samples.batch(together, drop_remainder=True, batch_fn=list)
        mine = grain.MapDataset.source(_Share(moments, self._moments, self.batch_size // together))
        return mine.batch(len(self._moments), drop_remainder=True, batch_fn=self._stack)

    def _sample(self, place: int, rng: np.random.Generator) -> PackedBatch:
        """The sample at a place in a pass."""
        with self._meter.measure(samples=1):
            number = int(self._mix.one_pass[place])
            which, position = self._mix.locate(number)
            sample = self.sets[which].sample(position, rng)
            return sample._replace(others=sample.others | {"index": np.array(number, np.int32)})

    def _stack(self, moments: Sequence[Sequence[PackedBatch]]) -> PackedBatch:
        with self._meter.measure(samples=0):
            return stack(list(itertools.chain.from_iterable(moments)))


class _Share:
    """The moments of one process, batch after batch."""

    def __init__(self, moments: grain.MapDataset, chosen: Sequence[int], per_batch: int):
        """Args:
        moments: of all processes, with everything drawn.
        chosen: which of each batch's.
        per_batch: how many moments a batch has.
        """
        self._moments, self._chosen, self._per_batch = moments, chosen, per_batch

    def __len__(self) -> int:
        return len(self._moments) // self._per_batch * len(self._chosen)

    def __getitem__(self, index: int) -> Sequence[PackedBatch]:
        step, which = divmod(int(index), len(self._chosen))
        moment = self._moments[step * self._per_batch + self._chosen[which]]
        assert moment is not None  # nothing is filtered
        return moment


def _rows_of(moments: Sequence[int], cameras: int) -> tuple[int, ...]:
    return tuple(moment * cameras + camera for moment in moments for camera in range(cameras))
