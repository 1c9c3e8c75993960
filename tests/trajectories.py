"""Trajectories with known shapes and known errors."""

from pathlib import Path

import numpy as np


def turn(axis: int, degrees: float) -> np.ndarray:
    """A transform [4, 4] that turns about x, y or z."""
    angle = np.radians(degrees)
    i, j = [k for k in range(3) if k != axis]
    matrix = np.eye(4)
    matrix[[i, j], [i, j]] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def move(x: float, y: float, z: float) -> np.ndarray:
    """A transform [4, 4] that shifts."""
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def drive(num_frames: int = 400, *, step: float = 1.1, bend: float = 0.4) -> np.ndarray:
    """A winding road with hills, so many metres a frame, turning `bend` degrees a frame at most."""
    poses = [np.eye(4)]
    for i in range(num_frames - 1):
        yaw, pitch = bend * np.sin(i / 40), 0.1 * bend * np.cos(i / 25)
        poses.append(poses[-1] @ turn(1, yaw) @ turn(0, pitch) @ move(0, 0, step))
    return np.stack(poses)


def straight(num_frames: int, step: float) -> np.ndarray:
    """A straight road along z."""
    return np.stack([move(0, 0, step * i) for i in range(num_frames)])


def scaled(world_T_camera: np.ndarray, factor: float) -> np.ndarray:
    """All positions times a factor."""
    changed = world_T_camera.copy()
    changed[:, :3, 3] *= factor
    return changed


def with_drift(world_T_camera: np.ndarray, seed: int = 0) -> np.ndarray:
    """What a noisy odometry of another scale would say of it, from its own first camera."""
    rng = np.random.default_rng(seed)
    motions = np.linalg.inv(world_T_camera[:-1]) @ world_T_camera[1:]
    poses = [np.eye(4)]
    for motion in motions:
        yaw, pitch, roll = rng.normal(0.03, 0.1, 3)
        noise = move(*rng.normal(0, 0.02, 3)) @ turn(1, yaw) @ turn(0, pitch) @ turn(2, roll)
        poses.append(poses[-1] @ motion @ noise)
    return scaled(np.stack(poses), 0.37)


def read_kitti(path: Path) -> np.ndarray:
    """Poses [n, 4, 4] of a file with twelve numbers a row, made exactly rigid."""
    poses = np.tile(np.eye(4), (len(rows := np.loadtxt(path, ndmin=2)), 1, 1))
    poses[:, :3] = rows.reshape(-1, 3, 4)
    left, _, right = np.linalg.svd(poses[:, :3, :3])
    poses[:, :3, :3] = left @ right
    return poses
