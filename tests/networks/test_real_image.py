"""Every network on a real frame at the size of the original's recipes, 192x640.

The frame is not ours to ship: the test needs a folder with `real/kitti_192x640_uint8.npz` and, for
each network, the original's outputs in `real/NETWORK.npz`.
"""

import os
from pathlib import Path

import jax
import numpy as np
import pytest
from golden.networks import NAMES, channels_last, make_case

VARIABLE = "PACKNET_JAX_TEST_REFERENCE"
TOLERANCES = {"PackNet01": 2e-4, "PackNetSlim01": 1e-4, "DepthResNet": 2e-5}


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
def image(folder):
    with np.load(folder / "kitti_192x640_uint8.npz") as arrays:
        return (arrays["image"] / np.float32(255)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("golden_name", NAMES)
def test_a_real_frame_gives_the_original_output(parity, folder, image, golden_name):
    contexts = np.stack([image[:, ::-1], np.roll(image, 7, axis=1)])
    case = make_case(golden_name, image[None], contexts[None])
    output = jax.jit(lambda v: case.net.apply(v, *case.inputs, train=False))(case.variables)
    with np.load(folder / f"{golden_name}.npz") as arrays:
        golden = dict(arrays)
    golden_set = f"real/{golden_name}"
    if case.is_depth_net:
        expected = channels_last(golden["eval.inv_depth"])
        tolerance = TOLERANCES[golden_name.partition("_")[0]]
        parity.compare(golden_set, "inv_depth", output[0], expected, tolerance=tolerance)
    else:
        parity.compare(golden_set, "pose", output, golden["eval.pose"], tolerance=1e-7)
