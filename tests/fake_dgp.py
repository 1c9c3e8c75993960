"""Scenes in DGP's format, of tiny pictures, as the tests need them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fake_kitti import png

SHAPE = (24, 40)
K = np.array([[30.0, 0, 19.5], [0, 32.0, 11.5], [0, 0, 1]])
SPEED = 1.25  # metres along the road from sample to sample
START = np.array([110.5, -2317.25, -9.75])  # as far from the origin as DDAD's

YAW = {"CAMERA_01": 0.0, "CAMERA_05": 80.0, "CAMERA_06": -80.0}
"""Degrees to the left that each camera of the car looks."""


def rotation(axis: Sequence[float], degrees: float) -> np.ndarray:
    """Quaternion (w, x, y, z)."""
    half = np.radians(degrees) / 2
    return np.array([np.cos(half), *(np.sin(half) * np.array(axis))])


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of two quaternions."""
    (w, *v), (s, *u) = a, b
    return np.array([w * s - np.dot(v, u), *(w * np.array(u) + s * np.array(v) + np.cross(v, u))])


def to_matrix(q: np.ndarray) -> np.ndarray:
    """Each column is the image of an axis, by q e q*."""
    conjugate = q * [1, -1, -1, -1]
    axes = np.eye(3)
    return np.array([product(product(q, np.array([0, *e])), conjugate)[1:] for e in axes]).T


# Camera x right, y down, z forward; car x forward, y left, z up.
CAR_FROM_CAMERA = np.array([0.5, -0.5, 0.5, -0.5])
WORLD_FROM_CAR = rotation((0, 0, 1), 90.0)


def vehicle_T_camera(camera: str) -> tuple[np.ndarray, np.ndarray]:
    """Quaternion and translation of the camera on the car."""
    turned = product(rotation((0, 0, 1), YAW[camera]), CAR_FROM_CAMERA)
    return turned, np.array([1.5, 0.002 * YAW[camera], 1.6])


def world_T_vehicle(number: int) -> tuple[np.ndarray, np.ndarray]:
    """The car goes straight, along the world's y."""
    return WORLD_FROM_CAR, START + np.array([0, SPEED * number, 0])


def compose(
    a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    return product(a[0], b[0]), to_matrix(a[0]) @ b[1] + a[1]


def matrix_of(transform: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = to_matrix(transform[0]), transform[1]
    return matrix


def sparse_depth(camera: str, number: int) -> np.ndarray:
    """What the scan gives in a camera."""
    rng = np.random.default_rng([number, *camera.encode()])
    depth = np.where(rng.random(SHAPE) < 0.1, rng.uniform(4, 60, SHAPE), 0)
    return depth.astype(np.float32)


def make_dgp(
    root: Path,
    scenes: Mapping[str, int],
    *,
    cameras: Sequence[str] = ("CAMERA_01", "CAMERA_05"),
    splits: Sequence[str] = ("0", "1"),
) -> Path:
    """Writes `scenes` ({name: number of samples}), listed in the splits; returns the list's file.

    Scenes have scans, from which each camera's `sparse_depth` follows, but no projected depth.
    """
    root.mkdir(parents=True, exist_ok=True)
    listed = []
    for name, count in scenes.items():
        write_scene(root / name, count, cameras)
        listed.append(f"{name}/scene_{name}.json")
    data_set = root / "fake.json"
    data_set.write_text(json.dumps({"scene_splits": {s: {"filenames": listed} for s in splits}}))
    return data_set


def write_scene(folder: Path, count: int, cameras: Sequence[str]) -> None:
    write(folder / "calibration" / "rig.json", calibration(cameras))
    data, samples = [], []
    for number in range(count):
        keys = []
        for sensor in ("LIDAR", *cameras):
            keys.append(f"{folder.name}-{sensor}-{number}")
            data.append(datum(keys[-1], sensor, number))
            if sensor != "LIDAR":
                picture = folder / picture_path(sensor, number)
                picture.parent.mkdir(parents=True, exist_ok=True)
                picture.write_bytes(png(100 * number + len(data), SHAPE))
        samples.append({"calibration_key": "rig", "datum_keys": keys, "id": {"index": "0"}})
        write_scan(folder, number, cameras)
    unused = datum("of no sample", cameras[0], 99)
    write(folder / f"scene_{folder.name}.json", {"data": [*data, unused], "samples": samples})


def calibration(cameras: Sequence[str]) -> dict[str, Any]:
    (fx, skew, cx), (_, fy, cy), _ = K.tolist()
    intrinsics = {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "skew": skew}
    still = transform(np.array([1.0, 0, 0, 0]), np.zeros(3))
    return {
        "names": ["LIDAR", *cameras],
        "intrinsics": [dict.fromkeys(intrinsics, 0.0), *[intrinsics] * len(cameras)],
        "extrinsics": [still, *(transform(*vehicle_T_camera(camera)) for camera in cameras)],
    }


def datum(key: str, sensor: str, number: int) -> dict[str, Any]:
    pose = world_T_vehicle(number)
    fields: dict[str, Any] = {"metadata": {}}
    if sensor == "LIDAR":
        kind = "point_cloud"
        fields |= {"filename": scan_path(number), "point_format": ["X", "Y", "Z", "INTENSITY"]}
    else:
        kind, pose = "image", compose(pose, vehicle_T_camera(sensor))
        fields["filename"] = picture_path(sensor, number)
    fields["pose"] = transform(*pose)
    return {"key": key, "id": {"name": sensor}, "datum": {kind: fields}}


def transform(quaternion: np.ndarray, translation: np.ndarray) -> dict[str, Any]:
    turn = dict(zip(("qw", "qx", "qy", "qz"), quaternion.tolist(), strict=True))
    return {"rotation": turn, "translation": dict(zip("xyz", translation.tolist(), strict=True))}


def write_scan(folder: Path, number: int, cameras: Sequence[str]) -> None:
    """Points on the car that fall into the middle of the pixels of each camera's depth."""
    points = []
    for camera in cameras:
        depth = sparse_depth(camera, number)
        rows, columns = np.nonzero(depth)
        pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
        seen = (np.linalg.inv(K) @ pixels) * depth[rows, columns]
        turn, shift = vehicle_T_camera(camera)
        points.append((to_matrix(turn) @ seen).T + shift)
    scan = np.concatenate(points)
    path = folder / scan_path(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, data=np.concatenate([scan, np.ones_like(scan[:, :1])], axis=1))


def picture_path(camera: str, number: int) -> str:
    return f"rgb/{camera}/{1000 + number}.png"


def scan_path(number: int) -> str:
    return f"point_cloud/LIDAR/{2000 + number}.npz"


def write(path: Path, fields: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields))


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """Changes what a JSON file holds."""
    fields = json.loads(path.read_text())
    change(fields)
    write(path, fields)
