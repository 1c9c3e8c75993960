"""Residual encoders that start as torchvision's ImageNet classifiers, or as monodepth2's encoders.

monodepth2 stores such an encoder (`encoder.pth`, `pose_encoder.pth`) with one more level of names,
and beside the tensors the size of its pictures and whether it had learnt from stereo.
"""

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
MONODEPTH2_PREFIX = "encoder."
MONODEPTH2_NOTES = ("height", "width", "use_stereo")


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
        if not path or not variables["params"][name]:
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


def imagenet_encoder(template: Mapping[str, Any], content: Any) -> dict[str, Any]:
    """The variables of one encoder from a ResNet; its image classifier `fc` is unused.

    An encoder of n stacked images gets a first convolution for one image n times, each divided by
    n: n equal images then give the features of one. Of monodepth2's, those for pairs of images have
    one for two already.

    Args:
      template: `params` and `batch_stats`, each with `encoder` alone; arrays or their shapes.
      content: of torchvision's .pth file or monodepth2's.

    Raises:
      CheckpointError: the tensors are not those of this depth of ResNet.

    Source: packnet-sfm networks/layers/resnet/resnet_encoder.py: resnet_multiimage_input.
    """
    tensors = _tensors(content)
    num_images = template["params"]["encoder"]["conv1"]["kernel"].shape[2] // RGB_CHANNELS
    weights = tensors.get(FIRST_CONVOLUTION)
    if weights is not None and weights.ndim == 4 and weights.shape[1] == RGB_CHANNELS:
        repeated = np.concatenate([weights] * num_images, axis=1) / num_images
        tensors = {**tensors, FIRST_CONVOLUTION: repeated}
    return from_state_dict(tensors, TORCHVISION_RESNET, template)


def _tensors(content: Any) -> dict[str, np.ndarray]:
    """The state dict in a file, under torchvision's names."""
    if isinstance(content, dict):
        tensors = {name: part for name, part in content.items() if name not in MONODEPTH2_NOTES}
        if tensors and all(
            isinstance(name, str) and isinstance(tensor, np.ndarray)
            for name, tensor in tensors.items()
        ):
            if all(name.startswith(MONODEPTH2_PREFIX) for name in tensors):
                return {name.removeprefix(MONODEPTH2_PREFIX): t for name, t in tensors.items()}
            return tensors
    raise CheckpointError(
        "expected the state dict of torchvision's ResNet or of monodepth2's encoder, which holds "
        "tensors alone"
    )
