"""The training samples of one store: a target, its context, and what else an objective asks for."""

from collections.abc import Sequence

import numpy as np

from packnet_jax.batch import Batch
from packnet_jax.data.index import make_index
from packnet_jax.data.jitter import apply_jitter, draw_jitter
from packnet_jax.data.resized import ResizedFrames, motion
from packnet_jax.data.store import FrameStore, Framing
from packnet_jax.data.transforms import to_float
from packnet_jax.errors import DataError


class SampleSet:
    """The training samples of one store."""

    def __init__(
        self,
        store: FrameStore,
        *,
        framing: Framing,
        back_context: int,
        forward_context: int,
        strides: Sequence[int],
        jittering: Sequence[float],
        with_depth: bool,
        with_pose: bool,
        with_stereo: bool,
        with_mask: bool,
        cache_resized: bool,
    ):
        """Args as in `TrainPipeline`, with crop and shape together as `framing`, and `with_mask`,
        whether samples hold a mask: all ones where the store has none.

        Raises:
            DataError: if the store lacks what is asked for.
        """
        if with_depth and not store.has_depth:
            raise DataError(f"{store.name} has no depth; set `data.depth_type` or do not use it.")
        if with_pose and not store.has_pose:
            raise DataError(f"{store.name} has no camera poses, which the objective asks for.")
        self.index = make_index(
            store,
            back_context=back_context,
            forward_context=forward_context,
            strides=strides,
            with_stereo=with_stereo,
        )
        self._frames = ResizedFrames(store, framing, is_kept=cache_resized)
        self._jittering = tuple(jittering)
        self._with_depth, self._with_pose, self._with_stereo = with_depth, with_pose, with_stereo
        self._with_mask = with_mask

    def __len__(self) -> int:
        return len(self.index.target)

    def sample(self, position: int, rng: np.random.Generator) -> Batch:
        """One sample as a `Batch` without the batch axis; the jitter is drawn from `rng`."""
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
            index=np.array(position, np.int32),
            valid=np.array(True),
        )
        if self._with_depth:
            sample = sample._replace(depth=self._frames.depth(target.record)[..., None])
        if self._with_pose:
            sample = sample._replace(context_T_target=motion(target, context))
        if self._with_stereo:
            stereo = self._frames[int(self.index.stereo[position])]
            sample = sample._replace(
                rgb_stereo=to_float(stereo.image),
                stereo_T_target=target.stereo_T_camera.astype(np.float32),
            )
        if self._with_mask:
            mask = self._frames.mask
            counts = np.ones(target.image.shape[:2], bool) if mask is None else mask
            sample = sample._replace(mask=counts.astype(np.float32)[..., None])
        return sample
