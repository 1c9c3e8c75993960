"""What of a set is strange, in numbers for programs and in words for people."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from packnet_jax.data.index import count_left_out
from packnet_jax.data.store import FrameStore
from packnet_jax.data_check.walk import Camera, Walk, walk_through
from packnet_jax.data_config import DataConfig

FOCAL_RANGE = (0.3, 3.0)
"""Of the picture's longer side: views of 118 to 19 degrees."""

LARGEST_ASPECT = 1.2
"""Between fx and fy; pixels are all but square."""

STATIC_SHARE = 0.1
USABLE_SHARE = 0.5
JUMP = 5.0
"""Times the median step of the set."""
SMALLEST_JUMP = 1.0
"""Metres; below, the noise of a slow camera."""
LARGEST_TURN = 30.0
"""Degrees from one frame to the next."""

_NAMED = 3


class SetCheck(NamedTuple):
    """One set."""

    title: str
    """`<dataset>-<split>`."""
    facts: dict[str, Any]
    """Measurements, ready for JSON."""
    rows: list[tuple[str, str]]
    """The same in words."""
    warnings: list[str]

    def table(self) -> str:
        """For the terminal."""
        lines = [f"  {name:<13}{text}" for name, text in self.rows]
        marked = [f"  ! {warning}" for warning in self.warnings] or ["  nothing strange"]
        return "\n".join([self.title, *lines, *marked])


class _Part(NamedTuple):
    """What is to say of one aspect."""

    facts: dict[str, Any]
    row: tuple[str, str] | None
    warnings: Sequence[str] = ()


def check_set(
    store: FrameStore,
    *,
    title: str,
    data: DataConfig,
    with_context: bool,
    max_frames: int | None = None,
) -> SetCheck:
    """Walks through a set and judges what is there.

    Args:
        store: the frames.
        title: how reports name the set.
        data: how samples are made of it.
        with_context: whether a sample needs its neighbours, as in training.
        max_frames: look at so many from the beginning; None for all.
    """
    walk = walk_through(store, max_frames=max_frames)
    parts = [
        _frames(store, walk),
        _samples(store, data if with_context else None),
        _missing(store, walk),
        _camera(walk),
        _still(walk),
        _copies(walk),
        _poses(store, walk),
        _depth(walk),
        _mask(store),
    ]
    rows = [part.row for part in parts if part.row is not None]
    rows += [("note", note) for note in store.notes]
    return SetCheck(
        title,
        {key: value for part in parts for key, value in part.facts.items()}
        | {"notes": list(store.notes)},
        rows,
        [warning for part in parts for warning in part.warnings],
    )


def _frames(store: FrameStore, walk: Walk) -> _Part:
    facts = {"frames": len(store), "frames_looked_at": walk.num_frames}
    facts |= {"streams": len(store.streams), "targets": len(store.targets)}
    looked = "" if walk.num_frames == len(store) else f", {walk.num_frames} looked at"
    streams = "1 stream" if len(store.streams) == 1 else f"{len(store.streams)} streams"
    text = f"{len(store)} in {streams}{looked}; {len(store.targets)} targets"
    return _Part(facts, ("frames", text))


def _samples(store: FrameStore, data: DataConfig | None) -> _Part:
    if data is None:
        return _Part({}, None)
    context = {"back_context": data.back_context, "forward_context": data.forward_context}
    left_out = count_left_out(store, **context, strides=data.strides)
    wanted = len(store.targets) * len(data.strides)
    usable = wanted - sum(left_out.values())
    needed = f"their context ({data.back_context} before, {data.forward_context} after)"
    reasons = "".join(f"; {count} are {reason}" for reason, count in left_out.items())
    warnings = []
    if usable == 0:
        warnings.append(f"no target has {needed}: nothing can be trained; record longer streams")
    elif usable < USABLE_SHARE * wanted:
        warnings.append(
            f"only {usable} of {wanted} samples have {needed}; are frames missing, or the numbers "
            "in their names no steps of one?"
        )
    facts = {"samples": usable, "samples_wanted": wanted, "samples_left_out": left_out}
    row = "samples", f"{usable} of {wanted} have {needed}{reasons}"
    return _Part(facts, row, warnings)


def _missing(store: FrameStore, walk: Walk) -> _Part:
    facts = {"missing": list(store.missing), "unreadable": walk.unreadable}
    first = [f"{item['name']}: {item['reason']}" for item in store.missing] + walk.unreadable
    if not first:
        return _Part(facts, ("missing", "none"))
    warning = f"{len(first)} frames are missing or damaged, first: {'; '.join(first[:_NAMED])}"
    return _Part(facts, ("missing", str(len(first))), [warning])


def _camera(walk: Walk) -> _Part:
    facts = [{**camera._asdict(), "frames": count} for camera, count in walk.cameras.items()]
    warnings = [text for camera in walk.cameras for text in _strange(camera)]
    if not walk.cameras:
        return _Part({"cameras": facts}, None)
    (camera, _), *others = walk.cameras.most_common()
    height, width = camera.shape
    text = (
        f"{width}x{height}, fx {camera.fx:.1f} fy {camera.fy:.1f} cx {camera.cx:.1f} "
        f"cy {camera.cy:.1f}; {_view(camera):.0f} degrees across"
    )
    text += f"; {len(others)} others" if others else ""
    return _Part({"cameras": facts}, ("camera", text), warnings)


def _view(camera: Camera) -> float:
    return float(2 * np.degrees(np.arctan(camera.shape[1] / 2 / camera.fx)))


def _strange(camera: Camera) -> list[str]:
    """What makes intrinsics unlikely for the size of their pictures."""
    height, width = camera.shape
    low, high = (share * max(camera.shape) for share in FOCAL_RANGE)
    size = f"a picture of {width}x{height}"
    warnings = []
    if not (width / 3 < camera.cx < 2 * width / 3 and height / 3 < camera.cy < 2 * height / 3):
        warnings.append(
            f"the principal point ({camera.cx:g}, {camera.cy:g}) is not in the middle third of "
            f"{size}: is the calibration of another size or crop?"
        )
    if not (low < camera.fx < high and low < camera.fy < high):
        warnings.append(
            f"fx {camera.fx:g} and fy {camera.fy:g} are unlikely for {size}, where {low:.0f} to "
            f"{high:.0f} pixels are usual: are they pixels of this size?"
        )
    elif max(camera.fx / camera.fy, camera.fy / camera.fx) > LARGEST_ASPECT:
        warnings.append(f"fx {camera.fx:g} and fy {camera.fy:g} differ: were {size} stretched?")
    return warnings


def _still(walk: Walk) -> _Part:
    count, uniform = len(walk.static), len(walk.uniform)
    facts = {"static": walk.static, "uniform": walk.uniform}
    warnings = []
    if count > STATIC_SHARE * max(walk.num_neighbours, 1):
        warnings.append(
            f"{count} of {walk.num_neighbours} frames are nearly equal to the one before, and "
            "teach nothing: set data.frames.static_threshold=1 or a larger data.frames.stride "
            "(image_folder), or leave them out of the split"
        )
    if uniform:
        warnings.append(f"{uniform} pictures are of one colour, such as {walk.uniform[0]}")
    return _Part(facts, ("static", f"{count} of {walk.num_neighbours} steps"), warnings)


def _copies(walk: Walk) -> _Part:
    facts = {"copies": [list(pair) for pair in walk.copies]}
    if not walk.copies:
        return _Part(facts, ("copies", "none"))
    copy, original = walk.copies[0]
    warning = f"{len(walk.copies)} files are copies of others, such as {copy} of {original}"
    return _Part(facts, ("copies", str(len(walk.copies))), [warning])


def _poses(store: FrameStore, walk: Walk) -> _Part:
    if not store.has_pose:
        return _Part({"poses": None}, ("poses", "none"))
    finite = [step for step in walk.steps if np.isfinite([step.metres, step.degrees]).all()]
    broken = [step.name for step in walk.steps if step not in finite]
    median = float(np.median([step.metres for step in finite])) if finite else 0.0
    limit = max(JUMP * median, SMALLEST_JUMP)
    jumps = [step for step in finite if step.metres > limit or step.degrees > LARGEST_TURN]
    warnings = []
    if broken:
        warnings.append(f"{len(broken)} poses are not finite, such as that of {broken[0]}")
    if jumps:
        described = (f"{s.name} ({s.metres:.1f} m, {s.degrees:.0f} deg)" for s in jumps[:_NAMED])
        warnings.append(
            f"{len(jumps)} poses jump, where the median step is {median:.2f} m: "
            f"{', '.join(described)}"
        )
    facts = {
        "poses": {
            "median_step": median,
            "not_finite": broken,
            "jumps": [step._asdict() for step in jumps],
        }
    }
    return _Part(facts, ("poses", f"median step {median:.2f} m, {len(jumps)} jumps"), warnings)


def _depth(walk: Walk) -> _Part:
    if not walk.depths:
        return _Part({"depth": None}, ("depth", "none"))
    empty = [depth.name for depth in walk.depths if depth.coverage == 0]
    full = [depth for depth in walk.depths if depth.coverage > 0]
    coverage = float(np.mean([depth.coverage for depth in walk.depths]))
    nearest = min((depth.nearest for depth in full), default=0.0)
    farthest = max((depth.farthest for depth in full), default=0.0)
    warnings = []
    if empty:
        warnings.append(f"{len(empty)} depth maps have no value at all, such as that of {empty[0]}")
    if farthest > 1000:
        warnings.append(f"depth reaches {farthest:g} m: is it in millimetres?")
    facts = {
        "depth": {
            "maps": len(walk.depths),
            "coverage": coverage,
            "nearest": nearest,
            "farthest": farthest,
            "empty": empty,
        }
    }
    extent = f"{nearest:.1f} to {farthest:.1f} m"
    text = f"{len(walk.depths)} maps over {coverage:.1%} of the pixels, {extent}"
    return _Part(facts, ("depth", text), warnings)


def _mask(store: FrameStore) -> _Part:
    if store.mask is None:
        return _Part({"mask": None}, None)
    share = float(store.mask.mean())
    return _Part({"mask": share}, ("mask", f"{share:.1%} of the pixels count"))
