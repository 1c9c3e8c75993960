"""Convolution blocks, heads and initialisers that several networks share."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer, variance_scaling, xavier_uniform
from jaxtyping import Array, Float

from packnet_jax.networks.convolution import conv_general_dilated
from packnet_jax.networks.norm import at_least_float32

torch_default_init = variance_scaling(1 / 3, "fan_in", "uniform")
"""Uniform in +-1/sqrt(fan_in): what a torch convolution starts from."""

xavier_init = xavier_uniform()
"""Uniform, for PackNet and PoseNet."""

kaiming_fan_out_init = variance_scaling(2.0, "fan_out", "normal")
"""Normal with variance 2 / fan_out, for the residual encoders."""

NUM_GROUPS = 16
"""Groups of every group normalisation."""

SIZE_DIVISOR = 32
"""Each network halves its input five times and meets the halves again on the way up."""


def check_image_size(rgb: Float[Array, "b h w c"]) -> None:
    """Raises ValueError unless height and width are positive multiples of 32."""
    height, width = rgb.shape[1:3]
    if height % SIZE_DIVISOR or width % SIZE_DIVISOR or not height * width:
        raise ValueError(
            f"got images of {height}x{width} pixels (shape {rgb.shape}), expected height and "
            f"width divisible by {SIZE_DIVISOR}; resize or crop the images"
        )


def bias_init_for_fan_in(fan_in: int) -> Initializer:
    """The bias that goes with `torch_default_init`: uniform in +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key, shape, dtype=jnp.float32, out_sharding=None):
        return jax.random.uniform(
            key, shape, dtype, minval=-bound, maxval=bound, out_sharding=out_sharding
        )

    return init


def upsample_nearest_2x(x: Float[Array, "b h w c"]) -> Float[Array, "b h*2 w*2 c"]:
    """Repeats every pixel twice along both image axes."""
    b, h, w, c = x.shape
    doubled = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c))
    return doubled.reshape(b, 2 * h, 2 * w, c)


def conv2d(
    features: int,
    kernel_size: int,
    *,
    name: str,
    stride: int = 1,
    use_bias: bool = True,
    kernel_init: Initializer = xavier_init,
    bias_init: Initializer = nn.initializers.zeros,
) -> nn.Conv:
    """A square convolution with kernel_size // 2 zeros on every side.

    flax's "SAME" is not used: with stride 2 it pads unevenly.
    """
    pad = kernel_size // 2
    return nn.Conv(
        features,
        (kernel_size, kernel_size),
        strides=(stride, stride),
        padding=((pad, pad), (pad, pad)),
        use_bias=use_bias,
        conv_general_dilated=conv_general_dilated,
        kernel_init=kernel_init,
        bias_init=bias_init,
        name=name,
    )


def group_norm(*, name: str) -> nn.GroupNorm:
    """Group normalisation whose variance is computed in two passes, which float32 needs."""
    return nn.GroupNorm(NUM_GROUPS, epsilon=1e-5, use_fast_variance=False, name=name)


@nn.checkpoint
def norm_elu(block: nn.Module, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """The end of a block: group normalisation, whose parameters are the block's "norm", and ELU.

    For the gradient only x is kept, and the rest made again: memory for a little time.
    """
    return nn.elu(group_norm(name="norm")(x))


class ConvNormElu(nn.Module):
    """Convolution, group normalisation, ELU.

    Source: packnet-sfm networks/layers/packnet/layers01.py: Conv2D.
    """

    features: int
    kernel_size: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w {self.features}"]:
        x = conv2d(self.features, self.kernel_size, name="conv")(x)
        return norm_elu(self, x)


class ResidualConv(nn.Module):
    """Two 3x3 blocks beside a 1x1 shortcut; the sum is normalised, then ELU.

    `dropout` removes whole channels of the shortcut in training and then needs the rng "dropout".

    Source: packnet-sfm networks/layers/packnet/layers01.py: ResidualConv.
    """

    features: int
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w {self.features}"]:
        residual = ConvNormElu(self.features, 3, name="conv1")(x)
        residual = ConvNormElu(self.features, 3, name="conv2")(residual)
        shortcut = conv2d(self.features, 1, name="shortcut")(x)
        shortcut = nn.Dropout(self.dropout, broadcast_dims=(1, 2))(
            shortcut, deterministic=not train
        )
        return norm_elu(self, residual + shortcut)


def bias_init_for_sigmoid(value: float) -> Initializer:
    """The bias with which a sigmoid starts near a value in (0, 1)."""
    return nn.initializers.constant(math.log(value / (1 - value)))


class InvDepthHead(nn.Module):
    """Inverse depth in (0, 2): a 3x3 convolution and a sigmoid, divided by the least depth, 0.5.

    Source: packnet-sfm networks/layers/packnet/layers01.py: InvDepth.
    """

    min_depth: float = 0.5
    initial_inv_depth: float = 0.0
    """Where fresh weights start; 0 for a bias of zero, as in the original, which is 1."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w 1"]:
        bias_init = nn.initializers.zeros
        if self.initial_inv_depth:
            bias_init = bias_init_for_sigmoid(self.initial_inv_depth * self.min_depth)
        logits = conv2d(1, 3, bias_init=bias_init, name="conv")(at_least_float32(x))
        return nn.sigmoid(logits) / self.min_depth


class ReflectConv(nn.Module):
    """A 3x3 convolution that mirrors the border pixels.

    It starts from torch's default initialisation, the bias unless another is given.

    Source: packnet-sfm networks/layers/resnet/layers.py: Conv3x3.
    """

    features: int
    bias_init: Initializer | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w {self.features}"]:
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        return nn.Conv(
            self.features,
            (3, 3),
            padding=((0, 0), (0, 0)),
            conv_general_dilated=conv_general_dilated,
            kernel_init=torch_default_init,
            bias_init=self.bias_init or bias_init_for_fan_in(9 * x.shape[-1]),
            name="conv",
        )(padded)
