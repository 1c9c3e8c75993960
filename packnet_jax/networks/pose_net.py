"""Camera motion from a plain stack of strided convolutions."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from packnet_jax.networks.layers import check_image_size, conv2d, group_norm
from packnet_jax.networks.norm import at_least_float32

WIDTHS = (16, 32, 64, 128, 256, 256, 256)
KERNEL_SIZES = (7, 5, 3, 3, 3, 3, 3)

POSE_SCALE = 0.01
"""Keeps the motion of untrained networks small."""


class StridedBlock(nn.Module):
    """Convolution with stride 2, group normalisation, ReLU."""

    features: int
    kernel_size: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b _ _ {self.features}"]:
        x = conv2d(self.features, self.kernel_size, stride=2, name="conv")(x)
        return nn.relu(group_norm(name="norm")(x))


class PoseNet(nn.Module):
    """Motion from the target to every context camera, all images seen at once.

    The output is `context_T_target` as (translation, Euler angles in radians). The number of
    context images is fixed when the parameters are made.

    Source: packnet-sfm networks/pose/PoseNet.py: PoseNet.
    """

    @nn.compact
    def __call__(
        self,
        rgb: Float[Array, "b h w 3"],
        rgb_context: Float[Array, "b n h w 3"],
        *,
        train: bool,
    ) -> Float[Array, "b n 6"]:
        del train  # Group normalisation does the same in both modes.
        check_image_size(rgb)
        num_context = rgb_context.shape[1]
        frames = [rgb, *(rgb_context[:, i] for i in range(num_context))]
        x = jnp.concatenate(frames, axis=-1)
        for i, (width, kernel_size) in enumerate(zip(WIDTHS, KERNEL_SIZES, strict=True), start=1):
            x = StridedBlock(width, kernel_size, name=f"conv{i}")(x)
        x = conv2d(6 * num_context, 1, name="pose")(at_least_float32(x)).mean((1, 2))
        return POSE_SCALE * x.reshape(-1, num_context, 6)
