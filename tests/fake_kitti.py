"""A KITTI raw folder of tiny pictures, as the tests need it."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

DATE = "2011_09_26"
SHAPE = (12, 40)
BASELINE = 0.5  # metres between the two colour cameras
SPEED = 1.5  # metres per frame, straight to the north

FOCAL, CENTRE = 30.0, (19.5, 5.5)


def frame_name(drive: int, number: int, camera: str = "image_02") -> str:
    """Name of a frame as the stores use it."""
    return f"{DATE}/{DATE}_drive_{drive:04d}_sync/{camera}/data/{number:010d}"


def png(seed: int, shape: tuple[int, int] = SHAPE) -> bytes:
    """A file of smooth noise that differs with the seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def sparse_depth(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Depth with a tenth of the pixels filled."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < 0.1, rng.uniform(2, 60, shape), 0).astype(np.float32)


def make_kitti(root: Path, drives: dict[int, int], targets: list[tuple[int, int]]) -> Path:
    """Writes `drives` ({drive: number of frames}) and 'fake.txt' with the (drive, number) given.

    The drives go straight ahead; both cameras, OXTS packets and velodyne depth are there.
    """
    date = root / DATE
    date.mkdir(parents=True)
    _write_calibration(date)
    for drive, count in drives.items():
        for number in range(count):
            _write_frame(root, drive, number)
    lines = [
        " ".join(f"{frame_name(*target, camera)}.png" for camera in ("image_02", "image_03"))
        for target in targets
    ]
    (root / "fake.txt").write_text("\n".join(lines) + "\n")
    return root


def replace_depth_by_scan(root: Path, drive: int, number: int) -> np.ndarray:
    """Swaps a frame's velodyne map for a scan that gives it again; returns the map.

    The scanner is where camera 2 is, so a point seen at pixel (u, v) of depth z is known at once.
    """
    path = root / f"{frame_name(drive, number)}.png"
    folder = path.parents[2]
    (folder / "proj_depth" / "velodyne" / "image_02" / f"{number:010d}.npz").unlink()
    depth = sparse_depth(1000 * drive + 10 * number)
    rows, columns = np.nonzero(depth)
    z = depth[rows, columns]
    right = (columns + 1 - CENTRE[0]) / FOCAL * z
    down = (rows + 1 - CENTRE[1]) / FOCAL * z
    points = np.stack([z, -right, -down, np.ones_like(z)], axis=1).astype("<f4")
    scan = folder / "velodyne_points" / "data" / f"{number:010d}.bin"
    scan.parent.mkdir(parents=True, exist_ok=True)
    scan.write_bytes(points.tobytes())
    return depth


def write_groundtruth(root: Path, drive: int, number: int) -> np.ndarray:
    """Writes improved ground truth for a frame, and returns its depth."""
    path = root / f"{frame_name(drive, number)}.png"
    depth = (sparse_depth(7 * number) * 256).astype(np.uint16)
    file = path.parents[2] / "proj_depth" / "groundtruth" / "image_02" / path.name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(depth).save(file)
    return depth.astype(np.float32) / np.float32(256)


def _write_calibration(date: Path) -> None:
    def row(matrix) -> str:
        return " ".join(f"{value:.6e}" for value in np.ravel(matrix))

    def projection(shift: float) -> np.ndarray:
        return np.array(
            [[FOCAL, 0, CENTRE[0], -FOCAL * shift], [0, FOCAL, CENTRE[1], 0], [0, 0, 1, 0]]
        )

    # The inertial unit looks along x with z up, the camera along z with y down.
    camera_from_velodyne = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])
    (date / "calib_cam_to_cam.txt").write_text(
        "calib_time: 09-Jan-2012 13:57:47\n"
        f"R_rect_00: {row(np.eye(3))}\n"
        f"P_rect_02: {row(projection(0.0))}\n"
        f"P_rect_03: {row(projection(BASELINE))}\n"
    )
    zeros = row(np.zeros(3))
    (date / "calib_velo_to_cam.txt").write_text(f"R: {row(camera_from_velodyne)}\nT: {zeros}\n")
    (date / "calib_imu_to_velo.txt").write_text(f"R: {row(np.eye(3))}\nT: {zeros}\n")


def _write_frame(root: Path, drive: int, number: int) -> None:
    for eye, camera in enumerate(("image_02", "image_03")):
        seed = 1000 * drive + 10 * number + eye
        path = root / f"{frame_name(drive, number, camera)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed))
        depth = path.parents[2] / "proj_depth" / "velodyne" / camera / f"{number:010d}.npz"
        depth.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(depth, velodyne_depth=sparse_depth(seed))
    oxts = root / DATE / f"{DATE}_drive_{drive:04d}_sync" / "oxts" / "data" / f"{number:010d}.txt"
    oxts.parent.mkdir(parents=True, exist_ok=True)
    latitude = 49.0 + np.degrees(SPEED * number / 6378137.0)
    north = [latitude, 8.4, 112.0, 0.0, 0.0, np.pi / 2]
    oxts.write_text(" ".join(f"{value:.14g}" for value in north + [0.0] * 24))
