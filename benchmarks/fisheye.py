"""Learns depth from fisheye pictures by ray surfaces and by a pinhole; prints rows of a table.

    python -m benchmarks.fisheye --steps=600

Both depth networks see the same frames of rendered streets through a lens of 180 degrees, as often,
with the same rates and seed; neither sees depth. The pinhole camera is the one that comes closest
(least squares over the pixels less than 60 degrees off the axis). Depth of streets not seen in
training is compared along each pixel's ray: the pinhole camera's is z |K^-1 (u, v, 1)|. A row that
is there already is not trained again.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging
from jaxtyping import Float

from configs import demo
from packnet_jax import config as config_lib
from packnet_jax.checkpoint import has_checkpoint
from packnet_jax.config import Config
from packnet_jax.data.examples import EvalExample
from packnet_jax.data.open import open_evaluations
from packnet_jax.depth_maps import inv_depth_to_depth
from packnet_jax.depth_pair import predict_pair
from packnet_jax.geometry.pinhole import back_project
from packnet_jax.metrics.depth import METRIC_NAMES, depth_metrics
from packnet_jax.runs import train_run
from packnet_jax.trained import TrainedNetwork, load_depth_network

OUTPUT = flags.DEFINE_string("output", "runs/fisheye", "Folder of the workdirs.")
STEPS = flags.DEFINE_integer("steps", 600, "Of every row.")
SIZE = flags.DEFINE_integer("size", 96, "Height and width of the pictures; a multiple of 32.")
SEED = flags.DEFINE_integer("seed", 42, "Of every row.")
TFDS_DIR = flags.DEFINE_string("tfds_dir", "tfds", "Where rendered streets live.")
INIT_POSE = flags.DEFINE_string("init_pose", "", "Workdir whose pose network both start from.")


def make_config() -> Any:
    """What all rows have in common."""
    c = demo.get_config()
    c.seed = SEED.value
    c.init.pose_net = INIT_POSE.value
    c.optim.depth.warmup_steps = STEPS.value // 10
    c.optim.scheduler = "StepLR"
    c.data.tfds_dir = TFDS_DIR.value
    c.data.image_shape = (SIZE.value, SIZE.value)
    c.data.synthetic.camera = "fisheye"
    c.data.synthetic.num_streets, c.data.synthetic.num_test_streets = 50, 10
    c.train.num_steps = c.train.eval_every_steps = STEPS.value
    c.eval.median_baseline = False
    return c


def rows() -> Iterator[tuple[str, Any]]:
    """Name and configuration of each."""
    yield "pinhole camera", make_config()
    c = make_config()
    c.objective, c.model.depth_net.name = "ray_surface", "RaySurfaceResNet"
    c.loss.ray_start_temperature = c.loss.ray_end_temperature = 0.0  # fitting the template
    yield "ray surface", c


def along_rays(z: Float[np.ndarray, "h w"], K: Float[np.ndarray, "3 3"]) -> np.ndarray:
    """The distance of the points that a pinhole camera sees at depths z."""
    return np.linalg.norm(back_project(jnp.asarray(z)[..., None], jnp.asarray(K)), axis=-1)


def depth_of(trained: TrainedNetwork, example: EvalExample) -> Float[np.ndarray, "h w"]:
    """What a network says of a picture, along the rays."""
    inv_depth = predict_pair(trained.network, trained.variables, example.rgb[None]).fused
    depth = np.asarray(inv_depth_to_depth(inv_depth)[0, ..., 0])
    is_pinhole = trained.config.objective != "ray_surface"
    return along_rays(depth, example.intrinsics) if is_pinhole else depth


def mean_metrics(
    depths: Sequence[np.ndarray], examples: Sequence[EvalExample]
) -> Float[np.ndarray, "7"]:
    """Means over pictures, each scaled by the ratio of medians, 0 to 80 m."""
    found = [
        depth_metrics(
            jnp.asarray(depth),
            jnp.asarray(example.depth),
            min_depth=0.0,
            max_depth=80.0,
            crop="",
            median_scaling=True,
            mask=None if example.mask is None else jnp.asarray(example.mask),
        )
        for depth, example in zip(depths, examples, strict=True)
    ]
    return np.mean([metrics.values for metrics in found], axis=0)


def main(_: Sequence[str]) -> None:
    """Trains each row and prints its metrics, above those of one depth everywhere."""
    logging.set_verbosity(logging.WARNING)
    lines = ["| | " + " | ".join(METRIC_NAMES) + " |", "|---" * 8 + "|"]

    def add(name: str, depths: Sequence[np.ndarray], examples: Sequence[EvalExample]) -> None:
        values = mean_metrics(depths, examples)
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |")

    examples: list[EvalExample] = []
    for name, c in rows():
        config: Config = config_lib.resolve(c)
        workdir = Path(OUTPUT.value) / f"{name} {SIZE.value} {STEPS.value}".replace(" ", "_")
        if not has_checkpoint(workdir):
            train_run(config, workdir=workdir)
        trained = load_depth_network(workdir)
        examples = list(open_evaluations(config)[0].examples)
        add(name, [depth_of(trained, example) for example in examples], examples)
    add("one depth everywhere", [np.ones_like(e.depth) for e in examples], examples)
    print("\n".join(lines))


if __name__ == "__main__":
    app.run(main)
