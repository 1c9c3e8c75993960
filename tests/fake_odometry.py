"""A KITTI odometry folder of tiny pictures, as the tests need it."""

from pathlib import Path

import numpy as np
from fake_kitti import png
from trajectories import drive

SHAPE = (12, 40)
FOCAL, CENTRE = 30.0, (19.5, 5.5)
SHIFTS = {"P0": 0.0, "P1": 0.5, "P2": -0.06, "P3": 0.47}
"""How far each camera is to the right of the left grey one, metres."""
SECONDS_PER_FRAME = 0.1


def make_odometry(root: Path, lengths: dict[str, int], *, camera: str = "image_2") -> Path:
    """Writes sequences of so many frames, with poses of `trajectories.drive` and times."""
    for sequence, length in lengths.items():
        folder = root / "sequences" / sequence
        (folder / camera).mkdir(parents=True)
        for number in range(length):
            (folder / camera / f"{number:06d}.png").write_bytes(png(number, SHAPE))
        rows = [f"{key}: {_numbers(projection(key))}" for key in SHIFTS]
        velodyne = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]])
        (folder / "calib.txt").write_text("\n".join([*rows, f"Tr: {_numbers(velodyne)}"]) + "\n")
        times = [f"{number * SECONDS_PER_FRAME:e}\n" for number in range(length)]
        (folder / "times.txt").write_text("".join(times))
        write_poses(root, sequence, drive(length))
    return root


def write_poses(root: Path, sequence: str, poses: np.ndarray) -> None:
    path = root / "poses" / f"{sequence}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{_numbers(pose[:3])}\n" for pose in poses))


def projection(key: str) -> np.ndarray:
    """The calibration of a camera: [3, 4]."""
    return np.array(
        [
            [FOCAL, 0, CENTRE[0], -FOCAL * SHIFTS[key]],
            [0, FOCAL, CENTRE[1], 0],
            [0, 0, 1, 0],
        ]
    )


def write_scan(root: Path, sequence: str, number: int, depth: np.ndarray) -> None:
    """A scan that gives this depth map in the left grey camera, where the scanner is."""
    rows, columns = np.nonzero(depth)
    z = depth[rows, columns]
    right, down = ((columns + 1 - CENTRE[0]) / FOCAL * z, (rows + 1 - CENTRE[1]) / FOCAL * z)
    path = root / "sequences" / sequence / "velodyne" / f"{number:06d}.bin"
    path.parent.mkdir(exist_ok=True)
    points = np.stack([z, -right, -down, np.ones_like(z)], axis=1)
    path.write_bytes(points.astype("<f4").tobytes())


def _numbers(matrix: np.ndarray) -> str:
    return " ".join(f"{value:.12e}" for value in np.ravel(matrix))
