"""Every network on a real frame at the size of the original's recipes, 192x640.

The frame is not ours to ship: the test needs a folder with `real/kitti_192x640_uint8.npz` and, for
each network, the original's outputs in `real/NETWORK.npz`.
"""

import os
from pathlib import Path

import jax
import numpy as np
import pytest
from golden.networks import NAMES, Inputs, channels_last, make_case, named_outputs
from golden.seeded import seeded_uniform

VARIABLE = "PACKNET_JAX_TEST_REFERENCE"
TOLERANCES = {
    "PackNet01": 2e-4,
    "PackNetSAN01": 1e-4,
    "PackNetSlim01": 1e-4,
    "DepthResNet": 2e-5,
    "RaySurfaceResNet": 2e-5,
    "PoseNet": 1e-7,
    "PoseResNet": 1e-7,
}


@pytest.fixture(scope="module")
def folder():
    """The folder `real/`; skips the tests where there is none."""
    root = os.environ.get(VARIABLE)
    if not root:
        pytest.skip(f"{VARIABLE} is not set: the original's outputs on a KITTI frame are not here")
    found = Path(root) / "real"
    if not found.is_dir():
        pytest.skip(f"{found} is missing: the original's outputs on a KITTI frame are not here")
    return found


@pytest.fixture(scope="module")
def inputs(folder):
    """The frame; its mirror image and a shifted copy as contexts; depth for one pixel in 20."""
    with np.load(folder / "kitti_192x640_uint8.npz") as arrays:
        image = (arrays["image"] / np.float32(255)).astype(np.float32)
    contexts = np.stack([image[:, ::-1], np.roll(image, 7, axis=1)])
    has_depth = seeded_uniform("input_depth.real.mask", (1, 1, 192, 640)) < 0.05
    depth = seeded_uniform("input_depth.real.value", (1, 1, 192, 640), low=2, high=60)
    return Inputs(image[None], contexts[None], channels_last(np.where(has_depth, depth, 0)))


@pytest.mark.slow
@pytest.mark.parametrize("golden_name", NAMES)
def test_a_real_frame_gives_the_original_output(parity, folder, inputs, golden_name):
    case = make_case(golden_name, inputs)
    apply = jax.jit(lambda v: case.net.apply(v, *case.inputs, train=False, method=case.method))
    outputs = named_outputs(apply(case.variables))
    with np.load(folder / f"{golden_name}.npz") as arrays:
        golden = {name.removeprefix("eval."): array for name, array in arrays.items()}
    tolerance = TOLERANCES[golden_name.partition("_")[0]]
    for name, array in golden.items():
        expected = channels_last(array) if array.ndim == 4 else array
        parity.compare(f"real/{golden_name}", name, outputs[name], expected, tolerance=tolerance)
