"""The reprojected distance: how far a wrong depth moves a pixel in the context images."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from packnet_jax.depth_maps import inv_depth_to_depth
from packnet_jax.geometry.pinhole import NEAREST_Z, back_project, project, scale_intrinsics
from packnet_jax.geometry.transforms import transform_points
from packnet_jax.image import resize_nearest
from packnet_jax.losses.safe import norm
from packnet_jax.losses.supervised import weighted_mean


def reprojected_distance_loss(
    inv_depth_pyramid: Sequence[Float[Array, "b _ _ 1"]],
    measured_depth: Float[Array, "b h w 1"],
    K: Float[Array, "b 3 3"],
    context_T_target: Float[Array, "b n 4 4"],
    *,
    num_scales: int = 4,
    update_pose: bool = True,
) -> Float[Array, ""]:
    """Mean distance, in pixels, between where predicted and measured depth project to.

    For each measured pixel p with depth d(p) and prediction d^(p), and each context c,

        p*_c = pi(K (R d(p)  K^-1 p + t)),    p^_c = pi(K (R d^(p) K^-1 p + t)),

    the loss is the mean of |p^_c - p*_c| over measurements, contexts and scales. The same motion
    moves both, so a wrong depth counts by what it does to the photometric comparison: by inverse
    depth rather than depth, more where the motion is large, and not at all where the motion points.

    A measurement is left out in a context whose picture does not show p*_c, or for which either
    point is not in front of the camera. Whether p^_c is in the picture does not matter: else a
    prediction could escape the loss by leaving it.

    Args:
        inv_depth_pyramid: Predictions for the target, finest first, of any sizes.
        measured_depth: In metres, 0 where nothing was measured; it comes to each scale by picking
            pixels.
        K: Intrinsics of target and contexts at the size of `measured_depth`; at other scales both
            of its rows follow the width.
        context_T_target: Motion from the target to each context camera, in metres.
        num_scales: How many scales count, from the finest.
        update_pose: Whether the motion learns from this loss, too.

    Source: Guizilini et al., CoRL 2019 ("Robust Semi-Supervised Monocular Depth Estimation with
        Reprojected Distances"). The code was never released and the paper's full text was not at
        hand: the formula is the one that three independent implementations and US patent
        11,138,751 agree on.
    Differs: not known. The paper's weight of this loss, its reduction over contexts and its
        treatment of points outside the picture were not to be found.
    """
    if len(inv_depth_pyramid) < num_scales:
        raise ValueError(
            f"num_scales is {num_scales}, but only {len(inv_depth_pyramid)} inverse depths came"
        )
    if not update_pose:
        context_T_target = lax.stop_gradient(context_T_target)
    full_width = measured_depth.shape[2]
    losses = []
    for inv_depth in inv_depth_pyramid[:num_scales]:
        height, width = inv_depth.shape[1:3]
        measured = resize_nearest(measured_depth, (height, width))
        scaled_K = scale_intrinsics(K, width / full_width, width / full_width)
        distance, counts = reprojected_distance(
            inv_depth_to_depth(inv_depth), measured, scaled_K, context_T_target
        )
        losses.append(weighted_mean(distance, counts.astype(distance.dtype)))
    return jnp.mean(jnp.stack(losses))


def reprojected_distance(
    predicted_depth: Float[Array, "b h w 1"],
    measured_depth: Float[Array, "b h w 1"],
    K: Float[Array, "b 3 3"],
    context_T_target: Float[Array, "b n 4 4"],
) -> tuple[Float[Array, "b n h w"], Bool[Array, "b n h w"]]:
    """|p^_c - p*_c| in pixels, and where it counts; see `reprojected_distance_loss`."""
    K = K[:, None]

    def land(depth: Array) -> tuple[Array, Array]:
        """Pixels in the contexts, and depths there."""
        points = transform_points(context_T_target, back_project(depth[:, None], K))
        return project(points, K), points[..., 2]

    predicted_uv, predicted_z = land(predicted_depth)
    measured_uv, measured_z = land(measured_depth)
    height, width = measured_depth.shape[1:3]
    last = jnp.array([width - 1, height - 1], measured_uv.dtype)
    in_view = jnp.all((measured_uv >= 0) & (measured_uv <= last), axis=-1)
    in_front = (predicted_z > NEAREST_Z) & (measured_z > NEAREST_Z)
    counts = (measured_depth[:, None, ..., 0] > 0) & in_view & in_front
    # Pixels that do not count may land anywhere: their difference must not meet the gradient.
    difference = jnp.where(counts[..., None], predicted_uv - measured_uv, 0.0)
    return norm(difference), lax.stop_gradient(counts)
