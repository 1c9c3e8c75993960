"""Trajectories of a camera: chained from its motions, aligned, and compared with the truth.

A trajectory is the `world_T_camera` of every frame in order, float64 [n, 4, 4], metres or any one
scale. Two that are compared belong together frame by frame; each may have a world of its own. In
numpy and float64, since float32 loses the end of a long chain.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

SEGMENT_LENGTHS = (100, 200, 300, 400, 500, 600, 700, 800)
"""Metres along the true path over which the KITTI odometry benchmark measures drift."""
SEGMENT_EVERY = 10
"""It starts a segment of each length at every tenth frame."""
SNIPPET_LENGTH = 5
"""Frames of a snippet, as SfMLearner has them; some papers take 3."""


class Similarity(NamedTuple):
    """Takes points of one world to another: scale, then rotation, then translation."""

    scale: float
    rotation: Float[ndarray, "3 3"]
    translation: Float[ndarray, "3"]

    def apply(self, world_T_camera: Float[ndarray, "n 4 4"]) -> Float[ndarray, "n 4 4"]:
        """The trajectory in the other world: positions scaled and moved, orientations turned."""
        moved = world_T_camera.copy()
        moved[:, :3, :3] = self.rotation @ world_T_camera[:, :3, :3]
        positions = world_T_camera[:, :3, 3]
        moved[:, :3, 3] = self.scale * positions @ self.rotation.T + self.translation
        return moved


class SegmentErrors(NamedTuple):
    """Drift over segments of a true path, one entry per segment."""

    length: Int[ndarray, "s"]
    """Metres."""
    translation: Float[ndarray, "s"]
    """Percent of the length."""
    rotation: Float[ndarray, "s"]
    """Degrees per 100 metres."""


class MotionErrors(NamedTuple):
    """Errors of the motion from each frame to the next."""

    translation: Float[ndarray, "m"]
    """In the unit of the trajectories."""
    rotation: Float[ndarray, "m"]
    """Degrees."""


def chain_motions(previous_T_next: Float[ndarray, "m 4 4"]) -> Float[ndarray, "n 4 4"]:
    """The trajectory of m + 1 frames whose world is the first camera.

    Each rotation is first brought to the nearest exact one, so that what float32 rounded away does
    not pile up.

    Raises:
        ValueError: a motion holds values that are not finite.
    """
    if not np.isfinite(previous_T_next).all():
        raise ValueError("the motions hold values that are not finite")
    trajectory = np.tile(np.eye(4), (len(previous_T_next) + 1, 1, 1))
    exact = previous_T_next.astype(np.float64)
    exact[:, :3, :3] = _nearest_rotations(exact[:, :3, :3])
    for i, motion in enumerate(exact):
        trajectory[i + 1] = trajectory[i] @ motion
    return trajectory


def relative_motions(world_T_camera: Float[ndarray, "n 4 4"]) -> Float[ndarray, "m 4 4"]:
    """previous_T_next of neighbouring frames; `chain_motions` undoes it."""
    return invert_rigid(world_T_camera[:-1]) @ world_T_camera[1:]


def from_first_camera(world_T_camera: Float[ndarray, "n 4 4"]) -> Float[ndarray, "n 4 4"]:
    """The same trajectory in the world of its first camera."""
    return invert_rigid(world_T_camera[:1]) @ world_T_camera


def invert_rigid(a_T_b: Float[ndarray, "*n 4 4"]) -> Float[ndarray, "*n 4 4"]:
    """b_T_a of rotations and translations."""
    b_T_a = np.zeros_like(a_T_b)
    rotation = np.swapaxes(a_T_b[..., :3, :3], -1, -2)
    b_T_a[..., :3, :3] = rotation
    b_T_a[..., :3, 3] = -(rotation @ a_T_b[..., :3, 3:])[..., 0]
    b_T_a[..., 3, 3] = 1
    return b_T_a


def align(
    estimated: Float[ndarray, "n 4 4"], truth: Float[ndarray, "n 4 4"], *, with_scale: bool
) -> Similarity:
    """The similarity that brings estimated positions nearest to the true ones.

    It minimises the sum of squared distances: Sim(3) with scale, else SE(3). Along a straight line
    any turn about it is as good; where nothing moves any scale is, and it is 1.

    Raises:
        ValueError: the trajectories differ in length.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point
    patterns, PAMI 1991, eqs. 34 to 42.
    """
    _check_lengths(estimated, truth)
    from_points, to_points = estimated[:, :3, 3], truth[:, :3, 3]
    from_mean, to_mean = from_points.mean(0), to_points.mean(0)
    from_points, to_points = from_points - from_mean, to_points - to_mean
    left, singular, right = np.linalg.svd(to_points.T @ from_points / len(from_points))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = left * signs @ right
    scale = 1.0
    if with_scale:
        scale = _ratio(float(singular @ signs), float(np.mean(np.sum(from_points**2, axis=1))))
    return Similarity(scale, rotation, to_mean - scale * rotation @ from_mean)


def position_errors(
    estimated: Float[ndarray, "n 4 4"], truth: Float[ndarray, "n 4 4"]
) -> Float[ndarray, "n"]:
    """Distances between the estimated and true position of every frame.

    Their root mean square is the absolute trajectory error (ATE), after an alignment.

    Raises:
        ValueError: the trajectories differ in length.
    """
    _check_lengths(estimated, truth)
    return np.linalg.norm(estimated[:, :3, 3] - truth[:, :3, 3], axis=1)


def snippet_errors(
    estimated: Float[ndarray, "n 4 4"],
    truth: Float[ndarray, "n 4 4"],
    *,
    length: int = SNIPPET_LENGTH,
) -> Float[ndarray, "s"]:
    """The ATE of every snippet of so many frames in a row, each scaled on its own.

    Positions e and g are taken in the snippet's first camera; with s = Σ g·e / Σ e² the error is
    √(Σ |s e - g|²) / length. Papers give its mean and standard deviation over the snippets.

    Args:
        length: frames of a snippet, at least 2.

    Returns:
        One error per snippet, n - length + 1 of them: none for a shorter trajectory.

    Raises:
        ValueError: the trajectories differ in length, or a snippet would have less than 2 frames.

    Source: Zhou et al. 2017 (SfMLearner); monodepth2 `evaluate_pose.py: compute_ate`.
    Differs: monodepth2 also counts the shorter rests at the end of a sequence, and chains inverse
        motions, whose positions are not the camera's where it turns.
    """
    _check_lengths(estimated, truth)
    if length < 2:
        raise ValueError(f"length is {length}, but a snippet has at least 2 frames")
    starts = np.arange(max(len(truth) - length + 1, 0))
    windows = starts[:, None] + np.arange(length)
    guessed, true = (
        (invert_rigid(t[starts])[:, None] @ t[windows])[..., :3, 3] for t in (estimated, truth)
    )
    products, squares = (guessed * true).sum((1, 2)), (guessed**2).sum((1, 2))
    scale = np.array([_ratio(p, s) for p, s in zip(products, squares, strict=True)])
    error = scale.reshape(-1, 1, 1) * guessed - true
    return np.sqrt((error**2).sum((1, 2))) / length


def motion_errors(
    estimated: Float[ndarray, "n 4 4"], truth: Float[ndarray, "n 4 4"]
) -> MotionErrors:
    """The relative pose error (RPE) from each frame to the next.

    Raises:
        ValueError: the trajectories differ in length.

    Source: Sturm et al., A benchmark for the evaluation of RGB-D SLAM systems, IROS 2012, eq. 2.
    """
    _check_lengths(estimated, truth)
    error = invert_rigid(relative_motions(truth)) @ relative_motions(estimated)
    return MotionErrors(np.linalg.norm(error[:, :3, 3], axis=1), _angles(error))


def segment_errors(
    estimated: Float[ndarray, "n 4 4"],
    truth: Float[ndarray, "n 4 4"],
    *,
    lengths: Sequence[int] = SEGMENT_LENGTHS,
    every: int = SEGMENT_EVERY,
) -> SegmentErrors:
    """Drift over segments of the true path; the means are t_rel and r_rel.

    A segment ends at the first frame that lies further than its length along the path from its
    first one, and the errors of the motion between both are divided by the length. Lengths that the
    path does not reach have no segments.

    Args:
        lengths: metres.
        every: frames between the starts of segments.

    Raises:
        ValueError: the trajectories differ in length.

    Source: Geiger et al., Are we ready for autonomous driving?, CVPR 2012; the KITTI odometry
    devkit, `evaluate_odometry.cpp: calcSequenceErrors`.
    """
    _check_lengths(estimated, truth)
    distances = path_distances(truth)
    starts = np.arange(0, len(truth), every)
    first = np.repeat(starts, len(lengths))
    length = np.tile(np.array(lengths, np.int64), len(starts))
    last = np.searchsorted(distances, distances[first] + length, side="right")
    is_reached = last < len(truth)
    first, last, length = first[is_reached], last[is_reached], length[is_reached]
    error = invert_rigid(invert_rigid(estimated[first]) @ estimated[last]) @ (
        invert_rigid(truth[first]) @ truth[last]
    )
    return SegmentErrors(
        length,
        100 * np.linalg.norm(error[:, :3, 3], axis=1) / length,
        100 * _angles(error) / length,
    )


def path_distances(world_T_camera: Float[ndarray, "n 4 4"]) -> Float[ndarray, "n"]:
    """How far the camera has come along its path at every frame; 0 at the first."""
    steps = np.linalg.norm(np.diff(world_T_camera[:, :3, 3], axis=0), axis=1)
    return np.concatenate([np.zeros(1), np.cumsum(steps)])


def _nearest_rotations(matrices: Float[ndarray, "n 3 3"]) -> Float[ndarray, "n 3 3"]:
    left, _, right = np.linalg.svd(matrices)
    return left @ right


def _angles(motions: Float[ndarray, "n 4 4"]) -> Float[ndarray, "n"]:
    """Degrees of rotation, exact near 0, where the arc cosine of the trace is not."""
    r = motions[:, :3, :3]
    axis = [r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]]
    sine = np.linalg.norm(np.stack(axis, axis=1), axis=1) / 2
    cosine = (np.trace(r, axis1=1, axis2=2) - 1) / 2
    return np.degrees(np.arctan2(sine, cosine))


def _ratio(numerator: float, denominator: float) -> float:
    """A scale; 1 where nothing moves, and no scale changes anything."""
    return numerator / denominator if denominator > 0 else 1.0


def _check_lengths(estimated: ndarray, truth: ndarray) -> None:
    if len(estimated) != len(truth):
        raise ValueError(
            f"the estimated trajectory has {len(estimated)} frames and the true one {len(truth)}; "
            "they must belong together frame by frame"
        )
