"""Depth and pose networks, chosen by name and version.

Depth networks map `rgb` [B,H,W,3] in [0, 1] to four inverse depth maps, finest first. Pose
networks map a target and its context images to one motion `context_T_target` per context image.
"""

from collections.abc import Callable, Mapping
from functools import partial

from flax import linen as nn

from packnet_jax.errors import ConfigError
from packnet_jax.networks.depth_resnet import DepthResNet
from packnet_jax.networks.packnet import PackNet
from packnet_jax.networks.pose_net import PoseNet
from packnet_jax.networks.pose_resnet import PoseResNet

Constructors = Mapping[str, Mapping[str, Callable[[], nn.Module]]]

DEPTH_NETS: Constructors = {
    "DepthResNet": {str(depth): partial(DepthResNet, depth=depth) for depth in (18, 34, 50)},
    "PackNet01": {"1A": partial(PackNet, skip="concat"), "1B": partial(PackNet, skip="add")},
}
"""Depth networks: name, then version."""

POSE_NETS: Constructors = {
    "PoseNet": {"": PoseNet},
    "PoseResNet": {str(depth): partial(PoseResNet, depth=depth) for depth in (18, 50)},
}
"""Pose networks: name, then version."""


def make_depth_net(name: str, version: str) -> nn.Module:
    """The depth network of that name and version, as `DEPTH_NETS` lists them.

    Raises:
      ConfigError: unknown name or version.
    """
    return _make("depth", DEPTH_NETS, name, version)


def make_pose_net(name: str, version: str) -> nn.Module:
    """The pose network of that name and version, as `POSE_NETS` lists them.

    Raises:
      ConfigError: unknown name or version.
    """
    return _make("pose", POSE_NETS, name, version)


def _make(kind: str, constructors: Constructors, name: str, version: str) -> nn.Module:
    if name not in constructors:
        raise ConfigError(
            f"unknown {kind} network {name!r}; expected one of {', '.join(constructors)}"
        )
    versions = constructors[name]
    if version.removesuffix("pt") in versions and version.endswith("pt"):
        raise ConfigError(
            f"{name} version {version!r} asks for ImageNet weights, which can not be loaded yet; "
            f"use {version.removesuffix('pt')!r}: reading them from a .pth file comes with a later "
            "version"
        )
    if version not in versions:
        raise ConfigError(
            f"unknown version {version!r} of {name}; expected one of "
            f"{', '.join(repr(v) for v in versions)}"
        )
    return versions[version]()
