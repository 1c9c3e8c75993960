"""Files of a trajectory: KITTI's and TUM's formats, and a plot of it against the truth."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray
from scipy.spatial.transform import Rotation

from packnet_jax.metrics.odometry import path_distances
from packnet_jax.pose_report import Trajectory
from packnet_jax.visualize import write_atomically

Styles = Mapping[str, dict[str, Any]]

LINES: Styles = {
    "truth": {"color": "0.15", "linewidth": 2.2, "label": "truth"},
    "se3": {"color": "tab:orange", "linewidth": 1.4, "linestyle": "--", "label": "SE(3) aligned"},
    "sim3": {"color": "tab:blue", "linewidth": 1.6, "label": "Sim(3) aligned"},
}
"""How each trajectory is drawn."""
METRIC_SCALES = (0.5, 2.0)
"""Between these scales SE(3) is drawn; else the network has a unit of its own, and it would only
hide the rest."""
MARGIN = 1.15
"""Of the plot around what the truth and the scaled trajectory reach."""


def write_trajectory(folder: Path, trajectory: Trajectory) -> None:
    """Writes `{truth,raw,se3,sim3}_{kitti,tum}.txt` and `plot.png` into the folder.

    Poses are world_T_camera, the world being the first true camera, in metres (`raw` in the
    network's own unit). Times in TUM's format are frame numbers where no times are known.
    """
    timestamps = trajectory.timestamps
    if timestamps is None:
        timestamps = trajectory.first_number + np.arange(len(trajectory.truth), dtype=np.float64)
    for name, poses in {"truth": trajectory.truth, **trajectory.predicted}.items():
        write_atomically(folder / f"{name}_kitti.txt", kitti_lines(poses).encode())
        write_atomically(folder / f"{name}_tum.txt", tum_lines(poses, timestamps).encode())
    buffer = io.BytesIO()
    plot(trajectory).savefig(buffer, format="png", dpi=110)
    write_atomically(folder / "plot.png", buffer.getvalue())


def kitti_lines(world_T_camera: Float[ndarray, "n 4 4"]) -> str:
    """Twelve numbers a row: the upper three rows of each pose."""
    return "".join(f"{_numbers(row)}\n" for row in world_T_camera[:, :3].reshape(-1, 12))


def tum_lines(world_T_camera: Float[ndarray, "n 4 4"], timestamps: Float[ndarray, "n"]) -> str:
    """Time to the microsecond, position, and orientation as quaternion x, y, z, w in each row."""
    quaternions = Rotation.from_matrix(world_T_camera[:, :3, :3]).as_quat(canonical=True)
    rows = np.column_stack([world_T_camera[:, :3, 3], quaternions])
    return "".join(f"{t:.6f} {_numbers(row)}\n" for t, row in zip(timestamps, rows, strict=True))


def _numbers(row: Float[ndarray, "k"]) -> str:
    return " ".join(f"{value:.9g}" for value in row)


def plot(trajectory: Trajectory) -> Figure:
    """The path seen from above, and its errors along the way and by length of segment."""
    low, high = METRIC_SCALES
    is_metric = low < trajectory.scale < high
    styles = LINES if is_metric else {name: LINES[name] for name in ("truth", "sim3")}
    aligned = {name: style for name, style in styles.items() if name != "truth"}
    has_segments = len(trajectory.errors["sim3"].segments.length) > 0
    figure = Figure(figsize=(12, 6.6), layout="constrained")
    grid = figure.add_gridspec(3 if has_segments else 1, 2, width_ratios=(1.25, 1))
    _plot_path(figure.add_subplot(grid[:, 0]), trajectory, styles)
    _plot_distances(figure.add_subplot(grid[0, 1]), trajectory, aligned)
    if has_segments:
        drift = figure.add_subplot(grid[1, 1])
        turn = figure.add_subplot(grid[2, 1])
        for name, style in aligned.items():
            segments = trajectory.errors[name].segments
            _plot_by_length(drift, segments.length, segments.translation, style)
        scaled = trajectory.errors["sim3"].segments  # no alignment changes a rotation
        _plot_by_length(turn, scaled.length, scaled.rotation, LINES["sim3"])
        _finish(drift, x="length of segments (m)", y="translation error (%)")
        _finish(turn, x="length of segments (m)", y="rotation error (°/100 m)")
    metres = path_distances(trajectory.truth)[-1]
    figure.suptitle(
        f"{trajectory.name}: {len(trajectory.truth)} frames, {metres:.0f} m; Sim(3) scales the "
        f"predicted motion by {trajectory.scale:.4g}"
    )
    return figure


def _plot_path(axes: Axes, trajectory: Trajectory, styles: Styles) -> None:
    drawn = {"truth": trajectory.truth, **trajectory.predicted}
    for name, style in styles.items():
        axes.plot(drawn[name][:, 0, 3], drawn[name][:, 2, 3], **style)
    axes.plot(0, 0, "o", color=LINES["truth"]["color"], markersize=7, label="start")
    shown = np.concatenate([drawn[name][:, [0, 2], 3] for name in ("truth", "sim3")])
    low, high = shown.min(0), shown.max(0)
    half = max(MARGIN * float((high - low).max()) / 2, 0.5)
    x, z = (low + high) / 2
    axes.set(xlim=(x - half, x + half), ylim=(z - half, z + half), aspect="equal")
    axes.set(xlabel="x, to the right (m)", ylabel="z, forward (m)", title="from above")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", framealpha=0.9)


def _plot_distances(axes: Axes, trajectory: Trajectory, styles: Styles) -> None:
    distances = path_distances(trajectory.truth)
    for name, style in styles.items():
        axes.plot(distances, trajectory.errors[name].positions, **style)
    _finish(axes, x="way along the true path (m)", y="distance to truth (m)")


def _plot_by_length(
    axes: Axes, length: Int[ndarray, "s"], error: Float[ndarray, "s"], style: dict[str, Any]
) -> None:
    lengths = np.unique(length)
    means = [error[length == metres].mean() for metres in lengths]
    axes.plot(lengths, means, marker="o", markersize=4, **style)
    axes.set(xticks=lengths, xlim=(lengths[0] - 50, lengths[-1] + 50))


def _finish(axes: Axes, *, x: str, y: str) -> None:
    """Labels, and an upright axis from 0 to above the largest value."""
    highest = max(float(np.max(line.get_ydata())) for line in axes.get_lines())
    axes.set(xlabel=x, ylabel=y, ylim=(0, MARGIN * highest or 1))
    axes.grid(alpha=0.3)
    if len(axes.get_lines()) > 1:
        axes.legend(loc="best", framealpha=0.9)
