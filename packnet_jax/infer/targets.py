"""Where results go: `--save`, `--output`, `--overwrite`."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packnet_jax.errors import ConfigError
from packnet_jax.infer.inputs import PICTURE_SUFFIXES, Source
from packnet_jax.infer.options import MP4, NPZ, PICTURE, PLY, check_kinds

SINGLE_SUFFIXES = {".npz": NPZ, ".ply": PLY, ".mp4": MP4}
"""An `--output` that ends so, or as a picture, is a file."""


@dataclass(frozen=True)
class Targets:
    """The names of the files."""

    output: Path
    """A file if it ends as a picture or in one of `SINGLE_SUFFIXES`, else a folder."""
    kinds: tuple[str, ...]
    title: str
    """Of the video."""

    @property
    def is_file(self) -> bool:
        """Whether `output` is one."""
        return self.output.suffix.lower() in (*PICTURE_SUFFIXES, *SINGLE_SUFFIXES)

    def path(self, kind: str, name: Path) -> Path:
        """Where a frame's result of that kind goes.

        A file takes the suffix of the kind. In a folder, files keep the names and sub-folders of
        their pictures; of several kinds, each has a folder of its own.
        """
        if self.is_file:
            path = self.output
        elif kind == MP4:
            path = self.output / f"{self.title}.mp4"
        else:
            path = (self.output / kind if len(self.kinds) > 1 else self.output) / name
        if kind == PICTURE:
            return path if path.suffix.lower() in PICTURE_SUFFIXES else path.with_suffix(".png")
        return path if path.suffix.lower() == f".{kind}" else path.with_suffix(f".{kind}")


def choose_targets(output: Path, save: Sequence[str], source: Source) -> Targets:
    """Decides what is written where.

    Args:
        save: kinds of output; () for the one that `output` ends in, else pictures, and the video of
            a video or camera.

    Raises:
        ConfigError: the kinds are unknown, or do not fit `output` or the source.
    """
    check_kinds(save)
    kinds = tuple(dict.fromkeys(save)) or _default_kinds(output, source)
    targets = Targets(output, kinds, source.title)
    if not targets.is_file:
        return targets
    if SINGLE_SUFFIXES.get(output.suffix.lower(), kinds[0]) not in kinds:
        raise ConfigError(
            f"--output={output} is one {output.suffix} file, but --save={','.join(kinds)}"
        )
    of_each_frame = [kind for kind in kinds if kind != MP4]
    if of_each_frame and (source.is_stream or len(source.names) > 1):
        raise ConfigError(
            "--input has many frames, so --output must be a folder for "
            f"{', '.join(of_each_frame)}, not {output}"
        )
    return targets


def check_targets(targets: Targets, source: Source, *, overwrite: bool) -> None:
    """Refuses to write over the input, two results into one file, or over what is there.

    Raises:
        ConfigError: it would happen. The names of a stream's frames are not known; any file that is
            named as one of them counts.
    """
    inputs = {path.resolve() for path in source.files}
    first: dict[Path, Path] = {}
    for name, path in _known_paths(targets, source):
        if path.resolve() in inputs:
            raise ConfigError(f"{path} belongs to --input; choose another --output")
        if path in first:
            raise ConfigError(
                f"{first[path]} and {name} would both become {path}; give them other names or "
                "other folders, or save one kind at a time"
            )
        first[path] = name
    existing = [path for path in first if path.exists()]
    if source.is_stream and not targets.is_file:
        existing += _stream_files(targets)
    if existing and not overwrite:
        raise ConfigError(
            f"--output: {len(existing)} files exist already, such as {existing[0]}; --overwrite "
            "replaces them"
        )


def _default_kinds(output: Path, source: Source) -> tuple[str, ...]:
    suffix = output.suffix.lower()
    shows_one = suffix in PICTURE_SUFFIXES or not source.is_stream
    return (SINGLE_SUFFIXES.get(suffix, PICTURE if shows_one else MP4),)


def _known_paths(targets: Targets, source: Source) -> Iterator[tuple[Path, Path]]:
    """Names and files that are known before anything is read."""
    for kind in targets.kinds:
        for name in source.names if kind != MP4 else [Path(source.title)]:
            yield name, targets.path(kind, name)


def _stream_files(targets: Targets) -> Iterator[Path]:
    """Files there are that have the names of a stream's frames."""
    for kind in targets.kinds:
        if kind != MP4:
            pattern = targets.path(kind, Path(f"{glob.escape(targets.title)}_{'[0-9]' * 6}.png"))
            yield from sorted(pattern.parent.glob(pattern.name))
