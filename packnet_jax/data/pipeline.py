"""Batches from a store: `TrainPipeline` for steps, `EvalPipeline` for one image at a time."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grain
import numpy as np

from packnet_jax.batch import Batch
from packnet_jax.data.index import make_index
from packnet_jax.data.jitter import apply_jitter, draw_jitter
from packnet_jax.data.store import FrameStore, StoredFrame
from packnet_jax.data.transforms import resize_depth, resize_image, resize_intrinsics, to_float
from packnet_jax.errors import DataError


class TrainPipeline:
    """An endless stream of training batches that can be entered at any step.

    `batch(seed, step)` is a pure function: the same arrays, whatever was asked before, from
    however many threads. It rests on three things: the order of samples is a permutation per pass
    over the data, derived from the seed and the number of the pass; the colour jitter of a sample
    is drawn from a generator derived from the seed and the sample's place in the stream; and the
    store's bytes do not change. The first two are grain's index sampling and `random_map`, so a
    stream is promised to repeat under the same version of grain and numpy, and of Pillow and
    OpenCV for the pixels. With several hosts, sample i of the stream goes to host i modulo their
    number after the draw, so that all hosts' parts of a step are together the batch that one host
    would have made.

    Passes follow each other without a gap: a batch may end one and begin the next.
    """

    def __init__(
        self,
        store: FrameStore,
        *,
        image_shape: tuple[int, int],
        batch_size: int,
        back_context: int = 1,
        forward_context: int = 1,
        strides: Sequence[int] = (1,),
        jittering: Sequence[float] = (),
        shuffle: bool = True,
        repeat: int = 1,
        with_depth: bool = False,
        with_pose: bool = False,
        with_stereo: bool = False,
        num_threads: int = 4,
        prefetch: int = 8,
        cache_resized: bool = False,
        process_index: int = 0,
        process_count: int = 1,
    ):
        """Args:
        store: the frames.
        image_shape: (height, width) of the images in a batch.
        batch_size: of all hosts together; each makes `batch_size / process_count` samples.
        back_context: context frames before the target.
        forward_context: context frames after it.
        strides: steps between context frames; every stride is a pass over the targets.
        jittering: strengths as in `draw_jitter`; () for none.
        shuffle: whether each pass is in a new order.
        repeat: how often one epoch passes over the samples; only `steps_per_epoch` depends on it.
        with_depth: whether batches hold the target's depth.
        with_pose: whether they hold measured camera motion.
        with_stereo: whether they hold the other eye's image.
        num_threads: threads that prepare batches ahead in `iterate`; 0 for none.
        prefetch: how many batches are prepared ahead, at most.
        cache_resized: keep each frame in memory once it is decoded and resized (3 h w bytes).
        process_index: which of the hosts this is.
        process_count: number of hosts.

        Raises:
            DataError: if the store lacks what is asked for, or sizes do not fit.
        """
        if with_depth and not store.has_depth:
            raise DataError(f"{store.name} has no depth; set `data.depth_type` or do not use it.")
        if with_pose and not store.has_pose:
            raise DataError(f"{store.name} has no camera poses, which the objective asks for.")
        if batch_size < 1 or batch_size % process_count or not 0 <= process_index < process_count:
            raise DataError(
                f"A batch of {batch_size} can not be shared by {process_count} hosts (this is "
                f"{process_index}); make it a positive multiple of their number."
            )
        if repeat < 1:
            raise DataError(f"`repeat` is {repeat}, but every sample must come at least once.")
        self.index = make_index(
            store,
            back_context=back_context,
            forward_context=forward_context,
            strides=strides,
            with_stereo=with_stereo,
        )
        self.batch_size = batch_size
        self.steps_per_epoch = -(-len(self.index.target) * repeat // batch_size)
        self._frames = _ResizedFrames(store, image_shape, is_kept=cache_resized)
        self._jittering = tuple(jittering)
        self._shuffle = shuffle
        self._with_depth, self._with_pose, self._with_stereo = with_depth, with_pose, with_stereo
        self._read_options = grain.ReadOptions(
            num_threads=num_threads, prefetch_buffer_size=prefetch if num_threads else 0
        )
        self._process_index, self._process_count = process_index, process_count

    def __len__(self) -> int:
        """Number of samples in one pass."""
        return len(self.index.target)

    def batch(self, seed: int, step: int) -> Batch:
        """This host's part of the batch of `step` (from 0), in numpy."""
        return self._stream(seed)[step]

    def iterate(self, seed: int, start_step: int = 0) -> "BatchIterator":
        """`batch(seed, start_step)`, `batch(seed, start_step + 1)`, ... without end."""
        batches = iter(self._stream(seed).to_iter_dataset(self._read_options))
        batches.set_state({"next_index": start_step})
        return BatchIterator(batches, self.batch_size)

    def _stream(self, seed: int) -> grain.MapDataset:
        samples = grain.MapDataset.range(len(self)).seed(seed)
        if self._shuffle:
            samples = samples.shuffle()
        samples = samples.repeat().random_map(self._sample)
        mine = samples[self._process_index :: self._process_count]
        local_size = self.batch_size // self._process_count
        return mine.batch(local_size, drop_remainder=True, batch_fn=_stack)

    def _sample(self, position: int, rng: np.random.Generator) -> Batch:
        """One sample as a `Batch` without the batch axis."""
        target = self._frames[int(self.index.target[position])]
        context = [self._frames[int(record)] for record in self.index.context[position]]
        images = [target.image, *(frame.image for frame in context)]
        jittered = images
        if self._jittering:
            jitter = draw_jitter(rng, self._jittering)
            jittered = [apply_jitter(image, jitter) for image in images]
        no_context = np.zeros((0, *target.image.shape), np.uint8)
        sample = Batch(
            rgb=to_float(jittered[0]),
            rgb_original=to_float(images[0]),
            rgb_context=to_float(np.stack(jittered[1:]) if context else no_context),
            rgb_context_original=to_float(np.stack(images[1:]) if context else no_context),
            intrinsics=target.intrinsics.astype(np.float32),
            index=np.int32(position),
            valid=np.bool_(True),
        )
        if self._with_depth:
            sample = sample._replace(depth=self._frames.depth(target.record)[..., None])
        if self._with_pose:
            sample = sample._replace(context_T_target=_motion(target, context))
        if self._with_stereo:
            stereo = self._frames[int(self.index.stereo[position])]
            sample = sample._replace(
                rgb_stereo=to_float(stereo.image),
                stereo_T_target=target.stereo_T_camera.astype(np.float32),
            )
        return sample


class BatchIterator(Iterator[Batch]):
    """Batches in order, with a note of how fast they come."""

    def __init__(self, batches: Iterator[Batch], batch_size: int):
        self._batches = batches
        self._batch_size = batch_size
        self._started = time.perf_counter()
        self._count = 0
        self.seconds_waited = 0.0
        """Time spent in `next` so far: what the data cost the caller."""

    def __next__(self) -> Batch:
        before = time.perf_counter()
        batch = next(self._batches)
        self.seconds_waited += time.perf_counter() - before
        self._count += 1
        return batch

    @property
    def samples_per_second(self) -> float:
        """Samples handed over so far, of all hosts, per second since the iterator was made."""
        return self._count * self._batch_size / (time.perf_counter() - self._started)


class EvalExample(NamedTuple):
    """One image to evaluate, without batch axis."""

    rgb: np.ndarray
    """float32 [h, w, 3] in [0, 1] at the size the network sees."""

    depth: np.ndarray | None
    """Ground truth at its own, full size, float32 [H, W] in metres, 0 = none; or None."""

    intrinsics: np.ndarray
    """float32 [3, 3], in pixels of `rgb`."""

    name: str
    """Name of the frame."""

    index: int
    """Position in the split."""


class EvalPipeline:
    """The targets of a store in the order of its split, each once.

    Differs: packnet-sfm leaves the intrinsics at full size while it resizes the image; here they
    follow the image. No depth metric depends on them.
    """

    def __init__(
        self,
        store: FrameStore,
        *,
        image_shape: tuple[int, int],
        num_threads: int = 4,
        prefetch: int = 8,
    ):
        """Args:
        store: the frames.
        image_shape: (height, width) of `EvalExample.rgb`.
        num_threads: threads that prepare examples ahead; 0 for none.
        prefetch: how many are prepared ahead, at most.
        """
        self._store = store
        self._image_shape = image_shape
        self._read_options = grain.ReadOptions(
            num_threads=num_threads, prefetch_buffer_size=prefetch if num_threads else 0
        )

    def __len__(self) -> int:
        return len(self._store.targets)

    def __getitem__(self, index: int) -> EvalExample:
        frame = self._store[int(self._store.targets[index])]
        image = frame.image()
        intrinsics = resize_intrinsics(frame.intrinsics, image.shape[:2], self._image_shape)
        return EvalExample(
            rgb=to_float(resize_image(image, self._image_shape)),
            depth=frame.depth(),
            intrinsics=intrinsics.astype(np.float32),
            name=frame.name,
            index=int(index),
        )

    def __iter__(self) -> Iterator[EvalExample]:
        examples = grain.MapDataset.range(len(self)).map(self.__getitem__)
        return iter(examples.to_iter_dataset(self._read_options))


class _ResizedFrame(NamedTuple):
    record: int
    image: np.ndarray
    intrinsics: np.ndarray
    world_T_camera: np.ndarray
    stereo_T_camera: np.ndarray


class _ResizedFrames:
    """Frames at one size; a frame that is kept equals one made anew, so keeping is invisible."""

    def __init__(self, store: FrameStore, shape: tuple[int, int], *, is_kept: bool):
        self._store = store
        self._shape = shape
        self._kept: dict[Any, Any] | None = {} if is_kept else None

    def __getitem__(self, record: int) -> _ResizedFrame:
        return self._get(record, lambda: self._resize(record, self._store[record]))

    def depth(self, record: int) -> np.ndarray:
        """Depth of a target, float32 [h, w]."""
        return self._get(("depth", record), lambda: self._resized_depth(record))

    def _get(self, key: Any, make: Callable[[], Any]) -> Any:
        if self._kept is None:
            return make()
        if key not in self._kept:  # two threads may both make it: the same value
            self._kept[key] = make()
        return self._kept[key]

    def _resize(self, record: int, frame: StoredFrame) -> _ResizedFrame:
        image = frame.image()
        return _ResizedFrame(
            record=record,
            image=resize_image(image, self._shape),
            intrinsics=resize_intrinsics(frame.intrinsics, image.shape[:2], self._shape),
            world_T_camera=frame.world_T_camera,
            stereo_T_camera=frame.stereo_T_camera,
        )

    def _resized_depth(self, record: int) -> np.ndarray:
        depth = self._store[record].depth()
        if depth is None:
            raise DataError(f"{self._store[record].name} has no depth in {self._store.name}.")
        return resize_depth(depth, self._shape)


def _motion(target: _ResizedFrame, context: Sequence[_ResizedFrame]) -> np.ndarray:
    """context_T_target, float32 [n, 4, 4]."""
    motion = np.zeros((len(context), 4, 4))
    for i, frame in enumerate(context):
        rotation, translation = frame.world_T_camera[:3, :3], frame.world_T_camera[:3, 3]
        context_T_world = np.eye(4)
        context_T_world[:3, :3] = rotation.T
        context_T_world[:3, 3] = -rotation.T @ translation
        motion[i] = context_T_world @ target.world_T_camera
    return motion.astype(np.float32)


def _stack(samples: Sequence[Batch]) -> Batch:
    columns = zip(*samples, strict=True)
    return Batch(*(None if column[0] is None else np.stack(column) for column in columns))
