"""Residual encoders that start as torchvision's ImageNet classifiers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from packnet_jax.config import ModelConfig
from packnet_jax.convert.rules import TORCHVISION_RESNET
from packnet_jax.convert.state_dict import from_state_dict
from packnet_jax.convert.torch_file import read_torch_file
from packnet_jax.errors import CheckpointError

FIRST_CONVOLUTION = "conv1.weight"
RGB_CHANNELS = 3


def with_imagenet_encoders(variables: Mapping[str, Any], model: ModelConfig) -> dict[str, Any]:
    """The variables of both networks, with each encoder that the configuration gives a file for.

    Args:
      variables: `params` and `batch_stats`, each with `depth_net` and `pose_net`: arrays or, from
        `jax.eval_shape`, their shapes, which is how a file is checked before anything is computed.

    Raises:
      CheckpointError: a file can not be read, or is of another network.
    """
    started = {collection: dict(networks) for collection, networks in variables.items()}
    for name in ("depth_net", "pose_net"):
        path = getattr(model, name).imagenet_weights
        if not path:
            continue
        template = {c: {"encoder": networks[name]["encoder"]} for c, networks in started.items()}
        try:
            encoder = imagenet_encoder(template, read_torch_file(Path(path).expanduser()))
        except CheckpointError as error:
            raise CheckpointError(
                f"config.model.{name}.imagenet_weights={path}: {error}"
            ) from error
        for collection, networks in started.items():
            networks[name] = {**networks[name], **encoder[collection]}
    return started


def imagenet_encoder(template: Mapping[str, Any], tensors: Any) -> dict[str, Any]:
    """The variables of one encoder from torchvision's ResNet; its image classifier `fc` is unused.

    An encoder of n stacked images gets the first convolution's weights n times, each divided by n:
    n equal images then give the features of one.

    Args:
      template: `params` and `batch_stats`, each with `encoder` alone; arrays or their shapes.
      tensors: the contents of the .pth file.

    Raises:
      CheckpointError: the tensors are not those of this depth of ResNet.

    Source: packnet-sfm networks/layers/resnet/resnet_encoder.py: resnet_multiimage_input.
    """
    if not isinstance(tensors, dict) or not all(
        isinstance(tensor, np.ndarray) for tensor in tensors.values()
    ):
        raise CheckpointError("expected torchvision's state dict, which holds tensors alone")
    num_images = template["params"]["encoder"]["conv1"]["kernel"].shape[2] // RGB_CHANNELS
    weights = tensors.get(FIRST_CONVOLUTION)
    if weights is not None and weights.ndim == 4:  # anything else is an error below
        repeated = np.concatenate([weights] * num_images, axis=1) / num_images
        tensors = {**tensors, FIRST_CONVOLUTION: repeated}
    return from_state_dict(tensors, TORCHVISION_RESNET, template)
