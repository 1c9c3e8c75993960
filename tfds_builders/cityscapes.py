"""Frames of Cityscapes' video snippets, left camera: pictures and calibration alone."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import tensorflow_datasets as tfds

from packnet_jax.camera_limits import is_camera
from packnet_jax.errors import DataError
from packnet_jax.untrusted import read_json
from tfds_builders.frame_checks import header_shape
from tfds_builders.frames import Frame, FramesBuilder, Missing
from tfds_builders.stored_size import FULL_SIZE, StoredSize

SPLITS = ("train", "val", "test")

PICTURES, CAMERAS = "leftImg8bit_sequence", "camera"

_PICTURE = re.compile(r"(\w+_\d+)_(\d+)_leftImg8bit\.png")
_CAMERA = re.compile(r"(\w+_\d+)_(\d+)_camera\.json")
_BEFORE, _AFTER = 19, 10
"""A snippet has 30 frames; calibration and labels belong to the twentieth."""


@dataclasses.dataclass
class CityscapesConfig(tfds.core.BuilderConfig):
    """Says which frames a store holds; its name contains a hash of the fields below."""

    root: str = ""
    split: str = ""
    cities: tuple[tuple[str, int], ...] = dataclasses.field(default=(), repr=False)
    """Name and number of files of each: an archive that is unpacked later makes another set."""
    stored_size: StoredSize = FULL_SIZE


class Snippet(NamedTuple):
    """Thirty frames, 1.8 s, around one whose calibration is given."""

    name: str
    """'train/aachen/aachen_000000_000019', after the frame with the calibration."""
    camera: Path | None
    """Its file; None for pictures that no file is for."""
    pictures: tuple[tuple[int, Path], ...]
    """Number in the recording, and file, in order."""


class Cityscapes(FramesBuilder):
    """All pictures of a split's snippets in Cityscapes' own layout; each snippet is a stream.

    Of a folder `root`, `leftImg8bit_sequence/SPLIT/CITY/*_leftImg8bit.png` (the archive
    leftImg8bit_sequence_trainvaltest) and `camera/SPLIT/CITY/*_camera.json` (camera_trainvaltest)
    are read. A calibration counts for the whole snippet: the 19 frames before its own and the 10
    after it.

    Source: mcordts/cityscapesScripts, README (layout and names).
    """

    @classmethod
    def from_options(
        cls,
        *,
        data_dir: str,
        root: str,
        split: str,
        stored_size: StoredSize = FULL_SIZE,
    ) -> Self:
        """The builder for one split; see `FramesBuilder.from_options`.

        Args:
            data_dir: where built sets are kept.
            root: the folder that holds `leftImg8bit_sequence` and `camera`.
            split: 'train', 'val' or 'test'.
            stored_size: what pictures are cropped and resized to.

        Raises:
            DataError: the split is unknown, or has no folders.
        """
        if split not in SPLITS:
            raise DataError(f"Split {split!r} is unknown; Cityscapes has {', '.join(SPLITS)}.")
        resolved = Path(root).expanduser().resolve()
        for kind in (PICTURES, CAMERAS):
            folder = resolved / kind / split
            if not folder.is_dir():
                raise DataError(
                    f"There is no folder {folder}. Set `data.root` to the folder that holds "
                    f"{PICTURES} and {CAMERAS}, as Cityscapes' archives unpack."
                )
        options = {
            "root": str(resolved),
            "split": split,
            "stored_size": stored_size,
            "cities": tuple(
                (city.name, sum(1 for _ in city.iterdir())) for city in _cities(resolved, split)
            ),
        }
        listed = json.dumps(options, default=dataclasses.astuple)
        fingerprint = hashlib.sha256(listed.encode()).hexdigest()[:10]
        config = CityscapesConfig(name=f"{split}-{fingerprint}", **options)
        return cls(config=config, data_dir=data_dir)

    @property
    def config(self) -> CityscapesConfig:
        """Which frames this set holds."""
        assert isinstance(self.builder_config, CityscapesConfig)
        return self.builder_config

    @property
    def extra_features(self) -> dict[str, tfds.features.FeatureConnector]:
        """The full size of pictures that are stored resized."""
        return self.config.stored_size.features

    @property
    def extra_metadata(self) -> Mapping[str, Any]:
        """What was done to pictures that are stored resized."""
        return self.config.stored_size.metadata

    def targets(self) -> Sequence[str]:
        """All pictures, snippet by snippet."""
        snippets = self._snippets()
        return [_frame_name(s, path) for s in snippets for _, path in s.pictures]

    def read_frames(self) -> Iterator[Frame | Missing]:
        """The pictures, by city, snippet and number."""
        for snippet in self._snippets():
            try:
                intrinsics = _read_intrinsics(snippet)
            except ValueError as error:
                yield from (
                    Missing(_frame_name(snippet, p), str(error)) for _, p in snippet.pictures
                )
                continue
            for number, path in snippet.pictures:
                yield self._read(snippet, number, path, intrinsics)

    def _read(
        self, snippet: Snippet, number: int, path: Path, intrinsics: np.ndarray
    ) -> Frame | Missing:
        name, data = _frame_name(snippet, path), path.read_bytes()
        try:
            image, shape = self.config.stored_size.store(data), header_shape(data)
        except ValueError as error:
            return Missing(name, f"{path}: {error}")
        return Frame(
            name=name,
            stream=snippet.name,
            number=number,
            image=image,
            intrinsics=intrinsics,
            extra=self.config.stored_size.extra(shape),
        )

    def _snippets(self) -> Iterator[Snippet]:
        root = Path(self.config.root)
        for city in _cities(root, self.config.split):
            cameras = root / CAMERAS / self.config.split / city.name
            yield from find_snippets(city, cameras, f"{self.config.split}/{city.name}")


def find_snippets(pictures: Path, cameras: Path, place: str) -> list[Snippet]:
    """The snippets of a city, in order; pictures without a calibration are one each, last.

    Args:
        pictures: folder of the city's pictures.
        cameras: folder of its calibrations; it need not exist.
        place: what the snippets' names begin with.
    """
    left = {key: path for path in pictures.iterdir() if (key := _key(_PICTURE, path)) is not None}
    calibrated = sorted(
        (key, path)
        for path in (cameras.iterdir() if cameras.is_dir() else ())
        if (key := _key(_CAMERA, path)) is not None
    )
    snippets = []
    for (recording, middle), camera in calibrated:
        numbers = range(middle - _BEFORE, middle + _AFTER + 1)
        found = [(n, left.pop((recording, n))) for n in numbers if (recording, n) in left]
        if found:
            name = f"{place}/{camera.name.removesuffix('_camera.json')}"
            snippets.append(Snippet(name, camera, tuple(found)))
    for (_, number), path in sorted(left.items()):
        name = f"{place}/{path.name.removesuffix('_leftImg8bit.png')}"
        snippets.append(Snippet(name, None, ((number, path),)))
    return snippets


def _cities(root: Path, split: str) -> list[Path]:
    return sorted(path for path in (root / PICTURES / split).iterdir() if path.is_dir())


def _key(pattern: re.Pattern[str], path: Path) -> tuple[str, int] | None:
    """Recording and frame number of a file's name; None of another one, or what is no file."""
    match = pattern.fullmatch(path.name)
    return None if match is None or not path.is_file() else (match[1], int(match[2]))


def _frame_name(snippet: Snippet, path: Path) -> str:
    return f"{Path(snippet.name).parent}/{path.stem}"


def _read_intrinsics(snippet: Snippet) -> np.ndarray:
    """K [3, 3]; raises ValueError if it is not to be had."""
    path = snippet.camera
    if path is None:
        raise ValueError(
            f"no calibration is for it: there should be one for a frame up to {_BEFORE} later or "
            f"{_AFTER} earlier in {CAMERAS}"
        )
    try:
        values = read_json(path)["intrinsic"]
        fx, fy, cx, cy = (float(values[key]) for key in ("fx", "fy", "u0", "v0"))
    except KeyError as error:
        raise ValueError(f"{path} lacks {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} can not be read as a calibration: {error}") from error
    K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    if not is_camera(K):
        raise ValueError(f"{path} gives no camera: fx={fx}, fy={fy}, u0={cx}, v0={cy}")
    return K
