"""What is measured is the real thing, on random inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from benchmarks import programs
from benchmarks.measure import check_finite, count_flops, measure_program
from benchmarks.plan import DTYPES, NETWORKS, PACKNETS, Case
from packnet_jax.networks.convolution import conv2d

PROGRAMS = {
    "forward": lambda: programs.forward(tiny.TinyDepthNet(), tiny.SHAPE, 2, "float32"),
    "loss_and_gradients": lambda: programs.loss_and_gradients(tiny.NETWORKS, tiny.SHAPE, 2),
    "train_step": lambda: programs.train_step(tiny.NETWORKS, tiny.SHAPE, 2),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_inputs_fit_the_shapes_and_repeat_with_the_seed(name):
    program = PROGRAMS[name]()
    first, again = (program.make_inputs(np.random.default_rng(0)) for _ in range(2))
    assert jax.tree.map(lambda a: (a.shape, a.dtype), first) == jax.tree.map(
        lambda s: (s.shape, s.dtype), program.shapes
    )
    jax.tree.map(np.testing.assert_array_equal, first, again)


@pytest.mark.parametrize("name", PROGRAMS)
def test_pictures_and_weights_are_noise(name):
    """But for what training starts at zero: the memory of Adam, and counters."""
    state, batch = PROGRAMS[name]().make_inputs(np.random.default_rng(0))
    variables = getattr(state, "variables", state)
    pictures = [batch] if name == "forward" else [batch.rgb, batch.rgb_context_original]
    for path, leaf in jax.tree_util.tree_leaves_with_path((variables, pictures)):
        values = np.unique(np.asarray(leaf))
        assert len(values) > 0.9 * leaf.size and 0 not in values, jax.tree_util.keystr(path)
    for picture in pictures:
        assert picture.min() >= 0 and picture.max() <= 1


def test_kernels_keep_the_size_of_what_goes_through_them():
    shapes = {"kernel": jax.ShapeDtypeStruct((3, 3, 64, 32), jnp.float32)}
    kernel = programs.random_variables(shapes, np.random.default_rng(0))["kernel"]
    x = np.random.default_rng(1).standard_normal((1, 16, 16, 64)).astype("f4")
    y = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(y.std(), 1, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_compiled_run_and_counted(name):
    found = measure_program(PROGRAMS[name](), rounds=2)
    assert len(found.seconds) == 2 and min(found.seconds) > 0
    assert found.compile_s and found.flops and found.planned_arguments_bytes
    assert found.planned_temporaries_bytes is not None
    assert (found.per_round, found.unit) == (2, "images" if name == "forward" else "samples")


@pytest.mark.slow
def test_a_training_step_goes_on_from_its_own_state():
    program = PROGRAMS["train_step"]()
    state, batch = program.make_inputs(np.random.default_rng(0))
    before = jax.device_get(state.variables["params"])
    state, output = program.function(state, batch)
    assert int(state.step) == 1 and int(output.scalars["nonfinite_steps"]) == 0
    moved = jax.tree.map(lambda a, b: np.any(a != b), before, state.variables["params"])
    assert all(jax.tree.leaves(moved))


def test_outputs_that_are_not_finite_are_an_error():
    with pytest.raises(FloatingPointError, match=r"\['b'\] is not finite"):
        check_finite({"a": jnp.ones(2), "b": jnp.array([1, jnp.nan], jnp.bfloat16)})


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("packing", ["reference", "fused"])
def test_a_case_has_the_networks_it_names(network, dtype, packing):
    packing = packing if network in PACKNETS else None
    case = Case("forward", "", network, 192, 640, 1, dtype, packing)
    networks = programs.networks_of(case)
    assert networks.compute_dtype == dtype
    assert getattr(networks.depth_net, "packing", None) == packing
    expected = "PoseResNet" if network == "DepthResNet18" else "PoseNet"
    assert type(networks.pose_net).__name__ == expected


def conv_flops(padding, dtype=jnp.float32):
    def conv(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    x, kernel = (jax.ShapeDtypeStruct(s, dtype) for s in ((2, 9, 11, 4), (3, 3, 4, 5)))
    return count_flops(jax.jit(conv), x, kernel)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_flops_of_a_convolution_are_those_counted_by_hand(dtype):
    """Two for each product: 7 x 9 places, 3 x 3 x 4 products, 5 features, 2 images."""
    assert conv_flops("VALID", dtype) == 2 * (2 * 7 * 9 * 5) * (3 * 3 * 4)


def test_flops_leave_out_products_with_the_zeros_of_a_padding():
    """Along 9 rows, 3 taps fall on 3 * 9 - 2 real ones; along 11 columns, on 3 * 11 - 2."""
    assert conv_flops("SAME") == 2 * (2 * 5 * 4) * (3 * 9 - 2) * (3 * 11 - 2)


def test_flops_of_a_kernel_s_gradient_are_those_of_the_convolution_on_every_machine():
    """CPU computes it another way, with zeros written out: 3,538,944 for each instead."""
    image, kernel = (
        jax.ShapeDtypeStruct(s, jnp.float32) for s in ((1, 24, 32, 16), (3, 3, 16, 16))
    )

    @jax.jit
    def gradient(kernel, image):
        return jax.grad(lambda kernel: conv2d(image, kernel, ((1, 1), (1, 1))).sum())(kernel)

    products = (3 * 24 - 2) * (3 * 32 - 2) * 16 * 16
    assert count_flops(gradient, kernel, image) == pytest.approx(2 * products, rel=0.01)
    assert gradient.lower(kernel, image).cost_analysis()["flops"] > 2 * products


def test_fused_packing_has_fewer_flops_than_the_reference():
    """Counted, not run: at 192x640 about half, by the arithmetic of `networks/fused_packing.py`."""

    def flops(packing):
        program = programs.make_program(
            Case("forward", "", "PackNet01", 192, 640, 1, "float32", packing)
        )
        return count_flops(program.function, *program.shapes)

    assert 0.4 < flops("fused") / flops("reference") < 0.6
