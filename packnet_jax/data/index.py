"""Which frames make a sample: a target, its context, and the other eye's frame."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from packnet_jax.data.store import FrameStore
from packnet_jax.errors import DataError


class SampleIndex(NamedTuple):
    """Records of the frames of every sample, in the order of the split."""

    target: np.ndarray
    """int64 [s]."""

    context: np.ndarray
    """int64 [s, n]: backward frames oldest first, then forward frames nearest first."""

    stereo: np.ndarray
    """int64 [s]; -1 where there is none."""


def make_index(
    store: FrameStore,
    *,
    back_context: int = 0,
    forward_context: int = 0,
    strides: Sequence[int] = (1,),
    with_stereo: bool = False,
    stack_cameras: bool = False,
) -> SampleIndex:
    """Finds the samples whose frames are all stored.

    The whole list of targets is gone through once per stride; without context, once.

    Args:
        store: the frames.
        back_context: number of frames before the target.
        forward_context: number of frames after it.
        strides: steps between these frames, at least 1.
        with_stereo: whether a sample needs the other eye's frame.
        stack_cameras: whether samples come by moment, those of a rig's cameras one after the other
            and in order; a moment that is not complete is left out.

    Raises:
        DataError: if no sample is left, or there are no rigs to stack.

    Source: packnet-sfm `datasets/kitti_dataset.py: _get_sample_context`.
    Differs: the reference walks on to further frames where one is missing, and compares frame
    numbers with the count of files; here a sample needs exactly its neighbours, and a drive may
    begin at any number.
    """
    if back_context < 0 or forward_context < 0 or min(strides, default=0) < 1:
        raise DataError(
            f"Context must be at least 0 and strides at least 1, but back_context={back_context}, "
            f"forward_context={forward_context}, strides={tuple(strides)}."
        )
    if stack_cameras and not len(store.rigs):
        raise DataError(
            f"{store.name} has no moment that all its cameras saw, so there is nothing to stack; "
            "set `data.stack_cameras` to False, or `data.cameras` to those that were on together."
        )
    offsets = _offsets(back_context, forward_context)
    record_of, position_of = _positions(store)
    rows = []
    for stride in strides if len(offsets) else strides[:1]:
        complete = []
        for target in store.targets:
            stream, number = position_of[int(target)]
            context = [record_of.get((stream, number + int(o) * stride), -1) for o in offsets]
            if -1 not in context and not (with_stereo and store.stereo[target] < 0):
                complete.append((target, context, store.stereo[target]))
        rows += _by_rig(complete, store.rigs) if stack_cameras else complete
    if not rows:
        raise DataError(
            f"None of the {len(store.targets)} targets of {store.name} has {back_context} frames "
            f"before and {forward_context} after it at strides {tuple(strides)}"
            f"{' and the other eye' if with_stereo else ''}"
            f"{' for every camera of its rig' if stack_cameras else ''}. Ask for less context, or "
            "give a split whose drives are longer."
        )
    wanted = len(store.targets) * (len(strides) if len(offsets) else 1)
    if len(rows) < wanted:
        logging.warning(
            "%s: %d of %d samples are left out, since their context%s%s is not all there",
            store.name,
            wanted - len(rows),
            wanted,
            " or other eye" if with_stereo else "",
            " or rig" if stack_cameras else "",
        )
    targets, contexts, stereos = zip(*rows, strict=True)
    return SampleIndex(
        target=np.array(targets, np.int64),
        context=np.array(contexts, np.int64).reshape(len(rows), len(offsets)),
        stereo=np.array(stereos, np.int64),
    )


def _by_rig(
    rows: Sequence[tuple[int, list[int], int]], rigs: np.ndarray
) -> list[tuple[int, list[int], int]]:
    """The rows of targets whose whole rig is among them, rig by rig."""
    row_of = {int(row[0]): row for row in rows}
    whole = (rig for rig in rigs.tolist() if all(record in row_of for record in rig))
    return [row_of[record] for rig in whole for record in rig]


def count_left_out(
    store: FrameStore,
    *,
    back_context: int = 0,
    forward_context: int = 0,
    strides: Sequence[int] = (1,),
) -> dict[str, int]:
    """How many samples `make_index` leaves out, by why the context is not all there."""
    record_of, position_of = _positions(store)
    reasons: Counter[str] = Counter()
    for stride in strides:
        offsets = stride * _offsets(back_context, forward_context)
        for target in store.targets:
            stream, number = position_of[int(target)]
            numbers = store.streams[stream]["numbers"]
            absent = [n for n in number + offsets if (stream, n) not in record_of]
            if any(numbers[0] < n < numbers[-1] for n in absent):
                reasons["beside a gap in their stream"] += 1
            elif absent:
                reasons["at the start or end of their stream"] += 1
    return dict(reasons)


def _offsets(back_context: int, forward_context: int) -> np.ndarray:
    """Steps from a target to its context."""
    return np.array([*range(-back_context, 0), *range(1, forward_context + 1)], np.int64)


def _positions(
    store: FrameStore,
) -> tuple[dict[tuple[int, int], int], dict[int, tuple[int, int]]]:
    """Records by (stream, number), and the reverse."""
    record_of = {}
    for stream, fields in enumerate(store.streams):
        for position, number in enumerate(fields["numbers"]):
            record_of[stream, number] = fields["first_record"] + position
    return record_of, {record: key for key, record in record_of.items()}
