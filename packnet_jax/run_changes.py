"""What differs between a run's configuration and the one it is started with again."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging
from flax.traverse_util import flatten_dict

from packnet_jax import config as config_lib
from packnet_jax.config import Config
from packnet_jax.errors import ConfigError

BINDING = (
    "objective",
    "model.depth_net.name",
    "model.depth_net.version",
    "model.pose_net.name",
    "model.pose_net.version",
    "optim.depth.weight_decay",
    "optim.pose.weight_decay",
    "data.name",
    "data.image_shape",
    "data.crop_train_borders",
    "data.back_context",
    "data.forward_context",
    "data.strides",
    "data.input_depth_type",
    "data.frames.intrinsics",
    "data.synthetic.camera",
    "data.synthetic.focal_ratio",
    "loss.supervised_method",
    "loss.ray_template",
    "loss.ray_residual_schedule",
)
"""Fields that shape the parameters and the optimiser's state, or say what they mean: what is
predicted, in which unit, through which camera, and from what."""


class Change(NamedTuple):
    """One field that was given another value."""

    field: str
    before: Any
    after: Any

    @property
    def is_binding(self) -> bool:
        """Whether parameters would get another shape or meaning."""
        return self.field in BINDING

    def __str__(self) -> str:
        return f"config.{self.field}: {self.before!r} there, {self.after!r} given"


def changes_between(earlier: dict[str, Any], config: Config) -> list[Change]:
    """The fields that differ, in the configuration's order.

    Args:
        earlier: what the run was trained with, as `to_json_dict` gave it; a field that it lacks had
            its default.
    """
    defaults, now = (json.loads(json.dumps(config_lib.to_json_dict(c))) for c in (Config(), config))
    before = flatten_dict(defaults, sep=".") | flatten_dict(earlier, sep=".")
    after = flatten_dict(now, sep=".")
    return [Change(k, before.get(k), after[k]) for k in after if after[k] != before.get(k)]


def check_changes(
    workdir: Path, earlier: dict[str, Any], config: Config, *, allow_changes: bool
) -> None:
    """Names what has changed since the run in the workdir was trained.

    Raises:
        ConfigError: parameters would get another shape or meaning, and that is not allowed.
    """
    changes = changes_between(earlier, config)
    binding = [change for change in changes if change.is_binding]
    if binding and not allow_changes:
        listed = "\n  ".join(map(str, binding))
        others = "".join(f"\n  {change}" for change in changes if not change.is_binding)
        raise ConfigError(
            f"--workdir: {workdir} holds a run with another configuration, in which parameters "
            f"have another shape or meaning:\n  {listed}\n"
            + (f"Also changed, which alone would do no harm:{others}\n" if others else "")
            + "Choose another workdir (--config.init.model=DIR starts from this run's weights), "
            "or go on nevertheless with --allow_changes"
        )
    for change in changes:
        logging.warning(
            "Resuming with config.%s = %r (was %r)", change.field, change.after, change.before
        )
