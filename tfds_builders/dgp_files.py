"""Reading DGP's own files, in which DDAD comes: scenes, samples, calibration, poses, scans.

A data set's JSON lists scenes by split. A scene's JSON holds its *data* (one picture or scan each,
with its pose) and its *samples*: which of them were taken at one moment. Only what the samples name
is of the scene; its list of data may hold more.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from packnet_jax.errors import DataError
from packnet_jax.untrusted import read_json, relative_path

SPLITS = ("train", "val", "test", "train_overfit")
"""By their number in `scene_splits`."""

_UNIT_WITHIN = 1e-3  # of a quaternion's length
_MAX_CAMERAS = 64  # on one car; DDAD's have six


class Camera(NamedTuple):
    """One sensor's entry in a calibration file."""

    intrinsics: Float[ndarray, "3 3"]
    """K in pixels of the full picture; zeros for a scanner."""

    vehicle_T_sensor: Float[ndarray, "4 4"]
    """Metres."""


class Datum(NamedTuple):
    """One picture or scan; what a damaged one lacks is said when it is asked for."""

    fields: Any
    """The value of 'image' or 'point_cloud'."""
    is_picture: bool
    place: str
    """For messages: the scene's file and the datum's key."""

    @property
    def filename(self) -> PurePosixPath:
        """Path below the scene's folder; raises ValueError where there is none."""
        return relative_path(_member(self.fields, "filename", self.place, str), self.place)

    @property
    def world_T_sensor(self) -> Float[ndarray, "4 4"]:
        """Pose in metres; raises ValueError where it is missing or no rigid motion."""
        return _rigid(_member(self.fields, "pose", self.place), f"{self.place}: the pose")

    @property
    def point_columns(self) -> list[int]:
        """Where X, Y and Z stand in a scan's rows; raises ValueError if they do not."""
        names = _words(self.fields, "point_format", self.place)
        if not {"X", "Y", "Z"} <= set(names):
            raise ValueError(f"{self.place}: the points have {names}, and not X, Y and Z")
        return [names.index(axis) for axis in "XYZ"]


class Sample(NamedTuple):
    """One moment."""

    number: int
    """Position in the scene."""
    calibration_key: str
    """Name of its calibration; empty where it has none."""
    data: Mapping[str, Datum]
    """By the sensor's name in lower case."""
    problems: tuple[str, ...]
    """What could not be found."""
    place: str
    """For messages."""

    def datum(self, sensor: str) -> Datum:
        """Raises ValueError if the sample has none of that sensor."""
        if sensor not in self.data:
            known = ", ".join(sorted(self.data)) or "nothing"
            why = "".join(f"; {problem}" for problem in self.problems)
            raise ValueError(f"{self.place} has no {sensor}, but {known}{why}")
        return self.data[sensor]


class Scene(NamedTuple):
    """One drive."""

    name: str
    """Its folder below the data set's, such as '000150'."""
    path: Path
    samples: tuple[Sample, ...]

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.path.parent

    @property
    def cameras(self) -> tuple[str, ...]:
        """Sensors that take pictures, in lower case, sorted."""
        data = (item for sample in self.samples for item in sample.data.items())
        return tuple(sorted({sensor for sensor, datum in data if datum.is_picture}))


def find_data_set(root: str) -> Path:
    """The JSON that lists the scenes: `root` itself, or the only one in that folder.

    Raises:
        DataError: there is none, or several; the message lists what is there.
    """
    path = Path(root).expanduser().resolve()
    if path.is_file():
        return path
    found = [file for file in sorted(path.glob("*.json")) if _lists_scenes(file)]
    if len(found) == 1:
        return found[0]
    raise DataError(
        f"There {'are several files' if found else 'is no file'} in {path} that "
        f"{'list' if found else 'lists'} scenes of DGP"
        f"{': ' + ', '.join(file.name for file in found) if found else ''}. Set `data.root` to the "
        "data set's JSON, such as ddad.json, or to the folder that holds one."
    )


def list_scenes(data_set: Path, split: str) -> list[str]:
    """Paths of a split's scenes, relative to the folder of the data set.

    Raises:
        DataError: the file is damaged, has no such split, or lists nothing, or a folder twice.
    """
    try:
        splits = _member(read_json(data_set), "scene_splits", str(data_set), dict)
        listed = {
            name: _words(splits[str(number)], "filenames", f"{data_set}, split {number}")
            for number, name in enumerate(SPLITS)
            if str(number) in splits
        }
    except ValueError as error:
        raise DataError(f"The data set can not be read: {error}.") from error
    if not listed.get(split):
        known = ", ".join(name for name, scenes in listed.items() if scenes) or "none at all"
        raise DataError(
            f"{data_set} lists no scene of the split {split!r}; the splits it has: {known}. Set "
            "`data.split` and `data.eval_split` to one of these."
        )
    folders = Counter(_scene_name(scene) for scene in listed[split])
    if twice := [folder for folder, count in folders.items() if count > 1]:
        raise DataError(f"{data_set} lists {', '.join(sorted(twice))} twice in split {split!r}.")
    return listed[split]


def read_scene(data_set: Path, scene: str) -> Scene:
    """The samples of a scene, by its path relative to the folder of the data set.

    Raises:
        ValueError: its file is missing, no JSON, or not below that folder, or it has no data or
            samples, or more cameras than a car; the message says why.
    """
    path = data_set.parent / relative_path(scene, str(data_set))
    fields = read_json(path)
    data = {
        item["key"]: item
        for item in _member(fields, "data", str(path), list)
        if isinstance(item, dict) and isinstance(item.get("key"), str)
    }
    samples = _member(fields, "samples", str(path), list)
    if not samples:
        raise ValueError(f"{path} has no sample")
    found = Scene(
        _scene_name(scene),
        path,
        tuple(_sample(node, number, data, path) for number, node in enumerate(samples)),
    )
    if (num_cameras := len(found.cameras)) > _MAX_CAMERAS:
        raise ValueError(f"{path} has {num_cameras} cameras; at most {_MAX_CAMERAS} are read")
    return found


def read_calibration(path: Path) -> dict[str, Camera]:
    """The sensors of a calibration file by their names in lower case.

    Raises:
        ValueError: it is missing or damaged; the message says why.
    """
    fields = read_json(path)
    names = _words(fields, "names", str(path))
    columns = [names, *(_member(fields, k, str(path), list) for k in ("intrinsics", "extrinsics"))]
    if len({len(column) for column in columns}) != 1:
        raise ValueError(
            f"{path} has {len(columns[0])} names, {len(columns[1])} intrinsics and "
            f"{len(columns[2])} extrinsics; there should be as many of each"
        )
    return {
        name.lower(): Camera(
            _camera_matrix(intrinsics, f"{path}, {name}"),
            _rigid(extrinsics, f"{path}: the extrinsics of {name}"),
        )
        for name, intrinsics, extrinsics in zip(*columns, strict=True)
    }


def _lists_scenes(path: Path) -> bool:
    try:
        return "scene_splits" in read_json(path)
    except (ValueError, TypeError):
        return False


def _scene_name(scene: str) -> str:
    path = PurePosixPath(scene)
    return str(path.parent) if path.parent.name else path.stem


def _sample(node: Any, number: int, data: Mapping[str, Any], path: Path) -> Sample:
    place = f"sample {number} of {path}"
    found: dict[str, Datum] = {}
    problems = []
    try:
        keys = _words(node, "datum_keys", place)
        calibration = _member(node, "calibration_key", place, str)
        relative_path(f"{calibration}.json", place)
    except ValueError as error:
        return Sample(number, "", {}, (str(error),), place)
    for key in keys:
        try:
            if key not in data:
                raise ValueError(f"there is no datum {key!r}, which it names")
            sensor, datum = _datum(data[key], f"datum {key} of {path}")
        except ValueError as error:
            problems.append(str(error))
        else:
            if datum is not None:
                found[sensor.lower()] = datum
    return Sample(number, calibration, found, tuple(problems), place)


def _datum(node: Any, place: str) -> tuple[str, Datum | None]:
    """The sensor, and its picture or scan; None for another kind of measurement."""
    sensor = _member(_member(node, "id", place), "name", f"{place}, its id", str)
    measured = _member(node, "datum", place, dict)
    for kind in ("image", "point_cloud"):
        if kind in measured:
            return sensor, Datum(measured[kind], kind == "image", place)
    return sensor, None


def _camera_matrix(node: Any, place: str) -> Float[ndarray, "3 3"]:
    fx, fy, cx, cy, skew = _numbers(node, ("fx", "fy", "cx", "cy", "skew"), place)
    return np.array([[fx, skew, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _rigid(node: Any, place: str) -> Float[ndarray, "4 4"]:
    """The transform of a unit quaternion and a translation.

    Source: dgp `utils/pose.py: Pose.load`.
    Differs: the translation stays in float64. There it is rounded to float32: a tenth of a
    millimetre for a world whose origin is kilometres away.
    """
    quaternion = _numbers(_member(node, "rotation", place), ("qw", "qx", "qy", "qz"), place)
    length = np.linalg.norm(quaternion)
    if abs(length - 1) > _UNIT_WITHIN:
        raise ValueError(f"{place} is no rotation: its quaternion has length {length:.4g}, not 1")
    w, x, y, z = quaternion / length
    transform = np.eye(4)
    transform[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    transform[:3, 3] = _numbers(_member(node, "translation", place), ("x", "y", "z"), place)
    return transform


def _numbers(node: Any, keys: Sequence[str], place: str) -> Float[ndarray, " n"]:
    values = [_member(node, key, place) for key in keys]
    if not all(isinstance(value, int | float) and np.isfinite(value) for value in values):
        listed = ", ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))
        raise ValueError(f"{place} holds {listed}, which are not finite numbers")
    return np.array(values, np.float64)


def _member(node: Any, key: str, place: str, kind: type | None = None) -> Any:
    """The value of a key; raises ValueError where it is missing or of another kind."""
    if not isinstance(node, dict) or key not in node:
        raise ValueError(f"{place} lacks {key!r}")
    if kind is not None and not isinstance(node[key], kind):
        raise ValueError(f"{place}: {key!r} is {type(node[key]).__name__}, not {kind.__name__}")
    return node[key]


def _words(node: Any, key: str, place: str) -> list[str]:
    """The value of a key that lists words; raises ValueError where it does not."""
    words = _member(node, key, place, list)
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"{place}: {key!r} lists something else than words")
    return words
