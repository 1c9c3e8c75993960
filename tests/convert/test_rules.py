"""Each layout, and that every table fits its network's manifest: each tensor once, each once."""

import functools

import jax
import numpy as np
import pytest
from golden.networks import NAMES
from golden.seeded import load_manifest

from packnet_jax.convert.rules import RULES, kernel_2d, kernel_3d, sparse_kernel, target_of, vector
from packnet_jax.convert.state_dict import from_state_dict
from packnet_jax.networks import DEPTH_NETS, make_depth_net, make_pose_net

RGB = np.zeros((1, 32, 32, 3), np.float32)
CONTEXT = np.zeros((1, 2, 32, 32, 3), np.float32)


def test_sparse_taps_go_down_the_columns():
    """Original: tap = column * size + row, of a cross-correlation."""
    size, num_in, num_out = 5, 2, 3
    tensor = np.arange(size**2 * num_in * num_out).reshape(size**2, num_in, num_out)
    kernel = sparse_kernel(tensor)
    assert kernel.shape == (size, size, num_in, num_out)
    for row, column in np.ndindex(size, size):
        np.testing.assert_array_equal(kernel[row, column], tensor[column * size + row])


def test_dense_kernels_end_in_inputs_and_outputs():
    tensor = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    assert kernel_2d(tensor)[4, 6, 2, 1] == tensor[1, 2, 4, 6]
    tensor = np.arange(2 * 1 * 3 * 5 * 7).reshape(2, 1, 3, 5, 7)
    assert kernel_3d(tensor)[4, 6, 2, 0, 1] == tensor[1, 0, 2, 4, 6]


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (vector, (3, 1)),
        (kernel_2d, (3, 3, 1)),
        (kernel_3d, (4, 1, 3, 3)),
        (sparse_kernel, (3, 3, 1, 2)),
        (sparse_kernel, (8, 1, 2)),
    ],
)
def test_tensors_of_another_kind_are_refused(layout, shape):
    with pytest.raises(ValueError, match="expected"):
        layout(np.zeros(shape))


@pytest.mark.slow
@pytest.mark.parametrize("golden_name", NAMES)
def test_every_tensor_has_one_place_and_every_variable_one_tensor(golden_name):
    name, _, version = golden_name.partition("_")
    if name in DEPTH_NETS:
        net, inputs = make_depth_net(name, version), (RGB,)
    else:
        net, inputs = make_pose_net(name, version), (RGB, CONTEXT)
    template = jax.eval_shape(functools.partial(net.init, train=False), jax.random.key(0), *inputs)
    tensors = load_manifest(golden_name)["tensors"]
    state_dict = {t["name"]: np.broadcast_to(np.float32(0), t["shape"]) for t in tensors}
    from_state_dict(state_dict, RULES[name], template)


@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("PackNetSAN01", r"mconvs.mconvs.0.layer3.1.bn.num_batches_tracked"),
        ("RaySurfaceResNet", "encoder.encoder.fc.weight"),
    ],
)
def test_what_nothing_reads_is_named(name, unused):
    assert target_of(unused, RULES[name]) is None


@pytest.mark.parametrize("name", ["decoder.pre_calc.conv_base.weight", "weight.1", "mconvs.weight"])
def test_names_of_the_wrong_half_have_no_place(name):
    with pytest.raises(KeyError):
        target_of(name, RULES["PackNetSAN01"])
