"""Depth of pictures: `python -m packnet_jax.infer --checkpoint=DIR --input=PATH --output=PATH`.

Exit status: 0 when every frame is written; 1 when some could not be read or scaled, which are named
at the end (the others are written); 2 when something given does not fit; 130 after Ctrl-C. A camera
ends with Ctrl-C: its files are closed properly, and the status is 0 or 1.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from absl import flags

from packnet_jax.command_line import begin, run_program
from packnet_jax.config import ComputeDtype
from packnet_jax.errors import ConfigError
from packnet_jax.infer.options import (
    KINDS,
    CloudOptions,
    Options,
    RayOptions,
    check_kinds,
    parse_image_shape,
)
from packnet_jax.infer.scaling import parse_scale
from tfds_builders.calibration import Calibration

CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "A run's workdir, one step's folder, a folder that packnet_jax.convert wrote, or a checkpoint "
    "of the original (.ckpt, .pth.tar).",
)
INPUT = flags.DEFINE_string(
    "input",
    None,
    "A picture, a folder that is searched for pictures, a pattern such as 'drive/*/*.png', a "
    "video, or the number of a camera.",
)
OUTPUT = flags.DEFINE_string(
    "output", None, "A file if it ends in .png, .jpg, .jpeg, .npz, .ply or .mp4, else a folder."
)
SAVE = flags.DEFINE_list(
    "save",
    [],
    f"What to write, one or several of {', '.join(KINDS)}: the picture with its inverse depth "
    "below it, exact depth, 16-bit depth, a coloured point cloud, one video of such pictures. "
    "Default: what --output ends in, else pictures, or a video of a video. Several kinds get a "
    "folder each.",
)
IMAGE_SHAPE = flags.DEFINE_list(
    "image_shape", None, "H,W the network works at. Default: as in training."
)
INTRINSICS = flags.DEFINE_string(
    "intrinsics",
    None,
    "The camera, at the pictures' own size: fx,fy,cx,cy, or a file (KITTI's calib_cam_to_cam.txt, "
    ".npz with 'intrinsics', text or .json with 3x3 numbers), or 'auto' for a guess.",
)
RAY_TEMPLATE = flags.DEFINE_string(
    "ray_template",
    None,
    "For a RaySurfaceResNet: the .npy or .npz of rays that its training started from. Default: the "
    "run's own, or the one that its configuration names.",
)
RAY_RESIDUAL_WEIGHT = flags.DEFINE_float(
    "ray_residual_weight",
    None,
    "For a RaySurfaceResNet: how much of the network's residual is added to the template. Default: "
    "as much as training did at the checkpoint's step; 1 where it does not say how long it was to "
    "be.",
    0.0,
    1.0,
)
SCALE = flags.DEFINE_string(
    "scale",
    "none",
    "Makes metres of depth: a factor, camera_height=METRES above the ground that is seen (needs "
    "--intrinsics), or median, that of the ground truth in --gt_folder. Default: as predicted.",
)
GT_FOLDER = flags.DEFINE_string(
    "gt_folder", None, "For --scale=median: .npz or .png depth maps with the names of the pictures."
)
FLIP = flags.DEFINE_bool("flip", False, "Average with the mirrored picture, as evaluation does.")
COMPUTE_DTYPE = flags.DEFINE_enum(
    "compute_dtype",
    "float32",
    ["float32", "bfloat16"],
    "What the network computes in; bfloat16 is faster on accelerators, and less exact.",
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 1, "Frames the network sees at once.", 1)
MAX_FRAMES = flags.DEFINE_integer("max_frames", None, "Only so many, from the beginning.", 1)
FPS = flags.DEFINE_float(
    "fps", None, "Frames per second of the .mp4. Default: the input's; 10 for pictures.", 0.1
)
NEAR = flags.DEFINE_float("near", 0.0, "Points of a .ply up to this depth are left out.", 0.0)
FAR = flags.DEFINE_float("far", math.inf, "Points of a .ply from this depth on are left out.", 0.0)
MAX_SLOPE = flags.DEFINE_float(
    "max_slope",
    CloudOptions().max_slope,
    "Points of a .ply are left out where depth changes by more than this per unit across: between "
    "things that lie one behind the other. Ground stays up to this times the camera's height.",
    1e-3,
)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace files that exist.")


def main(argv: Sequence[str]) -> int:
    """Runs the flags' inference; returns the exit status."""
    begin(argv, CHECKPOINT, INPUT, OUTPUT)
    options = options_of_flags()
    from packnet_jax import compilation  # takes seconds: only where nothing is wrong with the flags
    from packnet_jax.infer.run import infer

    compilation.keep_compiled()
    with compilation.compile_clock() as clock:
        outcome = infer(
            Path(CHECKPOINT.value or ""),
            INPUT.value or "",
            Path(OUTPUT.value or "").expanduser(),
            options,
        )
    print(f"In all, {clock}")
    if outcome.failures:
        print(
            f"Frames missing: {len(outcome.failures)}",
            *outcome.failures,
            sep="\n  ",
            file=sys.stderr,
        )
    return 1 if outcome.failures else 0


def options_of_flags() -> Options:
    """The flags, checked.

    Raises:
        PacknetError: one of them does not fit.
    """
    if not NEAR.value < FAR.value:
        raise ConfigError(
            f"--near, --far: given {NEAR.value:g} and {FAR.value:g}, expected near < far"
        )
    check_kinds(SAVE.value)
    return Options(
        save=SAVE.value,
        image_shape=parse_image_shape(IMAGE_SHAPE.value),
        batch_size=BATCH_SIZE.value,
        flip=FLIP.value,
        compute_dtype=cast(ComputeDtype, COMPUTE_DTYPE.value),
        calibration=Calibration.parse(INTRINSICS.value) if INTRINSICS.value else None,
        rays=RayOptions(
            Path(RAY_TEMPLATE.value).expanduser() if RAY_TEMPLATE.value else None,
            RAY_RESIDUAL_WEIGHT.value,
        ),
        scaling=parse_scale(
            SCALE.value, gt_folder=Path(GT_FOLDER.value) if GT_FOLDER.value else None
        ),
        cloud=CloudOptions(near=NEAR.value, far=FAR.value, max_slope=MAX_SLOPE.value),
        fps=FPS.value,
        max_frames=MAX_FRAMES.value,
        overwrite=OVERWRITE.value,
    )


def run() -> None:
    """The command line's entry."""
    try:
        run_program(main)
    except KeyboardInterrupt:
        print("Stopped; files that were written are whole, a video is not kept", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run()
