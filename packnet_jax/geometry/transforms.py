"""Rigid transforms: Euler angles, pose vectors, inversion, application to points."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def euler_to_matrix(angles: Float[Array, "*b 3"]) -> Float[Array, "*b 3 3"]:
    """Rotation matrix Rx(x) Ry(y) Rz(z) of angles in radians.

    Source: packnet-sfm geometry/pose_utils.py: euler2mat.
    """
    sx, sy, sz = jnp.moveaxis(jnp.sin(angles), -1, 0)
    cx, cy, cz = jnp.moveaxis(jnp.cos(angles), -1, 0)
    rows = [
        [cy * cz, -cy * sz, sy],
        [cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy],
        [sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def make_transform(
    rotation: Float[Array, "*b 3 3"], translation: Float[Array, "*b 3"]
) -> Float[Array, "*b 4 4"]:
    """The matrix that rotates, then translates."""
    top = jnp.concatenate([rotation, translation[..., None]], axis=-1)
    bottom = jnp.broadcast_to(jnp.array([0, 0, 0, 1], top.dtype), (*top.shape[:-2], 1, 4))
    return jnp.concatenate([top, bottom], axis=-2)


def pose_vector_to_transform(vector: Float[Array, "*b 6"]) -> Float[Array, "*b 4 4"]:
    """Transform of (translation in metres, Euler angles in radians), as pose networks predict it.

    Source: packnet-sfm geometry/pose_utils.py: pose_vec2mat.
    """
    return make_transform(euler_to_matrix(vector[..., 3:]), vector[..., :3])


def invert_transform(a_T_b: Float[Array, "*b 4 4"]) -> Float[Array, "*b 4 4"]:
    """b_T_a, taking the upper left block to be a rotation: (R^T, -R^T t).

    Source: packnet-sfm geometry/pose_utils.py: invert_pose.
    """
    rotation = jnp.swapaxes(a_T_b[..., :3, :3], -1, -2)
    return make_transform(rotation, -apply_matrix(rotation, a_T_b[..., :3, 3]))


def compose_transforms(
    a_T_b: Float[Array, "*#b 4 4"], b_T_c: Float[Array, "*#b 4 4"]
) -> Float[Array, "*b 4 4"]:
    """a_T_c: first from c to b, then from b to a; leading axes broadcast.

    Source: packnet-sfm geometry/pose.py: Pose.__matmul__.
    """
    columns = apply_matrix(a_T_b[..., None, :, :], jnp.swapaxes(b_T_c, -1, -2))
    return jnp.swapaxes(columns, -1, -2)


def transform_points(
    a_T_b: Float[Array, "*#b 4 4"], points: Float[Array, "*#b h w 3"]
) -> Float[Array, "*b h w 3"]:
    """Maps of points expressed in b, expressed in a; leading axes broadcast.

    Source: packnet-sfm geometry/pose.py: Pose.transform_points.
    """
    batch = jnp.broadcast_shapes(a_T_b.shape[:-2], points.shape[:-3])
    points = jnp.broadcast_to(points, batch + points.shape[-3:])  # gradients add up here, once
    a_T_b = a_T_b[..., None, None, :, :]
    return apply_matrix(a_T_b[..., :3, :3], points) + a_T_b[..., :3, 3]


def apply_matrix(
    matrix: Float[Array, "*#b i j"], vector: Float[Array, "*#b j"]
) -> Float[Array, "*b i"]:
    """Matrix times vector in full precision on every device; leading axes broadcast.

    One sum for each element of the result: on CPU its gradient takes half the time of a sum of
    scaled columns, and both fuse into their surroundings, unlike a product of matrices.
    """
    rows, columns = (range(size) for size in matrix.shape[-2:])
    return jnp.stack(
        [
            functools.reduce(jnp.add, [matrix[..., i, j] * vector[..., j] for j in columns])
            for i in rows
        ],
        axis=-1,
    )


@jax.custom_jvp
def scale_vectors(
    vectors: Float[Array, "*b n"], factors: Float[Array, "*b"]
) -> Float[Array, "*b n"]:
    """Each vector times its own factor.

    The gradient by the factors adds the few products element by element: left to jax it is a sum
    over the last axis, on which XLA's CPU backend spends eight times as long.
    """
    return vectors * factors[..., None]


@scale_vectors.defjvp
def _scale_vectors_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (vectors, factors), (d_vectors, d_factors) = primals, tangents
    by_factors = [element * d_factors for element in jnp.unstack(vectors, axis=-1)]
    tangent = d_vectors * factors[..., None] + jnp.stack(by_factors, axis=-1)
    return scale_vectors(vectors, factors), tangent
