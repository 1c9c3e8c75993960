"""Makes a ray template from a calibration:

python -m packnet_jax.ray_template --model=mei --calibration=calibration.json \\
    --image_shape=384,384 --crop=128,0,1152,1024 --output=ray_template.npz

Pictures are cropped, then resized about their outer edges, as training does it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from packnet_jax.command_line import begin, run_program
from packnet_jax.errors import ConfigError
from packnet_jax.ray_template.calibration import MODELS, read_model
from packnet_jax.ray_template.template import Box, make_template, save_template

MODEL = flags.DEFINE_enum("model", None, MODELS, "The camera model.")
CALIBRATION = flags.DEFINE_string(
    "calibration",
    None,
    "A file (JSON, or OCamCalib's calib_results.txt), or numbers: fx,fy,cx,cy, then mei: "
    "xi[,k1,k2,p1,p2]; double_sphere: xi,alpha; kannala_brandt: [k1,k2,k3,k4].",
)
IMAGE_SHAPE = flags.DEFINE_list("image_shape", None, "Height,width of the images in training.")
CALIBRATION_SHAPE = flags.DEFINE_list(
    "calibration_shape",
    None,
    "Height,width of the pictures that were calibrated, where the calibration does not say; by "
    "default those of --image_shape.",
)
CROP = flags.DEFINE_list(
    "crop", None, "left,top,right,bottom of what is cut out of the pictures; by default all."
)
MAX_ANGLE = flags.DEFINE_float(
    "max_angle", 180.0, "Pixels farther from the optical axis, in degrees, are not valid."
)
OUTPUT = flags.DEFINE_string("output", None, "The .npz file to write.")


def main(argv: Sequence[str]) -> None:
    """Writes the template and says what it covers."""
    begin(argv, MODEL, CALIBRATION, IMAGE_SHAPE, OUTPUT)
    height, width = _whole_numbers(IMAGE_SHAPE, "height,width")
    calibration = read_model(MODEL.value or "", CALIBRATION.value or "")
    shape = calibration.shape
    if CALIBRATION_SHAPE.value is not None:
        given = _whole_numbers(CALIBRATION_SHAPE, "height,width")
        if shape not in (None, given):
            raise ConfigError(
                f"--calibration_shape: given {given}, but {CALIBRATION.value} is of pictures of "
                f"{shape}; leave it out"
            )
        shape = given
    shape = shape or (height, width)
    template = make_template(
        calibration.model,
        (height, width),
        crop=_crop((int(shape[0]), int(shape[1]))),
        max_angle=np.radians(MAX_ANGLE.value),
    )
    output = Path(OUTPUT.value or "")
    save_template(output, template)
    angles = np.degrees(np.arccos(np.clip(template.rays[..., 2], -1, 1)))
    print(
        f"{output}: {height}x{width} of pictures of {shape[0]}x{shape[1]}, "
        f"{template.valid.mean():.1%} of the pixels valid, up to "
        f"{angles[template.valid].max(initial=0):.1f} degrees from the axis"
    )


def _crop(shape: tuple[int, int]) -> Box:
    """--crop, or the whole picture."""
    height, width = shape
    if CROP.value is None:
        return Box(0, 0, width, height)
    box = Box(*_whole_numbers(CROP, "left,top,right,bottom"))
    if not (0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height):
        raise ConfigError(f"--crop: given {tuple(box)}, but the pictures are {height}x{width}")
    return box


def _whole_numbers(flag: flags.FlagHolder, names: str) -> tuple[int, ...]:
    """The numbers of a flag, as many as there are names."""
    words = flag.value or []
    if len(words) != names.count(",") + 1 or not all(word.strip().isdecimal() for word in words):
        raise ConfigError(f"--{flag.name}: given {','.join(words)}, expected {names} in pixels")
    numbers = tuple(int(word) for word in words)
    if flag is not CROP and min(numbers) < 1:
        raise ConfigError(f"--{flag.name}: given {','.join(words)}, expected positive numbers")
    return numbers


def run() -> None:
    """The command line's entry."""
    run_program(main)


if __name__ == "__main__":
    run()
