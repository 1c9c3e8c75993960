"""Structure from motion, learned: from a batch to predictions."""

import inspect
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from packnet_jax.batch import Batch
from packnet_jax.config import ComputeDtype, ModelConfig, NetworkKind
from packnet_jax.errors import ConfigError
from packnet_jax.geometry.ray_surface import flip_rays
from packnet_jax.geometry.transforms import pose_vector_to_transform
from packnet_jax.image import flip_lr
from packnet_jax.loss_config import Needs
from packnet_jax.networks import (
    fold,
    has_batch_norm,
    init_depth_net,
    init_pose_net,
    make_depth_net,
    make_pose_net,
)
from packnet_jax.networks.norm import at_least_float32
from packnet_jax.networks.ray_surface_resnet import RaySurfaceResNet

Variables = dict[str, Any]
PICTURES_ALONE = Needs()


class Networks(NamedTuple):
    """The networks that are trained together."""

    depth_net: nn.Module
    """(rgb, train) -> inverse depth pyramid."""
    pose_net: nn.Module | None
    """(rgb, rgb_context, train) -> translation and Euler angles of context_T_target; None where
    nothing is learnt from motion."""
    compute_dtype: ComputeDtype = "float32"
    """What they compute in while training."""

    @classmethod
    def from_config(cls, model: ModelConfig, needs: Needs = PICTURES_ALONE) -> "Networks":
        """The networks by their names; no pose network where the objective needs none.

        Raises:
            ConfigError: unknown names or versions, a depth network that can not do what the
                objective needs, or groups for a batch normalisation that there is not.
        """
        depth_net = make_depth_net(
            model.depth_net.name,
            model.depth_net.version,
            initial_inv_depth=model.initial_inv_depth,
            dropout=model.depth_net.dropout,
            packing=model.packing,
            batch_norm_groups=model.batch_norm_groups,
        )
        if needs.input_depth and not takes_input_depth(depth_net):
            raise ConfigError(
                f"config.model.depth_net.name: given {model.depth_net.name!r}, which takes "
                "pictures alone, but the objective learns from sparse depth beside them; take "
                "PackNetSAN01"
            )
        if needs.ray_surface and not isinstance(depth_net, RaySurfaceResNet):
            raise ConfigError(
                f"config.model.depth_net.name: given {model.depth_net.name!r}, but the objective "
                "learns the camera's rays, too; take RaySurfaceResNet"
            )
        pose_net = None
        if needs.motion:
            pose_net = make_pose_net(
                model.pose_net.name,
                model.pose_net.version,
                batch_norm_groups=model.batch_norm_groups,
            )
        if model.batch_norm_groups > 1 and not any(map(has_batch_norm, (depth_net, pose_net))):
            raise ConfigError(
                f"config.model.batch_norm_groups: given {model.batch_norm_groups}, but neither "
                "network has a batch normalisation (DepthResNet, RaySurfaceResNet, PackNetSAN01 "
                "and PoseResNet have); leave it 1"
            )
        return cls(depth_net, pose_net, model.compute_dtype)

    def init(self, key: Array, image_shape: tuple[int, int], num_context: int) -> Variables:
        """Fresh `params` and `batch_stats`, each with `depth_net` and `pose_net` ({} for none).

        Pure: run it under `jax.jit` to place the result, under `jax.eval_shape` for shapes alone.
        """
        depth_key, pose_key = jax.random.split(key)
        depth_net = init_depth_net(self.depth_net, depth_key, image_shape)
        pose_net: Variables = {}
        if self.pose_net is not None:
            pose_net = init_pose_net(self.pose_net, pose_key, image_shape, num_context)
        return {
            collection: {
                "depth_net": depth_net.get(collection, {}),
                "pose_net": pose_net.get(collection, {}),
            }
            for collection in ("params", "batch_stats")
        }


class Completed(NamedTuple):
    """What sparse depth beside the picture adds."""

    inv_depth_pyramid: tuple[Float[Array, "b _h _w 1"], ...]
    depth_loss: Float[Array, ""]
    """How far its features are from those of the picture alone; see `feature_matching_loss`."""


class Predictions(NamedTuple):
    """What the networks say of a batch."""

    inv_depth_pyramid: tuple[Float[Array, "b _h _w 1"], ...]
    """From the picture alone."""
    context_T_target: Float[Array, "b n 4 4"] | None
    """None without a pose network."""
    batch_stats: dict[str, Any]
    """Updated running statistics of both networks."""
    completed: Completed | None = None
    """None where no sparse depth was asked for."""
    ray_residual: Float[Array, "b h w 3"] | None = None
    """What a ray surface adds to its template, in (-1, 1); the depth is along each pixel's ray."""


def predict(
    networks: Networks,
    variables: Variables,
    batch: Batch,
    *,
    flip: Bool[Array, ""] | bool,
    needs: Needs = PICTURES_ALONE,
    dropout_key: PRNGKeyArray | None = None,
) -> Predictions:
    """Runs the networks in training mode.

    Args:
        flip: whether the depth network sees the mirrored image and sparse depth; its output is
            mirrored back. One draw for the batch.
        needs: with `input_depth` the depth network runs a second time, with the batch's sparse
            depth; with `ray_surface` it says what its camera is, too.
        dropout_key: decides what a depth network with dropout drops; others need none.

    Source: packnet-sfm models/SfmModel.py: SfmModel.forward, models/GenericSfmModel.py.
    Differs: predictions with sparse depth and ray surfaces are mirrored, too; the reference leaves
        the first as they are, and never mirrors for the second.
    """
    flip = jnp.asarray(flip)
    run = partial(_apply, networks, variables=variables)
    mirrored = _flip_if(flip, batch.rgb)
    completed = ray_residual = None
    if needs.input_depth:
        if batch.input_depth is None:
            raise ValueError("the batch holds no sparse depth; open data with input_depth_type")
        inputs = mirrored, _flip_if(flip, batch.input_depth)
        output, depth_stats = run(
            "depth_net", inputs, key=dropout_key, method="with_and_without_depth"
        )
        pyramid = output.inv_depth_pyramid
        mirrored_back = tuple(_flip_if(flip, x) for x in output.inv_depth_pyramid_rgbd)
        completed = Completed(mirrored_back, output.depth_loss)
    elif needs.ray_surface:
        output, depth_stats = run(
            "depth_net", (mirrored,), key=dropout_key, method="with_ray_surface"
        )
        pyramid, residual = output.inv_depth_pyramid, output.ray_surface
        ray_residual = jnp.where(flip, flip_rays(residual), residual)
    else:
        pyramid, depth_stats = run("depth_net", (mirrored,), key=dropout_key)
    motion, pose_stats = None, {}
    if networks.pose_net is not None:
        pose_vector, pose_stats = run("pose_net", (batch.rgb, batch.rgb_context))
        motion = pose_vector_to_transform(pose_vector)
    return Predictions(
        inv_depth_pyramid=tuple(_flip_if(flip, inv_depth) for inv_depth in pyramid),
        context_T_target=motion,
        batch_stats={"depth_net": depth_stats, "pose_net": pose_stats},
        completed=completed,
        ray_residual=ray_residual,
    )


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
    own = variables_of_depth_net(variables)
    params, rgb, input_depth = _in_dtype(compute_dtype, (own["params"], rgb, input_depth))
    beside: dict[str, Any] = {} if input_depth is None else {"input_depth": input_depth}
    pyramid: Any = depth_net.apply({**own, "params": params}, rgb, train=False, **beside)
    return at_least_float32(pyramid[0])


def infer_with_ray_residual(
    depth_net: nn.Module,
    variables: Variables,
    rgb: Float[Array, "b h w 3"],
    *,
    compute_dtype: ComputeDtype = "float32",
) -> tuple[Float[Array, "b h w 1"], Float[Array, "b h w 3"]]:
    """The finest inverse depth and the ray surface's residual in evaluation mode.

    Args:
        compute_dtype: see `infer_inv_depth`.
    """
    own = variables_of_depth_net(variables)
    params, rgb = _in_dtype(compute_dtype, (own["params"], rgb))
    output: Any = depth_net.apply(
        {**own, "params": params}, rgb, train=False, method="with_ray_surface"
    )
    return at_least_float32(output.inv_depth_pyramid[0]), at_least_float32(output.ray_surface)


def fold_for_evaluation(
    depth_net: nn.Module, variables: Variables, *, compute_dtype: ComputeDtype = "float32"
) -> Variables:
    """The depth network's variables alone, which give the same depth faster; see `networks.fold`.

    Args:
        variables: with or without the pose network's.
        compute_dtype: with "bfloat16" weights are rounded here, once, instead of for each image.
    """
    own = fold(depth_net, variables_of_depth_net(variables))
    weights = {name: own[name] for name in ("params", "composed") if name in own}
    own |= _in_dtype(compute_dtype, weights)
    return {name: {"depth_net": collection} for name, collection in own.items()}


def variables_of_depth_net(variables: Variables) -> Variables:
    """The depth network's own `params` and further collections, as it takes them."""
    return {name: collection["depth_net"] for name, collection in variables.items()}


def takes_input_depth(depth_net: nn.Module) -> bool:
    """Whether a depth network can be given sparse depth beside the picture."""
    return "input_depth" in inspect.signature(depth_net.__call__).parameters


def _apply(
    networks: Networks,
    name: NetworkKind,
    inputs: tuple[Array, ...],
    *,
    variables: Variables,
    key: PRNGKeyArray | None = None,
    method: str = "__call__",
) -> tuple[Any, Any]:
    """Output and new running statistics of one network in training mode.

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


def _flip_if(flip: Bool[Array, ""], image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    return jnp.where(flip, flip_lr(image), image)
