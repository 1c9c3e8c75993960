"""The training samples of one store: a target, its context, and what else an objective asks for."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from packnet_jax.data.index import make_index
from packnet_jax.data.jitter import apply_jitter, draw_jitter, for_device
from packnet_jax.data.packed import PackedBatch
from packnet_jax.data.resized import ResizeDepth, ResizedFrames, check_input_depth, motion
from packnet_jax.data.store import FrameStore, Framing
from packnet_jax.data.transforms import resize_depth, sparsify
from packnet_jax.data_config import JitterPlace
from packnet_jax.errors import DataError


class InputDepth(NamedTuple):
    """Sparse depth for networks that take it."""

    feature: str
    """Of the store."""
    resize: ResizeDepth = resize_depth
    keep: tuple[float, float] = (1.0, 1.0)
    """Range of the share of its points that is kept; see `transforms.sparsify`."""


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
        jitter_on: JitterPlace,
        with_depth: bool,
        with_pose: bool,
        with_stereo: bool,
        input_depth: InputDepth | None,
        with_mask: bool,
        cache_resized: bool,
        stack_cameras: bool,
    ):
        """Args as in `TrainPipeline`, with crop and shape together as `framing`, this store's input
        depth, and `with_mask`, whether samples hold a mask: all ones where the store has none.

        Raises:
            DataError: if the store lacks what is asked for.
        """
        if with_depth and not store.has_depth:
            raise DataError(f"{store.name} has no depth; set `data.depth_type` or do not use it.")
        if with_pose and not store.has_pose:
            raise DataError(f"{store.name} has no camera poses, which the objective asks for.")
        if input_depth is not None:
            check_input_depth(store, input_depth.feature)
        self.index = make_index(
            store,
            back_context=back_context,
            forward_context=forward_context,
            strides=strides,
            with_stereo=with_stereo,
            stack_cameras=stack_cameras,
        )
        self.cameras_per_moment = store.rigs.shape[1] if stack_cameras else 1
        """So many samples in a row were taken at one moment and stay together."""
        self._frames = ResizedFrames(store, framing, is_kept=cache_resized)
        self._jittering, self._jitter_on = tuple(jittering), jitter_on
        self._with_depth, self._with_pose, self._with_stereo = with_depth, with_pose, with_stereo
        self._input_depth = input_depth
        self._with_mask = with_mask

    def __len__(self) -> int:
        return len(self.index.target)

    def sample(self, position: int, rng: np.random.Generator) -> PackedBatch:
        """One sample, without the batch axis.

        The jitter and then the kept points of the input depth are drawn from `rng`.
        """
        target = self._frames[int(self.index.target[position])]
        context = [self._frames[int(record)] for record in self.index.context[position]]
        images = (target.image, *(frame.image for frame in context))
        jittered = draw = None
        if self._jittering:
            jitter = draw_jitter(rng, self._jittering)
            if self._jitter_on == "host":
                jittered = tuple(apply_jitter(image, jitter) for image in images)
            else:
                draw = for_device(jitter)
        stereo = None
        others: dict[str, Any] = {
            "intrinsics": target.intrinsics.astype(np.float32),
            "index": np.array(position, np.int32),
            "valid": np.array(True),
        }
        if self._with_depth:
            others["depth"] = self._frames.depth(target.record)[..., None]
        if self._input_depth is not None:
            feature, resize, keep = self._input_depth
            given = sparsify(self._frames.depth(target.record, feature, resize), keep, rng)
            others["input_depth"] = given[..., None]
        if self._with_pose:
            others["context_T_target"] = motion(target, context)
        if self._with_stereo:
            stereo = self._frames[int(self.index.stereo[position])].image
            others["stereo_T_target"] = target.stereo_T_camera.astype(np.float32)
        if self._with_mask:
            mask = self._frames.mask
            counts = np.ones(target.image.shape[:2], bool) if mask is None else mask
            others["mask"] = counts.astype(np.float32)[..., None]
        return PackedBatch(images, jittered, draw, stereo, others)
