"""Reading KITTI raw's own files: calibration and inertial measurements."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from packnet_jax.errors import DataError

OTHER_CAMERA = {"image_02": "image_03", "image_03": "image_02"}

_EARTH_RADIUS = 6378137.0  # metres


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
    """
    rows = read_rows(date / "calib_cam_to_cam.txt")
    shifts = {}
    for eye in (camera, OTHER_CAMERA[camera]):
        projection = rows[f"P_rect_{eye[-2:]}"].reshape(3, 4)
        shifts[eye] = np.linalg.solve(projection[:, :3], projection[:, 3])
    image_T_rectified = rows[f"P_rect_{camera[-2:]}"].reshape(3, 4)
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
    imu = read_rows(date / "calib_imu_to_velo.txt")
    velodyne_T_imu = make_transform(imu["R"], imu["T"])
    return Inertial(_rectified_T_velodyne(date) @ velodyne_T_imu, _read_packet(first))


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
    rotation = read_rows(date / "calib_cam_to_cam.txt")["R_rect_00"]
    velodyne = read_rows(date / "calib_velo_to_cam.txt")
    return make_transform(rotation, np.zeros(3)) @ make_transform(velodyne["R"], velodyne["T"])


def read_rows(path: Path) -> Mapping[str, np.ndarray]:
    """Rows 'key: numbers'; those without numbers, such as dates, are left out.

    Raises:
        DataError: there is no such file.
    """
    if not path.is_file():
        raise DataError(f"There is no calibration file {path}; KITTI ships it with the pictures.")
    rows = {}
    for line in path.read_text().splitlines():
        key, _, values = line.partition(":")
        try:
            rows[key] = np.array([float(value) for value in values.split()])
        except ValueError:
            continue
    return rows


def _read_packet(path: Path) -> np.ndarray:
    """The first six numbers: latitude, longitude (degrees), altitude (m), roll, pitch, yaw."""
    try:
        latitude_to_yaw = np.array([float(value) for value in path.read_text().split()[:6]])
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
