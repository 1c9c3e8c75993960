"""Camera motion from a residual encoder that sees two images at a time."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from packnet_jax.networks.layers import bias_init_for_fan_in, conv2d, torch_default_init
from packnet_jax.networks.norm import at_least_float32
from packnet_jax.networks.pose_net import POSE_SCALE
from packnet_jax.networks.resnet import ResNetEncoder


def default_conv2d(
    x: Float[Array, "b h w c"], features: int, kernel_size: int, *, name: str
) -> Float[Array, "b h w f"]:
    """Applies a zero-padded convolution that starts as torch's do."""
    return conv2d(
        features,
        kernel_size,
        kernel_init=torch_default_init,
        bias_init=bias_init_for_fan_in(kernel_size**2 * x.shape[-1]),
        name=name,
    )(x)


class PoseDecoder(nn.Module):
    """One motion from the encoder's coarsest features.

    The last convolution predicts (rotation, translation) of two frames; only the first is used.
    The rest is kept so that released weights fit.

    Source: packnet-sfm networks/layers/resnet/pose_decoder.py: PoseDecoder.
    """

    width: int = 256

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b 6"]:
        x = nn.relu(default_conv2d(x, self.width, 1, name="squeeze"))
        x = nn.relu(default_conv2d(x, self.width, 3, name="pose_0"))
        x = nn.relu(default_conv2d(x, self.width, 3, name="pose_1"))
        motion = POSE_SCALE * default_conv2d(at_least_float32(x), 12, 1, name="pose_2").mean((1, 2))
        rotation, translation = motion[:, :3], motion[:, 3:6]
        return jnp.concatenate([translation, rotation], axis=-1)


class PoseResNet(nn.Module):
    """Motion from the target to every context camera, each pair on its own.

    The output is `context_T_target` as (translation, Euler angles in radians). In training each
    context image has its own batch statistics, and updates the running ones in turn.

    Source: packnet-sfm networks/pose/PoseResNet.py: PoseResNet.
    """

    depth: int = 18
    batch_norm_groups: int = 1
    """See `BatchNorm.groups`."""

    @nn.compact
    def __call__(
        self,
        rgb: Float[Array, "b h w 3"],
        rgb_context: Float[Array, "b n h w 3"],
        *,
        train: bool,
    ) -> Float[Array, "b n 6"]:
        encoder = ResNetEncoder(self.depth, self.batch_norm_groups, name="encoder")
        decoder = PoseDecoder(name="decoder")
        motions = []
        for i in range(rgb_context.shape[1]):
            pair = jnp.concatenate([rgb, rgb_context[:, i]], axis=-1)
            motions.append(decoder(encoder(pair, train=train)[-1]))
        return jnp.stack(motions, axis=1)
