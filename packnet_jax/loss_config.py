"""What is learnt: the objective's name, the fields of all objectives, and what each asks for."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from packnet_jax.typed_config import within

ObjectiveName = Literal[
    "self_supervised",
    "velocity",
    "semi_supervised",
    "reprojected",
    "completion",
    "ray_surface",
]
SupervisedMethod = Literal[
    "sparse-l1",
    "sparse-mse",
    "sparse-berhu",
    "sparse-silog",
    "sparse-abs_rel",
    "l1",
    "mse",
    "berhu",
    "silog",
    "abs_rel",
]


@dataclass(frozen=True)
class LossConfig:
    """The objectives' settings, under the original's names where it has them, and its defaults."""

    num_scales: int = within(4, 1, 4)
    progressive_scaling: float = within(0.0, 0, 1)
    flip_lr_prob: float = within(0.5, 0, 1)
    upsample_depth_maps: bool = True
    ssim_loss_weight: float = within(0.85, 0, 1)
    smooth_loss_weight: float = within(0.001, 0)
    C1: float = within(1e-4, 1e-9)
    C2: float = within(9e-4, 1e-9)
    """SSIM's constants; without them, a picture that is constant somewhere has no value."""
    photometric_reduce_op: Literal["min", "mean"] = "min"
    clip_loss: float = within(0.0, 0)
    padding_mode: Literal["zeros", "border", "reflection"] = "zeros"
    automask_loss: bool = True

    velocity_loss_weight: float = within(0.1, 0)
    """velocity: of the difference in metres travelled; users whose scale takes over lower it."""

    supervised_method: SupervisedMethod = "sparse-l1"
    """semi_supervised, completion: how inverse depths are compared."""
    supervised_num_scales: int = within(4, 1, 4)
    supervised_loss_weight: float = within(0.9, 0, 1)
    """semi_supervised, completion: w in (1 - w) self-supervised + w supervised; 1 trains without
    any motion, and no pose network is built."""

    reprojected_loss_weight: float = within(0.1, 0)
    """reprojected: of the distance in pixels, beside the whole self-supervised loss."""
    reprojected_updates_pose: bool = False
    """reprojected: whether the motion learns from that distance, too, as the patent says. The
    distance is 0 where nothing moves: in our runs the pose network then stopped moving
    (`docs/results.md`), so it learns from the pictures alone by default."""

    supervision_starts: float = within(0.0, 0, 1)
    """semi_supervised, reprojected: the share of the training after which measured depth joins;
    until then the loss is the self-supervised one. The reprojected distance says nothing while the
    pose network has not learnt to move."""

    weight_rgbd: float = within(1.0, 0)
    """completion: of the supervised loss with input depth, beside that from the picture alone."""
    completion_starts: float = within(0.0, 0, 1)
    """completion: the share of the training after which input depth joins; until then depth is
    learnt from the picture alone. The paper: 30 of 50 epochs; the released code: 0."""
    freeze_rgb_encoder: bool = False
    """completion: from `completion_starts` on the picture's encoder keeps its weights, as in the
    paper and unlike the released code."""

    ray_template: str = ""
    """ray_surface: file of the rays to start from (see `python -m packnet_jax.ray_template`); ""
    for the data set's own or, where it has none, a pinhole's of 90 degrees."""
    ray_residual_schedule: Literal["released", "paper"] = "released"
    """ray_surface: how what the network adds to the template comes in."""
    ray_start_temperature: float = within(1e-4, 0)
    """ray_surface: of the softmax that projects, at the start of training; 0 for one that fits the
    template. The defaults are the released code's, for pictures of 384x384."""
    ray_end_temperature: float = within(9.0483742e-5, 0)
    """The same at its end."""
    ray_half_resolution: bool = True
    """ray_surface: whether every other row and column of rays is searched, as the released code
    does."""


class Needs(NamedTuple):
    """What an objective asks of networks and data."""

    motion: bool = True
    """A pose network and context pictures."""
    pose: bool = False
    """Measured camera motion."""
    depth: bool = False
    """Measured depth."""
    input_depth: bool = False
    """Sparse depth beside the picture, and a depth network that takes it."""
    ray_surface: bool = False
    """A depth network that says where each pixel looks, and a template for that."""


def needs_of(objective: ObjectiveName, loss: LossConfig) -> Needs:
    """What training with this objective asks for."""
    by_motion = loss.supervised_loss_weight < 1
    match objective:
        case "self_supervised":
            return Needs()
        case "velocity":
            return Needs(pose=True)
        case "semi_supervised":
            return Needs(motion=by_motion, depth=True)
        case "reprojected":
            return Needs(depth=True)
        case "completion":
            return Needs(motion=by_motion, depth=True, input_depth=True)
        case "ray_surface":
            return Needs(ray_surface=True)
