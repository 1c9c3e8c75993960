"""Odometry: a pose network over consecutive frames, its motions chained and compared with truth."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float
from numpy import ndarray
from tqdm import tqdm

from packnet_jax.config import Config
from packnet_jax.data.drives import Drive, DriveSet
from packnet_jax.errors import CheckpointError
from packnet_jax.geometry.transforms import pose_vector_to_transform
from packnet_jax.metrics.odometry import chain_motions, invert_rigid
from packnet_jax.pose_report import PoseReport, Trajectory, compare
from packnet_jax.sfm import Variables
from packnet_jax.trajectory_files import write_trajectory

PoseFunction = Callable[[Float[ndarray, "k h w 3"]], Float[ndarray, "m n 4 4"]]
"""From k consecutive frames to `context_T_target` of the m frames that have all n contexts."""


@partial(jax.jit, static_argnames=("pose_net", "back_context", "forward_context"))
def predict_motion(
    pose_net: nn.Module,
    variables: Variables,
    frames: Float[Array, "k h w 3"],
    *,
    back_context: int,
    forward_context: int,
) -> Float[Array, "m n 4 4"]:
    """context_T_target of every frame that has its contexts among the frames.

    Args:
        frames: in the order of time.
        back_context: frames before the target that the network sees, oldest first.
        forward_context: frames after it, nearest first.
    """
    num_targets = frames.shape[0] - back_context - forward_context
    context = [frames[i : i + num_targets] for i in range(back_context + forward_context + 1)]
    target = context.pop(back_context)
    own = {name: collection["pose_net"] for name, collection in variables.items()}
    vectors: Any = pose_net.apply(own, target, jnp.stack(context, axis=1), train=False)
    return pose_vector_to_transform(vectors)


def evaluate_pose(
    pose_net: nn.Module,
    variables: Variables,
    drives: DriveSet,
    *,
    step: int,
    config: Config,
    folder: Path,
) -> PoseReport:
    """Follows the camera along every drive of a set; writes the report, trajectories and plots.

    They are `<set>.json` and, for every drive, `<set>/<drive>/`; see `write_trajectory`.

    Args:
        variables: with `pose_net`.
        config: its `data` says which contexts the network sees.

    Raises:
        DataError: a frame can not be read.
    """
    data, size = config.data, config.eval.batch_size
    predict = partial(
        predict_motion,
        pose_net,
        variables,
        back_context=data.back_context,
        forward_context=data.forward_context,
    )
    trajectories = []
    for drive in drives.drives:
        trajectory = follow(
            lambda frames: np.asarray(predict(jnp.asarray(frames))),
            drives,
            drive,
            back_context=data.back_context,
            forward_context=data.forward_context,
            batch_size=size,
            snippet_frames=config.eval.snippet_frames,
        )
        write_trajectory(folder / drives.name / drive.name.replace("/", "_"), trajectory)
        trajectories.append(trajectory)
    has_times = all(trajectory.timestamps is not None for trajectory in trajectories)
    protocol = {
        "image_shape": list(data.image_shape),
        "crop": list(data.crop_train_borders) or "none",
        "back_context": data.back_context,
        "forward_context": data.forward_context,
        "chaining": chaining(data.back_context, data.forward_context),
        "compute_dtype": "float32",
        "truth": "poses of the data set",
        "timestamps": "seconds of the data set" if has_times else "frame numbers",
        "drives_left_out": drives.left_out,
    }
    report = PoseReport(drives.name, step, config.eval.snippet_frames, protocol, trajectories)
    report.write(folder)
    return report


def follow(
    predict: PoseFunction,
    drives: DriveSet,
    drive: Drive,
    *,
    back_context: int,
    forward_context: int,
    batch_size: int,
    snippet_frames: int = 5,
) -> Trajectory:
    """The trajectory that a pose function finds along a drive, beside the true one.

    Args:
        predict: is given `batch_size` targets with their contexts at a time.
        drives: the set of the drive.
        snippet_frames: see `compare`.
    """
    poses, times = [], []

    def pictures() -> Iterator[Float[ndarray, "h w 3"]]:
        frames = drives.frames(drive)
        for frame in tqdm(frames, desc=drive.name, total=len(drive.records), leave=False):
            poses.append(frame.world_T_camera)
            times.append(frame.timestamp)
            yield frame.rgb

    reach = back_context + forward_context
    groups = [predict(group)[:n] for group, n in _groups(pictures(), batch_size, reach)]
    motions = neighbouring_motions(
        np.concatenate(groups), back_context=back_context, forward_context=forward_context
    )
    if not np.isfinite(motions).all():
        raise CheckpointError(
            f"the pose network's answers along {drive.name} are not finite; its weights are "
            "damaged, or its training diverged: take an earlier step's checkpoint"
        )
    return compare(
        chain_motions(motions),
        np.stack(poses),
        name=drive.name,
        first_number=drive.first_number,
        timestamps=None if None in times else np.array(times),
        snippet_frames=snippet_frames,
    )


def neighbouring_motions(
    context_T_target: Float[ndarray, "m n 4 4"], *, back_context: int, forward_context: int
) -> Float[ndarray, "k 4 4"]:
    """previous_T_next of all neighbouring frames, from what targets say of their contexts.

    Each is what the later frame, as a target, says of the one before it; at the ends, where
    that frame has not all its contexts, what the nearest target says of both. Without backward
    contexts it is the inverse of what the earlier frame says of the later one.

    Args:
        context_T_target: of all targets of a drive in order; contexts as in `predict_motion`.
            The first target is frame `back_context`.

    Returns:
        One motion less than the drive has frames.
    """
    num_targets, num_context = context_T_target.shape[:2]
    still = np.tile(np.eye(4), (num_targets, 1, 1, 1))
    before, after = np.split(context_T_target.astype(np.float64), [back_context], axis=1)
    window = np.concatenate([before, still, after], axis=1)  # frames -back … forward, by target
    previous = np.arange(num_targets + num_context - 1)
    nearest = previous + 1 if back_context else previous
    target = np.clip(nearest - back_context, 0, num_targets - 1)
    previous_T_target = window[target, previous - target]
    next_T_target = window[target, previous + 1 - target]
    return previous_T_target @ invert_rigid(next_T_target)


def chaining(back_context: int, forward_context: int) -> str:
    """Which predictions `neighbouring_motions` takes, in words."""
    if not back_context:
        return "inverse of the transform from each target to the next frame"
    if not forward_context:
        return "transform from each target to the previous frame"
    return "transform from each target to the previous frame; the last ones from the last target"


def _groups(
    pictures: Iterable[Float[ndarray, "h w 3"]], size: int, reach: int
) -> Iterator[tuple[Float[ndarray, "k h w 3"], int]]:
    """Pictures of `size` targets at a time with their contexts, and how many targets are real.

    Groups overlap by the contexts; the last is filled up with its last picture.
    """
    group: list[ndarray] = []
    for picture in pictures:
        if len(group) == size + reach:
            yield np.stack(group), size
            group = group[size:]
        group.append(picture)
    num_targets = len(group) - reach
    yield np.stack(group + [group[-1]] * (size - num_targets)), num_targets
