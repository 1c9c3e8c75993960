"""Laws of the parts that networks are built from; golden tests prove them in their networks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from packnet_jax.networks.depth_resnet import DepthResNet, decode_inv_depth
from packnet_jax.networks.layers import (
    ConvNormElu,
    InvDepthHead,
    ReflectConv,
    ResidualConv,
    bias_init_for_fan_in,
    bias_init_for_sigmoid,
    check_image_size,
    conv2d,
    group_norm,
    norm_elu,
    upsample_nearest_2x,
)
from packnet_jax.networks.norm import at_least_float32
from packnet_jax.networks.packing import (
    ChannelConv3d,
    Pack,
    Unpack,
    depth_to_space,
    space_to_depth,
)
from packnet_jax.networks.pose_net import POSE_SCALE, StridedBlock
from packnet_jax.networks.pose_resnet import PoseDecoder, default_conv2d
from packnet_jax.networks.resnet import (
    IMAGE_MEAN,
    BasicBlock,
    Bottleneck,
    ResNetDecoder,
    ResNetEncoder,
    Shortcut,
    residual_conv2d,
)


def random_maps(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def init(net, *inputs, **options):
    return net.init(jax.random.key(1), *inputs, **options)


def apply_part(net, variables, name, x):
    """A part of a network on its own, with the parameters that it has in the network."""
    return net.apply({"params": variables["params"][name]}, x)


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (0, 64)])
def test_sizes_that_can_not_be_halved_five_times_are_refused(shape):
    with pytest.raises(ValueError, match=f"{shape[0]}x{shape[1]}"):
        check_image_size(jnp.zeros((1, *shape, 3)))


def test_sizes_that_can_be_halved_five_times_pass():
    check_image_size(jnp.zeros((1, 32, 96, 3)))


def test_biases_start_uniformly_within_one_over_the_root_of_the_inputs():
    biases = bias_init_for_fan_in(400)(jax.random.key(0), (5000,))
    assert np.abs(biases).max() <= 0.05
    np.testing.assert_allclose([np.mean(biases), np.std(biases)], [0, 0.05 / 3**0.5], atol=2e-3)


def test_nearest_doubling_repeats_pixels():
    x = random_maps(2, 3, 4, 5)
    np.testing.assert_array_equal(upsample_nearest_2x(x), np.repeat(np.repeat(x, 2, 1), 2, 2))


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_strided_convolutions_are_centred_on_every_second_pixel(kernel_size):
    """Counts of the pixels under the kernel: outermost windows lose pad rows, not pad - 1."""
    net = conv2d(1, kernel_size, stride=2, kernel_init=nn.initializers.ones, name="conv")
    ones = jnp.ones((1, 16, 16, 1))
    counts = net.apply(init(net, ones), ones)[0, ..., 0]
    pad = kernel_size // 2
    along = [min(2 * i + pad, 15) - max(2 * i - pad, 0) + 1 for i in range(8)]
    np.testing.assert_array_equal(counts, np.outer(along, along))


def test_groups_of_channels_are_normalised_per_image_even_far_from_zero():
    x = 1000 + random_maps(2, 8, 8, 32) * jnp.arange(1, 33)
    net = group_norm(name="norm")
    y = np.asarray(net.apply(init(net, x), x)).reshape(2, 64, 16, 2)
    np.testing.assert_allclose(y.mean((1, 3)), np.zeros((2, 16)), atol=1e-3)
    np.testing.assert_allclose(y.std((1, 3)), np.ones((2, 16)), rtol=1e-3)


@pytest.mark.parametrize(
    ("block", "stride", "activation"),
    [(ConvNormElu(16, 3), 1, nn.elu), (StridedBlock(16, 3), 2, nn.relu)],
)
def test_blocks_are_convolution_normalisation_activation(block, stride, activation):
    x = random_maps(1, 4, 6, 3)
    variables = init(block, x)
    y = apply_part(conv2d(16, 3, stride=stride, name="conv"), variables, "conv", x)
    y = activation(apply_part(group_norm(name="norm"), variables, "norm", y))
    np.testing.assert_allclose(block.apply(variables, x), y, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "num_maps"),
    [(ConvNormElu(16, 3), 1), (Pack(16, 3, 4), 1), (ResidualConv(16), 4)],
)
def test_each_normalisation_and_elu_keeps_one_map_for_the_gradient(block, num_maps):
    """What it is given; of a residual block also what its second convolution is given."""
    x = random_maps(1, 4, 6, 3)
    options = {"train": True} if isinstance(block, ResidualConv) else {}
    y, gradient = jax.vjp(lambda v: block.apply(v, x, **options), init(block, x, **options))
    kept = [leaf for leaf in jax.tree.leaves(gradient) if leaf.shape == y.shape]
    assert len(kept) == num_maps


def test_normalisation_and_elu_are_flax_s_gradients_included():
    class Kept(nn.Module):
        @nn.compact
        def __call__(self, x):
            return norm_elu(self, x)

    class Plain(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.elu(group_norm(name="norm")(x))

    x, weights = random_maps(2, 4, 6, 32), random_maps(2, 4, 6, 32, seed=1)
    variables = init(Plain(), x)
    found, expected = (
        jax.value_and_grad(lambda v, x, net=net: jnp.vdot(weights, net.apply(v, x)), (0, 1))(
            variables, x
        )
        for net in (Kept(), Plain())
    )
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found, expected)


def test_inverse_depth_lies_between_zero_and_that_of_the_least_depth():
    head = InvDepthHead(min_depth=0.25)
    x = 100 * random_maps(1, 8, 8, 4)
    inv_depth = head.apply(init(head, x), x)
    assert inv_depth.shape == (1, 8, 8, 1)
    assert 0 <= inv_depth.min() < 0.01
    assert 3.99 < inv_depth.max() <= 4
    variables = jax.tree.map(jnp.zeros_like, init(head, x))
    np.testing.assert_array_equal(head.apply(variables, x), np.full((1, 8, 8, 1), 2.0))


def test_features_of_the_3d_convolution_come_one_after_the_other():
    """A kernel of feature + 1 in its middle returns so many times the input, plus the bias."""
    x = random_maps(1, 3, 4, 5)
    net = ChannelConv3d(2)
    kernel = jnp.zeros((3, 3, 3, 1, 2)).at[1, 1, 1, 0].set(jnp.array([1.0, 2.0]))
    variables = {"params": {"kernel": kernel, "bias": jnp.array([10.0, 20.0])}}
    expected = np.concatenate([x + 10, 2 * x + 20], axis=-1)
    np.testing.assert_allclose(net.apply(variables, x), expected, rtol=1e-6)


def test_packing_goes_through_space_to_depth_then_the_volume_then_a_block():
    x = random_maps(1, 4, 6, 3)
    net = Pack(16, 3, 4)
    variables = init(net, x)
    volume = apply_part(ChannelConv3d(4), variables, "conv3d", space_to_depth(x))
    expected = apply_part(ConvNormElu(16, 3), variables, "conv2d", volume)
    assert expected.shape == (1, 2, 3, 16)
    np.testing.assert_allclose(net.apply(variables, x), expected, atol=1e-6)


def test_unpacking_goes_through_a_block_then_the_volume_then_depth_to_space():
    x = random_maps(1, 2, 3, 8)
    net = Unpack(16, 3, 4)
    variables = init(net, x)
    narrow = apply_part(ConvNormElu(16, 3), variables, "conv2d", x)
    expected = depth_to_space(apply_part(ChannelConv3d(4), variables, "conv3d", narrow))
    assert expected.shape == (1, 4, 6, 16)
    np.testing.assert_allclose(net.apply(variables, x), expected, atol=1e-6)


class DefaultConvolution(nn.Module):
    @nn.compact
    def __call__(self, x):
        return default_conv2d(x, 64, 3, name="conv")


def test_default_convolutions_start_within_one_over_the_root_of_the_inputs():
    params = init(DefaultConvolution(), jnp.zeros((1, 4, 4, 32)))["params"]["conv"]
    bound = (9 * 32) ** -0.5
    for values in params.values():
        assert 0.9 * bound < np.abs(values).max() <= bound


def test_the_pose_decoder_answers_translation_then_rotation_of_the_first_frame():
    net, x = PoseDecoder(width=16), random_maps(2, 4, 6, 32)
    variables = jax.tree.map(jnp.zeros_like, init(net, x))
    variables["params"]["pose_2"]["bias"] = jnp.arange(12.0)
    expected = POSE_SCALE * np.array([[3, 4, 5, 0, 1, 2]] * 2)
    np.testing.assert_allclose(net.apply(variables, x), expected, rtol=1e-6)


def test_a_shortcut_is_the_input_where_the_shape_stays():
    x = random_maps(1, 4, 6, 8)
    assert not init(Shortcut(8, 1), x, train=False)
    np.testing.assert_array_equal(Shortcut(8, 1).apply({}, x, train=False), x)
    for features, stride in ((8, 2), (16, 1)):
        net = Shortcut(features, stride)
        y = net.apply(init(net, x, train=False), x, train=False)
        assert y.shape == (1, 4 // stride, 6 // stride, features)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "last", "channels"), [(BasicBlock(8), "bn2", 8), (Bottleneck(2), "bn3", 8)]
)
def test_a_block_whose_branch_is_silent_passes_its_input(block, last, channels):
    x = random_maps(1, 4, 6, channels)
    variables = init(block, x, train=False)
    assert np.abs(block.apply(variables, x, train=False) - nn.relu(x)).max() > 0.1
    variables["params"][last]["scale"] = jnp.zeros(channels)
    np.testing.assert_array_equal(block.apply(variables, x, train=False), nn.relu(x))


@pytest.mark.slow
@pytest.mark.parametrize("block", [BasicBlock(4, 2), Bottleneck(4, 2)])
def test_a_strided_block_halves(block):
    x = random_maps(1, 4, 6, 8)
    y = block.apply(init(block, x, train=False), x, train=False)
    assert y.shape == (1, 2, 3, 4 if isinstance(block, BasicBlock) else 16)


def constant_variables(net, *inputs, **options):
    """Every kernel and scale 0.1, every bias and mean 0: nothing to draw, so quick to make."""
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), *inputs, **options))
    is_zero = lambda path: path[-1].key in ("bias", "mean")  # noqa: E731
    return jax.tree.map_with_path(
        lambda path, leaf: jnp.full(leaf.shape, 0.0 if is_zero(path) else 0.1), shapes
    )


def test_the_encoder_sees_deviations_from_its_mean_at_five_scales():
    """The mean grey becomes 0, which convolutions without bias keep."""
    net = ResNetEncoder(18)
    images = jnp.full((2, 32, 64, 3), IMAGE_MEAN).at[1].set(1.0)
    variables = constant_variables(net, images, train=False)
    features = jax.jit(lambda images: net.apply(variables, images, train=False))(images)
    widths = (64, 64, 128, 256, 512)
    for level, (feature, width) in enumerate(zip(features, widths, strict=True), start=1):
        assert feature.shape == (2, 32 // 2**level, 64 // 2**level, width)
        np.testing.assert_array_equal(feature[0], np.zeros(feature.shape[1:]))
        assert feature[1].min() > 0


def decoder_with_heads(net, features, num_scales):
    """Variables with which the logits are the number of their scale everywhere."""
    variables = constant_variables(net, features)
    for scale in range(num_scales):
        head = variables["params"][f"disp_{scale}"]["conv"]
        head["kernel"], head["bias"] = 0 * head["kernel"], head["bias"] * 0 + scale
    return variables


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "num_channels", "num_scales"), [(nn.sigmoid, 1, 4), (jnp.tanh, 3, 1)]
)
def test_the_decoder_starts_from_the_coarsest_features_and_ends_at_full_size(
    activation, num_channels, num_scales
):
    features = tuple(random_maps(1, 32 >> i, 64 >> i, 8) for i in range(5))
    net = ResNetDecoder(activation, num_channels=num_channels, num_scales=num_scales)
    variables = decoder_with_heads(net, features, num_scales)
    maps = jax.jit(lambda features: net.apply(variables, features))(features)
    assert len(maps) == num_scales
    for scale, values in enumerate(maps):
        assert values.shape == (1, 64 >> scale, 128 >> scale, num_channels)
        expected = activation(jnp.full(values.shape, float(scale)))
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_sigmoids_become_inverse_depth_between_those_of_100_and_of_a_tenth():
    class Decode(nn.Module):
        @nn.compact
        def __call__(self, features):
            return decode_inv_depth(features, initial_inv_depth=0.0, name="decoder")

    features = tuple(random_maps(1, 32 >> i, 64 >> i, 8) for i in range(5))
    decoder = decoder_with_heads(ResNetDecoder(nn.sigmoid), features, 4)
    variables = {"params": {"decoder": decoder["params"]}}
    for scale, inv_depth in enumerate(jax.jit(Decode().apply)(variables, features)):
        expected = 0.01 + (10 - 0.01) / (1 + np.exp(-scale))
        np.testing.assert_allclose(inv_depth, np.full(inv_depth.shape, expected), rtol=1e-6)


def test_the_border_of_a_reflecting_convolution_is_a_mirror():
    """Around an image that is its own mirror image about a border row, nothing changes there."""
    x = random_maps(1, 5, 6, 2)
    mirrored = jnp.concatenate([x[:, :0:-1], x], axis=1)  # row 4 is the first row of x
    net = ReflectConv(3)
    variables = init(net, x)
    whole = net.apply(variables, mirrored)
    np.testing.assert_allclose(net.apply(variables, x)[:, 0], whole[:, 4], atol=1e-6)


def test_heads_start_at_the_inverse_depth_that_is_asked_for():
    nothing = jnp.zeros((1, 4, 6, 3))
    head = InvDepthHead(0.5, initial_inv_depth=0.3)
    np.testing.assert_allclose(head.apply(init(head, nothing), nothing), 0.3, rtol=1e-6)
    plain = InvDepthHead(0.5)
    np.testing.assert_allclose(plain.apply(init(plain, nothing), nothing), 1.0, rtol=1e-6)
    conv = ReflectConv(1, bias_init_for_sigmoid(0.2))
    logits = conv.apply(init(conv, nothing), nothing)
    np.testing.assert_allclose(nn.sigmoid(logits), 0.2, rtol=1e-6)


@pytest.mark.slow
def test_fresh_depth_starts_near_what_is_asked_for_over_a_whole_image():
    rgb = jax.random.uniform(jax.random.key(0), (1, 32, 64, 3))
    net = DepthResNet(18, initial_inv_depth=0.5)
    variables = jax.jit(lambda key: net.init(key, rgb, train=False))(jax.random.key(0))
    for inv_depth in jax.jit(lambda v: net.apply(v, rgb, train=False))(variables):
        assert 0.25 < inv_depth.mean() < 1


def test_residual_convolutions_have_no_bias_and_halve_where_asked():
    net = residual_conv2d(4, 3, stride=2, name="conv")
    x = random_maps(1, 8, 6, 3)
    variables = init(net, x)
    assert set(variables["params"]) == {"kernel"}
    assert net.apply(variables, x).shape == (1, 4, 3, 4)
    np.testing.assert_array_equal(net.apply(variables, jnp.zeros_like(x)), 0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("bfloat16", "float32"), ("float16", "float32"), ("float32", "float32")],
)
def test_narrow_numbers_are_widened(given, expected):
    x = jnp.array([1.0, 0.1], given)
    assert at_least_float32(x).dtype == expected
    np.testing.assert_array_equal(at_least_float32(x), x.astype(expected))
