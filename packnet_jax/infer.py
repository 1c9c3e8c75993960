"""Depth of pictures: `python -m packnet_jax.infer --checkpoint=DIR --input=PATH --output=PATH`."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from absl import app, flags, logging
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image
from tqdm import tqdm

from packnet_jax.config import SHAPE_MULTIPLE
from packnet_jax.data.transforms import resize_image, to_float
from packnet_jax.depth_maps import inv_depth_to_depth
from packnet_jax.errors import ConfigError, DataError, PacknetError
from packnet_jax.sfm import infer_inv_depth
from packnet_jax.trained import TrainedDepthNetwork, load_depth_network
from packnet_jax.visualize import stack_picture, write_depth, write_image

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's workdir or one step's folder.")
INPUT = flags.DEFINE_string("input", None, "A picture, or a folder that is searched for pictures.")
OUTPUT = flags.DEFINE_string(
    "output", None, "A file if it ends in .png, .jpg, .jpeg or .npz, else a folder."
)
IMAGE_SHAPE = flags.DEFINE_list(
    "image_shape", None, "H,W the network works at. Default: as in training."
)
SAVE = flags.DEFINE_enum(
    "save", None, ["npz", "png"], "Write depth (exact .npz, or 16-bit .png) instead of a picture."
)

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
ARRAY_SUFFIXES = (".npz",)


def main(argv: Sequence[str]) -> None:
    """Runs the flags' inference."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    if len(argv) > 1:
        raise ConfigError(f"unknown arguments {argv[1:]}")
    for flag in (CHECKPOINT, INPUT, OUTPUT):
        if flag.value is None:
            raise ConfigError(f"--{flag.name} is missing")
    infer(
        Path(CHECKPOINT.value or ""),
        Path(INPUT.value or ""),
        Path(OUTPUT.value or ""),
        image_shape=parse_image_shape(IMAGE_SHAPE.value),
        save=SAVE.value,
    )


def infer(
    checkpoint: Path,
    source: Path,
    output: Path,
    *,
    image_shape: tuple[int, int] | None = None,
    save: str | None = None,
) -> list[Path]:
    """Writes depth, or a picture with its inverse depth below it, for every picture.

    Depth has the network's resolution. It is metric only if training was; a self-supervised
    network's depth is known up to one scale.

    Args:
        checkpoint: a run's workdir or one step's folder.
        source: a picture or a folder; folders are searched recursively.
        output: a file if it has a picture's or array's suffix, else a folder. In a folder the
            files keep the names, and the sub-folders, of their pictures.
        image_shape: height and width the network works at; as in training by default.
        save: 'npz', 'png' or None for the picture.

    Returns:
        The files written.

    Raises:
        PacknetError: a path or checkpoint is missing, or the suffix does not fit `save`.
        DataError: some pictures could not be read; the others are written by then.
    """
    pictures = find_pictures(source)
    if output.suffix.lower() == ".npz":
        save = save or "npz"
    targets = [_target(p, source, output, save) for p in pictures]
    _check_distinct(pictures, targets)
    trained = load_depth_network(checkpoint)
    shape = image_shape or trained.config.data.image_shape
    depth_of = jax.jit(partial(infer_inv_depth, trained.network))
    written, unreadable = [], []
    for picture, target in tqdm(
        list(zip(pictures, targets, strict=True)),
        desc="infer",
        unit="image",
        disable=len(pictures) < 2,
    ):
        try:
            image = read_picture(picture)
        except DataError as error:
            unreadable.append(str(error))
            continue
        rgb = to_float(resize_image(image, shape))
        inv_depth = np.asarray(depth_of(trained.variables, rgb[None]))[0]
        if save is None:
            write_image(target, stack_picture(rgb, inv_depth[..., 0]))
        else:
            write_depth(target, np.asarray(inv_depth_to_depth(inv_depth))[..., 0])
        written.append(target)
    if unreadable:
        raise DataError(
            f"{len(unreadable)} of {len(pictures)} pictures could not be read (the others are "
            "written):\n  " + "\n  ".join(unreadable)
        )
    _announce(written, trained, output)
    return written


def find_pictures(source: Path) -> list[Path]:
    """The picture itself, or all pictures in a folder and below it, sorted by name.

    Raises:
        DataError: there is none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"--input: {source} does not exist; give a picture or a folder")
    pictures = sorted(p for p in source.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise DataError(f"--input: {source} holds no {', '.join(PICTURE_SUFFIXES)} file")
    return pictures


def read_picture(path: Path) -> UInt8[ndarray, "h w 3"]:
    """Reads a picture as RGB.

    Raises:
        DataError: it is not a picture, or damaged.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} can not be read as a picture ({error})") from error


def parse_image_shape(words: Sequence[str] | None) -> tuple[int, int] | None:
    """`H,W` as two positive multiples of 32.

    Raises:
        ConfigError: it is something else.
    """
    if words is None:
        return None
    numbers = [int(w) for w in words if w.strip().isdigit()]
    fits = len(words) == len(numbers) == 2 and all(
        n > 0 and n % SHAPE_MULTIPLE == 0 for n in numbers
    )
    if not fits:
        raise ConfigError(
            f"--image_shape: given {','.join(words)!r}, expected H,W, both multiples of "
            f"{SHAPE_MULTIPLE}, such as 192,640"
        )
    return numbers[0], numbers[1]


def _target(picture: Path, source: Path, output: Path, save: str | None) -> Path:
    """Where a picture's result goes."""
    suffix = output.suffix.lower()
    if suffix in PICTURE_SUFFIXES + ARRAY_SUFFIXES:
        if source.is_dir():
            raise ConfigError(f"--input is a folder, so --output must be one too, not {output}")
        if suffix in ARRAY_SUFFIXES and save != "npz":
            raise ConfigError(f"--output={output} is an array, but --save={save}")
        return output if save is None else output.with_suffix(f".{save}")
    relative = picture.relative_to(source) if source.is_dir() else Path(picture.name)
    return output / (relative if save is None else relative.with_suffix(f".{save}"))


def _check_distinct(pictures: Sequence[Path], targets: Sequence[Path]) -> None:
    """Refuses to write two pictures' results into one file."""
    first: dict[Path, Path] = {}
    for picture, target in zip(pictures, targets, strict=True):
        if target in first:
            raise ConfigError(
                f"{first[target]} and {picture} would both become {target}; give them other names "
                "or other folders"
            )
        first[target] = picture


def _announce(written: list[Path], trained: TrainedDepthNetwork, output: Path) -> None:
    model = trained.config.model.depth_net
    print(
        f"{model.name}{model.version}, step {trained.step}: "
        + (f"{written[0]}" if len(written) == 1 else f"{len(written)} files in {output}")
    )


def run() -> None:
    """The command line's entry."""
    try:
        app.run(main)
    except PacknetError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run()
