"""Structure from motion, learned: from a batch to predictions to the objective."""

import inspect
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from packnet_jax.batch import Batch
from packnet_jax.config import LossConfig, ModelConfig
from packnet_jax.geometry.transforms import pose_vector_to_transform
from packnet_jax.image import flip_lr, resize_nearest
from packnet_jax.losses.photometric import multi_view_photometric_loss
from packnet_jax.networks import init_depth_net, init_pose_net, make_depth_net, make_pose_net
from packnet_jax.networks.norm import at_least_float32

Variables = dict[str, Any]
ComputeDtype = Literal["float32", "bfloat16"]
"""What a network computes in; "float32" leaves its parameters' own type."""


class Networks(NamedTuple):
    """The two networks that are trained together."""

    depth_net: nn.Module
    """(rgb, train) -> inverse depth pyramid."""
    pose_net: nn.Module
    """(rgb, rgb_context, train) -> translation and Euler angles of context_T_target."""
    compute_dtype: ComputeDtype = "float32"
    """What both compute in while training."""

    @classmethod
    def from_config(cls, model: ModelConfig) -> "Networks":
        """The networks by their names; raises ConfigError for an unknown one."""
        return cls(
            make_depth_net(
                model.depth_net.name,
                model.depth_net.version,
                initial_inv_depth=model.initial_inv_depth,
                dropout=model.depth_net.dropout,
            ),
            make_pose_net(model.pose_net.name, model.pose_net.version),
            model.compute_dtype,
        )

    def init(self, key: Array, image_shape: tuple[int, int], num_context: int) -> Variables:
        """Fresh `params` and `batch_stats`, each with `depth_net` and `pose_net`.

        Pure: run it under `jax.jit` to place the result, under `jax.eval_shape` for shapes alone.
        """
        depth_key, pose_key = jax.random.split(key)
        depth_net = init_depth_net(self.depth_net, depth_key, image_shape)
        pose_net = init_pose_net(self.pose_net, pose_key, image_shape, num_context)
        return {
            collection: {
                "depth_net": depth_net.get(collection, {}),
                "pose_net": pose_net.get(collection, {}),
            }
            for collection in ("params", "batch_stats")
        }


class Predictions(NamedTuple):
    """What the networks say of a batch."""

    inv_depth_pyramid: tuple[Float[Array, "b _h _w 1"], ...]
    context_T_target: Float[Array, "b n 4 4"]
    batch_stats: dict[str, Any]
    """Updated running statistics of both networks."""


class Pictures(NamedTuple):
    """Maps of one sample, for the dashboard; images in [0, 1]."""

    rgb: Float[Array, "h w 3"]
    inv_depth: Float[Array, "h w 1"]
    warped_context: Float[Array, "n h w 3"]
    photometric_error: Float[Array, "h w 1"]
    automask: Float[Array, "h w 1"]


class Objective(NamedTuple):
    """The loss of a batch and what came with it."""

    loss: Float[Array, ""]
    terms: dict[str, Float[Array, ""]]
    batch_stats: dict[str, Any]
    pictures: Pictures


def predict(
    networks: Networks,
    variables: Variables,
    batch: Batch,
    *,
    flip: Bool[Array, ""] | bool,
    dropout_key: PRNGKeyArray | None = None,
) -> Predictions:
    """Runs both networks in training mode.

    Args:
        flip: whether the depth network sees the mirrored image; its output is mirrored back. One
            draw for the batch.
        dropout_key: decides what a depth network with dropout drops; others need none.

    Source: packnet-sfm models/SfmModel.py: SfmModel.forward.
    """
    flip = jnp.asarray(flip)
    mirrored = flip_if(flip, batch.rgb)
    pyramid, depth_stats = apply_network(
        networks, "depth_net", variables, mirrored, key=dropout_key
    )
    pose_vector, pose_stats = apply_network(
        networks, "pose_net", variables, batch.rgb, batch.rgb_context
    )
    return Predictions(
        inv_depth_pyramid=tuple(flip_if(flip, inv_depth) for inv_depth in pyramid),
        context_T_target=pose_vector_to_transform(pose_vector),
        batch_stats={"depth_net": depth_stats, "pose_net": pose_stats},
    )


def self_supervised_objective(
    networks: Networks,
    variables: Variables,
    batch: Batch,
    loss: LossConfig,
    *,
    flip: Bool[Array, ""] | bool,
    progress: Float[Array, ""] | float,
    dropout_key: PRNGKeyArray | None = None,
) -> Objective:
    """Photometric and smoothness loss of one batch.

    Args:
        flip: see `predict`.
        progress: how far training has come, in [0, 1]; only progressive scaling asks.
        dropout_key: see `predict`.

    Source: packnet-sfm models/SelfSupModel.py: SelfSupModel.forward.
    """
    predictions = predict(networks, variables, batch, flip=flip, dropout_key=dropout_key)
    pyramid = predictions.inv_depth_pyramid
    if loss.upsample_depth_maps:
        full_shape = pyramid[0].shape[1:3]
        pyramid = tuple(resize_nearest(inv_depth, full_shape) for inv_depth in pyramid)
    result = multi_view_photometric_loss(
        batch.rgb_original,
        batch.rgb_context_original,
        pyramid,
        batch.intrinsics,
        predictions.context_T_target,
        num_scales=loss.num_scales,
        ssim_loss_weight=loss.ssim_loss_weight,
        smooth_loss_weight=loss.smooth_loss_weight,
        C1=loss.C1,
        C2=loss.C2,
        photometric_reduce_op=loss.photometric_reduce_op,
        clip_loss=loss.clip_loss,
        automask_loss=loss.automask_loss,
        padding_mode=loss.padding_mode,
        progressive_scaling=loss.progressive_scaling,
        progress=progress,
    )
    terms = {
        "loss": result.total,
        "photometric_loss": result.photometric,
        "smoothness_loss": result.smoothness,
    }
    pictures = Pictures(
        rgb=batch.rgb_original[0],
        inv_depth=lax.stop_gradient(pyramid[0][0]),
        warped_context=result.maps.warped[0],
        photometric_error=jnp.mean(result.maps.error[0], -1, keepdims=True),
        automask=jnp.mean(result.maps.automask[0], -1, keepdims=True),
    )
    return Objective(result.total, terms, predictions.batch_stats, pictures)


def infer_inv_depth(
    depth_net: nn.Module,
    variables: Variables,
    rgb: Float[Array, "b h w 3"],
    input_depth: Float[Array, "b h w 1"] | None = None,
    *,
    compute_dtype: ComputeDtype = "float32",
) -> Float[Array, "b h w 1"]:
    """The finest inverse depth in evaluation mode.

    Args:
        input_depth: sparse depth in metres, 0 for none, for networks that take it.
        compute_dtype: with "bfloat16" the network computes in that wherever training would.
    """
    own = {name: collection["depth_net"] for name, collection in variables.items()}
    params, rgb, input_depth = _in_dtype(compute_dtype, (own["params"], rgb, input_depth))
    beside: dict[str, Any] = {} if input_depth is None else {"input_depth": input_depth}
    pyramid: Any = depth_net.apply({**own, "params": params}, rgb, train=False, **beside)
    return at_least_float32(pyramid[0])


def takes_input_depth(depth_net: nn.Module) -> bool:
    """Whether a depth network can be given sparse depth beside the picture."""
    return "input_depth" in inspect.signature(depth_net.__call__).parameters


def apply_network(
    networks: Networks,
    name: str,
    variables: Variables,
    *inputs: Array,
    key: PRNGKeyArray | None = None,
    method: str = "__call__",
) -> tuple[Any, Any]:
    """Output and new running statistics of one network in training mode.

    Args:
        name: 'depth_net' or 'pose_net'.
        key: decides what a network with dropout drops.
        method: of the network, such as 'with_ray_surface'.

    With bfloat16 the network gets rounded copies of its parameters and inputs, so that gradients
    come back in the parameters' own type; its normalisations and last layers compute in float32.
    """
    params, inputs = _in_dtype(networks.compute_dtype, (variables["params"][name], inputs))
    own = {"params": params, "batch_stats": variables["batch_stats"][name]}
    network: nn.Module = getattr(networks, name)
    rngs = {} if key is None else {"dropout": key}
    output, updated = network.apply(
        own, *inputs, train=True, rngs=rngs, mutable=["batch_stats"], method=method
    )
    return output, updated.get("batch_stats", {})


def _in_dtype(compute_dtype: ComputeDtype, tree: Any) -> Any:
    if compute_dtype == "float32":
        return tree
    return jax.tree.map(lambda a: a.astype(jnp.bfloat16), tree)


def flip_if(flip: Bool[Array, ""], image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    return jnp.where(flip, flip_lr(image), image)
