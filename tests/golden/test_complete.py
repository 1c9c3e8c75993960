"""Every array of these golden files is compared, is an input, or is left out for a reason.

A new array fails here until a test's table names it.
"""

import pytest
import test_depth_maps
import test_image
import test_visualize
from geometry import test_pinhole, test_transforms, test_warp
from geometry import test_ray_surface as test_ray_camera
from losses import test_photometric, test_smoothness, test_ssim
from losses import test_ray_surface as test_ray_loss
from metrics import test_depth

from golden.arrays import FOLDER, load

COMPARED = {
    "geometry": {*test_transforms.GOLDEN, *test_pinhole.GOLDEN, *test_pinhole.PROJECTIONS},
    "generic_camera": {*test_ray_camera.GOLDEN_POINTS, *test_ray_camera.GOLDEN_PROJECTIONS},
    "image_ops": {*test_image.GOLDEN, *test_ssim.GOLDEN},
    "view_synthesis": set(test_warp.GOLDEN_GRID_SAMPLE),
    "depth_utils": {
        *test_depth_maps.GOLDEN_INVERSION,
        *test_depth_maps.GOLDEN_FUSION,
        *test_visualize.GOLDEN_COLOURS,
        *test_visualize.GOLDEN_FILES,
    },
    "metrics": {*test_depth.GOLDEN_METRICS, *test_depth.GOLDEN_FITTING, "median.torch"},
    "photometric": {
        *test_photometric.GOLDEN_MAPS,
        *test_photometric.GOLDEN_IMAGES,
        *test_smoothness.GOLDEN_PIECES,
    },
}
"""Names that the tests go through, by file."""

COMPARED_BY_PREFIX = {
    "generic_camera": test_ray_loss.GOLDEN_LOSSES,
    "view_synthesis": [e for e in test_warp.GOLDEN_WARPS if not test_warp.meaningless(e)],
    "photometric": [f"{configuration}." for configuration in test_photometric.CONFIGURATIONS],
}
"""The tests compare every array whose name begins so, and fail on one that they can not compute."""

NO_NEAREST = "no function here reads the nearest pixel; nothing in the original asks for it"
FOLDED = "coordinates near 1e6 are folded: the original's float32 is 0.23 from its float64"

WEIGHTING_UNKNOWN = (
    "nothing says of which sum over the coordinates this is the gradient; those of the losses, "
    "which pass through the projection, are compared"
)

LEFT_OUT = {
    "geometry": {},
    "generic_camera": {entry: WEIGHTING_UNKNOWN for entry in test_ray_camera.GOLDEN_GRADIENTS},
    "image_ops": {
        "interp_bilinear_noac_26x34": "no function here: the original resizes so only in "
        "interpolate_scales by default, whose callers ask for 'nearest'",
    },
    "view_synthesis": {
        "vec.zeros.nearest": NO_NEAREST,
        **{f"grid_sample.{mode}.nearest": NO_NEAREST for mode in test_warp.PADDING_MODES},
        "vec_behind.reflection.bilinear": FOLDED,
        "vec_behind.reflection.bilinear.grad_depth": FOLDED,
        "vec_behind.reflection.bilinear.grad_vec": FOLDED,
    },
    "depth_utils": {
        "viz.input_after_call": "the original's function spoils its argument, ours does not: "
        "test_visualize.test_colouring_leaves_its_argument_alone",
        "png_mode": "an old Pillow's name for 16-bit pictures; pixels and header are compared",
        "npz_intrinsics_none_repr": "a pickled None; here an empty array: "
        "test_visualize.test_a_depth_npz_without_intrinsics_loads_without_pickle",
    },
    "metrics": {
        "names": "names: test_depth.test_the_metrics_have_the_order_of_the_reference",
    },
    "photometric": {
        "meta.json": "the configurations; its counts of scales: "
        "test_photometric.test_documented_progressive_scaling",
    },
}


def is_input(name):
    return name.startswith("in.") or ".in." in name or name == "median.in"


@pytest.mark.parametrize("file", COMPARED)
def test_no_array_is_forgotten(file):
    names = {name for name in load(file) if not is_input(name)}
    by_prefix = {
        name for name in names if name.startswith(tuple(COMPARED_BY_PREFIX.get(file, ["\0"])))
    }
    compared, left_out = COMPARED[file] | by_prefix, set(LEFT_OUT[file])
    assert compared | left_out == names
    assert not compared & left_out


def test_the_depth_picture_of_the_original_is_there():
    """Compared in test_visualize."""
    assert (FOLDER / "depth_written.png").is_file()
