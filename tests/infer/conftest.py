"""What inference is given instead of a trained network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import pytest
import tiny
from golden.models import seeded_variables
from known_depth import RedChannelIsInverseDepth

from packnet_jax import config as config_lib
from packnet_jax.checkpointer import Checkpointer
from packnet_jax.infer import run
from packnet_jax.trained import TrainedNetwork


@pytest.fixture
def answer_with(monkeypatch):
    """Puts another network into every checkpoint: that which is asked for, or red channels."""

    def choose(
        network: nn.Module,
        shape: tuple[int, int] = tiny.SHAPE,
        *,
        unsaid: tuple[str, ...] = (),
        folder: Path = Path("made"),
        fields: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> None:
        raw = config_lib.default()
        raw.data.root, raw.data.image_shape = "nowhere", shape
        raw.update_from_flattened_dict(fields or {})
        variables = {"params": {"depth_net": params}, "batch_stats": {"depth_net": {}}}
        trained = TrainedNetwork(network, variables, config_lib.resolve(raw), 7, folder, unsaid)
        monkeypatch.setattr(run, "load_depth_network", lambda _: trained)

    choose(RedChannelIsInverseDepth())
    return choose


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A run's workdir with one checkpoint: DepthResNet18 and PoseNet with seeded weights."""
    raw = config_lib.default()
    raw.data.root, raw.data.image_shape = "nowhere", tiny.SHAPE
    raw.model.pose_net.name, raw.model.pose_net.version = "PoseNet", ""
    config = config_lib.resolve(raw)
    workdir = tmp_path_factory.mktemp("trained")
    with Checkpointer(workdir, keep_latest=1, keep_best=0, monitor="depth/abs_rel") as saved:
        saved.save(
            3,
            variables=seeded_variables(config.model, tiny.SHAPE),
            training={"step": jnp.asarray(3)},
            config=config_lib.to_json_dict(config),
        )
    return workdir
