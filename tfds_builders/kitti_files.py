"""Reading KITTI raw's own files: calibration and inertial measurements."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from packnet_jax.errors import DataError
from packnet_jax.untrusted import read_text

OTHER_CAMERA = {"image_02": "image_03", "image_03": "image_02"}

_EARTH_RADIUS = 6378137.0  # metres
_LEAST_VOLUME = 0.5  # of a rotation, whose determinant is 1


class Camera(NamedTuple):
    """What stays the same for one camera along one drive."""

    intrinsics: np.ndarray
    """K [3, 3] of the rectified picture."""

    stereo_T_camera: np.ndarray
    """To the other colour camera, [4, 4], metres."""

    image_T_velodyne: np.ndarray | None
    """Homogeneous pixels from points of a laser scan, [3, 4]; None without that calibration."""


class Inertial(NamedTuple):
    """What turns a drive's OXTS packets into poses."""

    camera_T_imu: np.ndarray
    """Rectified camera 0 from the inertial unit, [4, 4]."""

    first_packet: np.ndarray
    """Frame 0: the world's origin."""


def read_camera(date: Path, camera: str) -> Camera:
    """Calibration of 'image_02' or 'image_03' on one recording day.

    The projection is P = K [I | t], where t leads from rectified camera 0 to this camera.

    Raises:
        DataError: a file is missing or damaged.
    """
    path = date / "calib_cam_to_cam.txt"
    rows = read_rows(path)
    projections, shifts = {}, {}
    for eye in (camera, OTHER_CAMERA[camera]):
        name = f"P_rect_{eye[-2:]}"
        projections[eye] = projection = _row(rows, name, 12, path).reshape(3, 4)
        try:
            shifts[eye] = np.linalg.solve(projection[:, :3], projection[:, 3])
        except np.linalg.LinAlgError as error:
            raise DataError(f"{path}: the row {name!r} is of no camera.") from error
    image_T_rectified = projections[camera]
    image_T_velodyne = None
    if (date / "calib_velo_to_cam.txt").is_file():
        image_T_velodyne = image_T_rectified @ _rectified_T_velodyne(date)
    return Camera(
        intrinsics=image_T_rectified[:, :3],
        stereo_T_camera=make_transform(np.eye(3), shifts[OTHER_CAMERA[camera]] - shifts[camera]),
        image_T_velodyne=image_T_velodyne,
    )


def read_inertial(date: Path, oxts: Path, digits: int) -> Inertial | None:
    """The drive's inertial reference; None if its packets or their calibration are absent.

    Args:
        date: folder of the recording day.
        oxts: folder of the drive's packets.
        digits: length of a frame number in file names.
    """
    first = oxts / f"{0:0{digits}d}.txt"
    calibrations = [date / f"calib_{name}.txt" for name in ("velo_to_cam", "imu_to_velo")]
    if not all(path.is_file() for path in (first, *calibrations)):
        return None
    velodyne_T_imu = _read_transform(date / "calib_imu_to_velo.txt")
    camera_T_imu = _rectified_T_velodyne(date) @ velodyne_T_imu
    if abs(np.linalg.det(camera_T_imu[:3, :3])) < _LEAST_VOLUME:
        raise DataError(f"The calibrations of {date} hold a rotation that is none.")
    return Inertial(camera_T_imu, _read_packet(first))


def read_pose(inertial: Inertial, packet_file: Path) -> np.ndarray | None:
    """world_T_camera [4, 4] where the world is the camera at frame 0; None without the file.

    Source: packnet-sfm `datasets/kitti_dataset.py: _get_pose`. As there, both colour cameras get
    the pose of rectified camera 0, and values are rounded to float32.
    """
    if not packet_file.is_file():
        return None
    scale = float(np.cos(np.radians(inertial.first_packet[0])))
    earth_T_origin = _earth_T_imu(inertial.first_packet, scale)
    earth_T_imu = _earth_T_imu(_read_packet(packet_file), scale)
    origin_T_imu = np.linalg.inv(earth_T_origin) @ earth_T_imu
    pose = inertial.camera_T_imu @ origin_T_imu @ np.linalg.inv(inertial.camera_T_imu)
    return pose.astype(np.float32).astype(np.float64)


def _rectified_T_velodyne(date: Path) -> np.ndarray:
    """Rectified camera 0 from the laser scanner, [4, 4]."""
    path = date / "calib_cam_to_cam.txt"
    rotation = _row(read_rows(path), "R_rect_00", 9, path)
    camera_T_velodyne = _read_transform(date / "calib_velo_to_cam.txt")
    return make_transform(rotation, np.zeros(3)) @ camera_T_velodyne


def _read_transform(path: Path) -> np.ndarray:
    """Rows R and T as a matrix, [4, 4]."""
    rows = read_rows(path)
    return make_transform(_row(rows, "R", 9, path), _row(rows, "T", 3, path))


def _row(rows: Mapping[str, np.ndarray], key: str, count: int, path: Path) -> np.ndarray:
    """The finite numbers of a row; raises DataError where there are not so many."""
    if key not in rows or rows[key].size != count or not np.isfinite(rows[key]).all():
        raise DataError(
            f"{path} has no row '{key}:' of {count} finite numbers; it has {', '.join(rows)}."
        )
    return rows[key]


def read_rows(path: Path) -> Mapping[str, np.ndarray]:
    """Rows 'key: numbers'; those without numbers, such as dates, are left out.

    Raises:
        DataError: there is no such file, or it is no text.
    """
    if not path.is_file():
        raise DataError(f"There is no calibration file {path}; KITTI ships it with the pictures.")
    try:
        lines = read_text(path).splitlines()
    except ValueError as error:
        raise DataError(f"The calibration can not be read: {error}.") from error
    rows = {}
    for line in lines:
        key, _, values = line.partition(":")
        try:
            rows[key] = np.array([float(value) for value in values.split()])
        except ValueError:
            continue
    return rows


def _read_packet(path: Path) -> np.ndarray:
    """The first six numbers: latitude, longitude (degrees), altitude (m), roll, pitch, yaw."""
    try:
        latitude_to_yaw = np.array([float(value) for value in read_text(path).split()[:6]])
    except ValueError as error:
        raise DataError(f"The OXTS file {path} holds something else than numbers.") from error
    if len(latitude_to_yaw) != 6:
        raise DataError(f"The OXTS file {path} should hold 30 numbers; it is cut short.")
    if not np.isfinite(latitude_to_yaw).all():
        raise DataError(f"The OXTS file {path} holds a value that is not finite.")
    return latitude_to_yaw


def _earth_T_imu(packet: np.ndarray, scale: float) -> np.ndarray:
    """Pose over ground by a Mercator projection: x east, y north, z up, metres."""
    latitude, longitude, altitude, roll, pitch, yaw = packet
    east = scale * _EARTH_RADIUS * np.radians(longitude)
    north = scale * _EARTH_RADIUS * np.log(np.tan(np.radians(90.0 + latitude) / 2))
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return make_transform(about_z @ about_y @ about_x, np.array([east, north, altitude]))


def make_transform(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """The matrix [4, 4] that rotates, then translates."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.reshape(3, 3)
    matrix[:3, 3] = translation
    return matrix
