"""What an evaluation of camera motion found: errors, their summary, a table, a document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from packnet_jax.metrics.odometry import (
    SEGMENT_LENGTHS,
    MotionErrors,
    SegmentErrors,
    align,
    from_first_camera,
    motion_errors,
    path_distances,
    position_errors,
    segment_errors,
    snippet_errors,
)
from packnet_jax.report import write_report

ALIGNMENTS = {
    "raw": "as predicted, from the first camera on",
    "se3": "turned and moved by the best fit of all positions (Umeyama)",
    "sim3": "turned, moved and scaled by the best fit of all positions (Umeyama)",
}
"""What is done to a predicted trajectory before it is compared."""

COLUMNS = ("ate", "t_rel", "r_rel", "rpe_translation", "rpe_rotation")
"""The metrics of each alignment."""
HEADERS = ("ATE m", "t_rel %", "r_rel °/100m", "RPE m", "RPE °")
"""Theirs in a table."""
MAX_DRIVES_SHOWN = 11
"""With more, the table shows no drive on its own."""
DEFINITIONS = {
    "ate": "root mean square of the distances between positions, metres",
    "t_rel": "percent; KITTI odometry benchmark, segments from every tenth frame on",
    "r_rel": "degrees per 100 metres, over the same segments",
    "rpe": "root mean square over motions from each frame to the next, metres and degrees",
}


class AlignedErrors(NamedTuple):
    """Errors of one aligned trajectory."""

    positions: Float[ndarray, "n"]
    """Metres."""
    motions: MotionErrors
    segments: SegmentErrors


class Trajectory(NamedTuple):
    """A predicted trajectory beside the true one."""

    name: str
    """Of the drive."""
    first_number: int
    """Of its first frame."""
    timestamps: Float[ndarray, "n"] | None
    """Seconds; None where they are not known."""
    truth: Float[ndarray, "n 4 4"]
    """World: the first true camera. Metres."""
    predicted: Mapping[str, Float[ndarray, "n 4 4"]]
    """By alignment, in the same world."""
    scale: float
    """What Sim(3) multiplied the predicted positions with."""
    snippets: Float[ndarray, "s"]
    """Errors of short snippets, metres; each is scaled on its own."""
    errors: Mapping[str, AlignedErrors]
    """By alignment."""


def compare(
    predicted: Float[ndarray, "n 4 4"],
    truth: Float[ndarray, "n 4 4"],
    *,
    name: str,
    first_number: int = 0,
    timestamps: Float[ndarray, "n"] | None = None,
    snippet_frames: int = 5,
) -> Trajectory:
    """Aligns a predicted trajectory with the true one, and finds its errors.

    Args:
        predicted: world_T_camera in any world and scale.
        truth: world_T_camera in any world, metres.
        name: of the drive.
        first_number: of its first frame.
        timestamps: seconds, where they are known.
        snippet_frames: see `metrics.odometry.snippet_errors`.

    Raises:
        ValueError: the trajectories differ in length.
    """
    truth, predicted = from_first_camera(truth), from_first_camera(predicted)
    similarity = align(predicted, truth, with_scale=True)
    aligned = {
        "raw": predicted,
        "se3": align(predicted, truth, with_scale=False).apply(predicted),
        "sim3": similarity.apply(predicted),
    }
    return Trajectory(
        name,
        first_number,
        timestamps,
        truth,
        aligned,
        similarity.scale,
        snippet_errors(predicted, truth, length=snippet_frames),
        {
            alignment: AlignedErrors(
                position_errors(poses, truth),
                motion_errors(poses, truth),
                segment_errors(poses, truth),
            )
            for alignment, poses in aligned.items()
        },
    )


@dataclass(frozen=True)
class PoseReport:
    """What was found on one set."""

    dataset: str
    step: int
    """Of training."""
    snippet_frames: int
    protocol: dict[str, Any]
    trajectories: Sequence[Trajectory]

    def document(self) -> dict[str, Any]:
        """What the JSON file holds; a metric is null where nothing could be measured."""
        return {
            "dataset": self.dataset,
            "step": self.step,
            "protocol": self.protocol
            | DEFINITIONS
            | {
                "alignment": ALIGNMENTS,
                "snippets": f"{self.snippet_frames} frames, from their first camera on, scaled by "
                "s = sum(g e) / sum(e e); the error is sqrt(sum |s e - g|^2) / "
                f"{self.snippet_frames}, mean and standard deviation over all snippets",
                "segment_lengths": list(SEGMENT_LENGTHS),
                "segment_lengths_not_reached": self._not_reached(),
            },
            "frames": sum(len(t.truth) for t in self.trajectories),
            "metrics": self._metrics(self.trajectories),
            "drives": [
                {
                    "name": t.name,
                    "frames": len(t.truth),
                    "metres": float(path_distances(t.truth)[-1]),
                    "scale": t.scale,
                    "metrics": self._metrics([t]),
                }
                for t in self.trajectories
            ],
        }

    def write(self, folder: Path) -> Path:
        """Writes `<dataset>.json` into the folder."""
        path = folder / f"{self.dataset}.json"
        write_report(path, self.document())
        return path

    def table(self) -> str:
        """The metrics over all drives as a table for the terminal."""
        metrics = self._metrics(self.trajectories)
        frames = sum(len(t.truth) for t in self.trajectories)
        metres = sum(path_distances(t.truth)[-1] for t in self.trajectories)
        drives = f" in {len(self.trajectories)} drives" if len(self.trajectories) > 1 else ""
        title = f" {self.dataset}, step {self.step}: {frames} frames, {metres:.0f} m{drives} "
        rows = [
            f"{alignment:<6}" + "".join(f"{_shown(metrics[alignment][c]):>14}" for c in COLUMNS)
            for alignment in ALIGNMENTS
        ]
        snippets = metrics["snippets"]
        lines = [
            f"{'':<6}" + "".join(f"{header:>14}" for header in HEADERS),
            *rows,
            f"ATE of {self.snippet_frames}-frame snippets: {_shown(snippets['mean'])} ± "
            f"{_shown(snippets['std'])} m, {snippets['count']} snippets",
        ]
        if 1 < len(self.trajectories) <= MAX_DRIVES_SHOWN:
            lines += [_line(t.name, self._metrics([t])) for t in self.trajectories]
        if missing := self._not_reached():
            lines.append(f"No drive reaches segments of {', '.join(map(str, missing))} m")
        width = max(len(rows[0]), len(title) + 4)
        return "\n".join([f"{title:=^{width}}", *lines, "=" * width])

    def _not_reached(self) -> list[int]:
        reached = {int(v) for t in self.trajectories for v in t.errors["raw"].segments.length}
        return [length for length in SEGMENT_LENGTHS if length not in reached]

    def _metrics(self, trajectories: Sequence[Trajectory]) -> dict[str, Any]:
        """Over the frames, segments, motions and snippets of all trajectories together."""
        snippets = np.concatenate([t.snippets for t in trajectories])
        found: dict[str, Any] = {
            "snippets": {
                "mean": _mean(snippets),
                "std": float(np.std(snippets)) if len(snippets) else None,
                "count": len(snippets),
            }
        }
        for alignment in ALIGNMENTS:
            errors = [t.errors[alignment] for t in trajectories]
            found[alignment] = _summary(errors)
        return found


def _summary(errors: Sequence[AlignedErrors]) -> dict[str, Any]:
    length, translation, rotation = (
        np.concatenate(parts) for parts in zip(*(e.segments for e in errors), strict=True)
    )
    return {
        "ate": _rmse([e.positions for e in errors]),
        "t_rel": _mean(translation),
        "r_rel": _mean(rotation),
        "rpe_translation": _rmse([e.motions.translation for e in errors]),
        "rpe_rotation": _rmse([e.motions.rotation for e in errors]),
        "by_length": {
            str(metres): {
                "t_rel": _mean(translation[length == metres]),
                "r_rel": _mean(rotation[length == metres]),
                "segments": int(np.sum(length == metres)),
            }
            for metres in np.unique(length)
        },
    }


def _line(name: str, metrics: Mapping[str, Any]) -> str:
    """One drive in a line of the table."""
    scaled, snippets = metrics["sim3"], metrics["snippets"]
    return (
        f"{name}: Sim(3) ATE {_shown(scaled['ate'])} m, t_rel {_shown(scaled['t_rel'])} %, r_rel "
        f"{_shown(scaled['r_rel'])} °/100m, snippets {_shown(snippets['mean'])} ± "
        f"{_shown(snippets['std'])} m"
    )


def _rmse(errors: Sequence[ndarray]) -> float:
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def _mean(values: ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
