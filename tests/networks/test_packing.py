import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from packnet_jax.networks.convolution import channel_conv3d
from packnet_jax.networks.packing import depth_to_space, space_to_depth


@pytest.mark.parametrize("shape", [(1, 2, 2, 1), (2, 4, 6, 3)])
def test_packing_and_unpacking_are_inverse(shape):
    x = jax.random.normal(jax.random.key(0), shape)
    np.testing.assert_array_equal(depth_to_space(space_to_depth(x)), x)


def test_packed_channels_are_ordered_by_channel_row_column():
    x = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    packed = space_to_depth(jnp.asarray(x))
    for channel, row, column in np.ndindex(3, 2, 2):
        np.testing.assert_array_equal(
            packed[..., 4 * channel + 2 * row + column], x[:, row::2, column::2, channel]
        )


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 4, 5), (1, 6, 2, 16)])
def test_channel_convolution_is_the_3d_convolution(shape):
    num_features = 3
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), shape, jnp.float64)
        kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 1, num_features), jnp.float64)
        volume = lax.conv_general_dilated(
            x[..., None],
            kernel,
            (1, 1, 1),
            "SAME",
            dimension_numbers=("NHWDC", "HWDIO", "NHWDC"),
        )
        actual = channel_conv3d(x, kernel)
        for feature in range(num_features):
            c = shape[-1]
            np.testing.assert_allclose(
                actual[..., feature * c : (feature + 1) * c], volume[..., feature], atol=1e-12
            )
