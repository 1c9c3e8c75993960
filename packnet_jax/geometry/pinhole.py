"""The pinhole camera: intrinsics K in pixels, back-projection, projection."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from packnet_jax.bounds import at_least
from packnet_jax.geometry.transforms import apply_matrix, scale_vectors

NEAREST_Z = 1e-5
"""Points nearer than this (metres), or behind the camera, are projected as if they were here."""


def scale_intrinsics(
    K: Float[Array, "*b 3 3"], scale_x: float, scale_y: float
) -> Float[Array, "*b 3 3"]:
    """K of the image resized by these factors about its outer edges.

    The left edge of pixel 0 lies at -0.5 before and after, so c' = (c + 0.5) s - 0.5.

    Source: packnet-sfm geometry/camera_utils.py: scale_intrinsics.
    Differs: the skew, which the reference leaves as it is, scales with x.
    """
    scale = jnp.array([scale_x, scale_y, 1.0], K.dtype)
    shift = jnp.zeros((3, 3), K.dtype).at[:, 2].set(0.5 * scale - 0.5)
    return K * scale[:, None] + shift


def resize_intrinsics(
    K: Float[Array, "*b 3 3"], from_shape: tuple[int, int], to_shape: tuple[int, int]
) -> Float[Array, "*b 3 3"]:
    """K of a resized data set image: its first two rows times the resize factors.

    This keeps no half-pixel shift, unlike `scale_intrinsics`; released checkpoints were trained
    so.

    Args:
        K: Intrinsics of the stored image.
        from_shape: Its height and width.
        to_shape: Height and width after resizing.

    Source: packnet-sfm datasets/augmentations.py: resize_sample_image_and_intrinsics.
    """
    (from_height, from_width), (to_height, to_width) = from_shape, to_shape
    return K * jnp.array([to_width / from_width, to_height / from_height, 1.0], K.dtype)[:, None]


def flip_intrinsics(K: Float[Array, "*b 3 3"], width: int) -> Float[Array, "*b 3 3"]:
    """K of the mirrored image, cx' = width - cx.

    With pixel centres at integers the exact rule would be width - 1 - cx; the reference hands its
    depth network this one, and none of its networks reads it.

    Source: packnet-sfm models/model_utils.py: flip_batch_input.
    """
    sign = jnp.ones((3, 3), K.dtype).at[0, 2].set(-1)
    return K * sign + jnp.zeros((3, 3), K.dtype).at[0, 2].set(width)


def crop_intrinsics(K: Float[Array, "*b 3 3"], left: int, top: int) -> Float[Array, "*b 3 3"]:
    """K after `left` columns and `top` rows are cut off."""
    return K - jnp.zeros((3, 3), K.dtype).at[0, 2].set(left).at[1, 2].set(top)


def invert_intrinsics(K: Float[Array, "*b 3 3"]) -> Float[Array, "*b 3 3"]:
    """Inverse of an upper triangular K whose last row is (0, 0, 1).

    Source: packnet-sfm geometry/camera.py: Camera.Kinv.
    Differs: exact for a skewed camera too.
    """
    fx, fy, skew = K[..., 0, 0], K[..., 1, 1], K[..., 0, 1]
    cx, cy = K[..., 0, 2], K[..., 1, 2]
    zero, one = jnp.zeros_like(fx), jnp.ones_like(fx)
    rows = [
        [1 / fx, -skew / (fx * fy), (skew * cy / fy - cx) / fx],
        [zero, 1 / fy, -cy / fy],
        [zero, zero, one],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def pixel_grid(height: int, width: int, dtype=jnp.float32) -> Float[Array, "{height} {width} 2"]:
    """(u, v) of every pixel centre."""
    u, v = jnp.meshgrid(jnp.arange(width, dtype=dtype), jnp.arange(height, dtype=dtype))
    return jnp.stack([u, v], axis=-1)


def back_project(
    depth: Float[Array, "*#b h w 1"], K: Float[Array, "*#b 3 3"]
) -> Float[Array, "*b h w 3"]:
    """Points in the camera frame seen at the pixel centres; leading axes broadcast.

    Source: packnet-sfm geometry/camera.py: Camera.reconstruct (frame 'c').
    """
    pixels_uv = pixel_grid(*depth.shape[-3:-1], dtype=depth.dtype)
    homogeneous = jnp.concatenate([pixels_uv, jnp.ones_like(pixels_uv[..., :1])], axis=-1)
    rays = apply_matrix(invert_intrinsics(K)[..., None, None, :, :], homogeneous)
    shape = jnp.broadcast_shapes(rays.shape, depth.shape)
    return scale_vectors(jnp.broadcast_to(rays, shape), jnp.broadcast_to(depth[..., 0], shape[:-1]))


def project(
    points_cam: Float[Array, "*#b h w 3"], K: Float[Array, "*#b 3 3"]
) -> Float[Array, "*b h w 2"]:
    """Pixel coordinates (u, v) of points in the camera frame; leading axes broadcast.

    Z is held above `NEAREST_Z`, so points behind the camera land far outside the image.

    Source: packnet-sfm geometry/camera.py: Camera.project (frame 'c').
    Differs: pixels instead of coordinates normalised to [-1, 1].
    """
    points = apply_matrix(K[..., None, None, :, :], points_cam)
    return scale_vectors(points[..., :2], 1 / at_least(points[..., 2], NEAREST_Z))
