"""Depth and pose networks, chosen by name and version.

Depth networks map `rgb` [B,H,W,3] in [0, 1] to four inverse depth maps, finest first; what some of
them can do besides, is a method of theirs: `PackNetSAN.with_and_without_depth`,
`RaySurfaceResNet.with_ray_surface`. Pose networks map a target and its context images to one motion
`context_T_target` per context image.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from packnet_jax.errors import ConfigError
from packnet_jax.networks.depth_resnet import DepthResNet
from packnet_jax.networks.folding import fold
from packnet_jax.networks.packing import Packing
from packnet_jax.networks.packnet import PackNet
from packnet_jax.networks.packnet_san import PackNetSAN
from packnet_jax.networks.pose_net import PoseNet
from packnet_jax.networks.pose_resnet import PoseResNet
from packnet_jax.networks.ray_surface_resnet import RaySurfaceResNet

__all__ = [
    "DEPTH_NETS",
    "POSE_NETS",
    "Packing",
    "fold",
    "has_batch_norm",
    "init_depth_net",
    "init_pose_net",
    "make_depth_net",
    "make_pose_net",
]

Constructors = Mapping[str, Mapping[str, Callable[[], nn.Module]]]


def _resnets(network: Callable[..., nn.Module]) -> Mapping[str, Callable[[], nn.Module]]:
    """Three depths; "18pt" is the network "18", whose encoder starts from ImageNet weights."""
    depths = (18, 34, 50)
    return {f"{d}{suffix}": partial(network, depth=d) for suffix in ("", "pt") for d in depths}


def _packnets(**parameters: Any) -> Mapping[str, Callable[[], nn.Module]]:
    return {
        "1A": partial(PackNet, skip="concat", **parameters),
        "1B": partial(PackNet, skip="add", **parameters),
    }


DEPTH_NETS: Constructors = {
    "DepthResNet": _resnets(DepthResNet),
    "PackNet01": _packnets(),
    "PackNetSAN01": {"1A": PackNetSAN},
    "PackNetSlim01": _packnets(widths=(32, 64, 128, 256, 512), num_3d_features=4),
    "RaySurfaceResNet": _resnets(RaySurfaceResNet),
}
"""Depth networks: name, then version.

Differs: the original's PackNetSlim01 1B stops with an error, since it adds 64 features to 32 at one
level; here the unpacked features always have the width of the skip connection they are added to.
The original lists PackNetSAN01 1B, which can not run for the same reason; here there is none.
"""

POSE_NETS: Constructors = {
    "PoseNet": {"": PoseNet},
    "PoseResNet": _resnets(PoseResNet),
}
"""Pose networks: name, then version.

Differs: the original lists PoseResNet 34 and refuses to build it.
"""


def make_depth_net(
    name: str,
    version: str,
    *,
    initial_inv_depth: float = 0.0,
    dropout: float = 0.0,
    packing: Packing = "fused",
    batch_norm_groups: int = 1,
) -> nn.Module:
    """The depth network of that name and version, as `DEPTH_NETS` lists them.

    Args:
      initial_inv_depth: the inverse depth that fresh weights start near; 0 for the original's.
      dropout: share of channels that training drops from the residual shortcuts, in [0, 1).
      packing: how packing blocks compute; see `packing.Pack`. Without effect on other networks.
      batch_norm_groups: see `norm.BatchNorm.groups`. Without effect on networks that have none.

    Raises:
      ConfigError: unknown name or version, an inverse depth that it can not have, or dropout in a
        network without.

    Differs: the original passes over dropout that a network does not have.
    """
    network: Any = _make("depth", DEPTH_NETS, name, version)
    low, high = network.inv_depth_range
    if initial_inv_depth and not low < initial_inv_depth < high:
        raise ConfigError(
            f"config.model.initial_inv_depth: given {initial_inv_depth}, but {name} predicts "
            f"between {low} and {high}; choose a value well inside, or 0 for the original's start"
        )
    network = network.clone(initial_inv_depth=initial_inv_depth)
    network = _with_groups(network, batch_norm_groups)
    if isinstance(network, PackNet):
        return network.clone(dropout=dropout, packing=packing)
    if dropout:
        raise ConfigError(
            f"config.model.depth_net.dropout: given {dropout}, but {name} has no dropout; leave it "
            "0, or take a PackNet"
        )
    return network


def make_pose_net(name: str, version: str, *, batch_norm_groups: int = 1) -> nn.Module:
    """The pose network of that name and version, as `POSE_NETS` lists them.

    Args:
      batch_norm_groups: as for `make_depth_net`.

    Raises:
      ConfigError: unknown name or version.
    """
    return _with_groups(_make("pose", POSE_NETS, name, version), batch_norm_groups)


def has_batch_norm(network: nn.Module | None) -> bool:
    """Whether samples of a batch are normalised together while it is trained."""
    return hasattr(network, "batch_norm_groups")


def _with_groups(network: nn.Module, batch_norm_groups: int) -> nn.Module:
    if not has_batch_norm(network):
        return network
    return network.clone(batch_norm_groups=batch_norm_groups)


def init_depth_net(network: nn.Module, key: Array, image_shape: tuple[int, int]) -> dict[str, Any]:
    """Fresh `params` and, where the network has them, `batch_stats`; pure."""
    return dict(network.init(key, jnp.zeros((1, *image_shape, 3)), train=False))


def init_pose_net(
    network: nn.Module, key: Array, image_shape: tuple[int, int], num_context: int
) -> dict[str, Any]:
    """Fresh `params` and, where the network has them, `batch_stats`; pure."""
    rgb, rgb_context = jnp.zeros((1, *image_shape, 3)), jnp.zeros((1, num_context, *image_shape, 3))
    return dict(network.init(key, rgb, rgb_context, train=False))


def _make(kind: str, constructors: Constructors, name: str, version: str) -> nn.Module:
    if name not in constructors:
        raise ConfigError(
            f"unknown {kind} network {name!r}; expected one of {', '.join(constructors)}"
        )
    versions = constructors[name]
    if version not in versions:
        raise ConfigError(
            f"unknown version {version!r} of {name}; expected one of "
            f"{', '.join(repr(v) for v in versions)}"
        )
    return versions[version]()
