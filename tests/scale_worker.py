"""One process of a run on tiny networks: what `test_scale.py` compares between topologies.

python tests/scale_worker.py OUTPUT COORDINATOR NUM_PROCESSES PROCESS_ID [RESUMED_WORKDIR FSDP]
"""

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tiny

from packnet_jax import distributed, sharding
from packnet_jax.config import Config, LossConfig
from packnet_jax.data.open import DataSets
from packnet_jax.data.packed import unpack
from packnet_jax.objectives.self_supervised import self_supervised
from packnet_jax.sfm import Networks, predict
from packnet_jax.train import loop

BATCH_SIZE, NUM_STEPS, STOPPED_AT = 8, 20, 10
LOSS = LossConfig(num_scales=1)
"""One scale compiles in a third of the time of four."""


class DoubleNetworks(Networks):
    """Of parameters in float64."""

    def init(self, *args: Any):
        return jax.tree.map(lambda a: a.astype(np.float64), super().init(*args))


def in_double(packed):
    return jax.tree.map(
        lambda a: a.astype(np.float64) if a.dtype == np.float32 else a, unpack(packed)
    )


class SilentDashboard:
    """Instead of one that imports TensorFlow for seconds."""

    def __init__(self, *_: Any):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_: Any):
        pass

    def __getattr__(self, name: str):
        return lambda *_: None


def config(fsdp: int = 1) -> Config:
    made = tiny.config(
        batch_size=BATCH_SIZE,
        num_steps=NUM_STEPS,
        eval_every_steps=NUM_STEPS,
        checkpoint_every_steps=STOPPED_AT,
        log_every_steps=1,
        keep_latest=10,
        fsdp=fsdp,
    )
    evaluation = dataclasses.replace(made.eval, batch_size=3)  # of five images: the last is short
    return dataclasses.replace(made, loss=LOSS, eval=evaluation)


def data_sets(config: Config, mesh, seen: list[list[int]]) -> DataSets:
    """This process's share; the index of every sample that it takes goes to `seen`."""
    data = tiny.data_sets(config, rows=sharding.local_rows(mesh, config.train.batch_size))
    iterate = data.train.iterate

    def noting(seed: int, start_step: int = 0) -> Iterator[Any]:
        for batch in iterate(seed, start_step):
            seen.append(batch.others["index"].tolist())
            yield batch

    data.train.iterate = noting  # type: ignore[method-assign]
    return data


def train(workdir: Path, fsdp: int = 1, num_devices: int | None = None) -> dict[str, Any]:
    """Twenty steps in float64, or what is left of them, and what is found on the way."""
    kept = loop.unpack, loop.Dashboard, loop._log
    replace, wrote = os.replace, []
    losses: list[float] = []
    seen: list[list[int]] = []
    loop.unpack, loop.Dashboard = in_double, SilentDashboard

    def log(_, output, *__):
        scalars = {name: float(value) for name, value in output.scalars.items()}
        losses.append(scalars["loss"])
        return scalars

    def note(source, target):
        wrote.append(Path(target).name)
        replace(source, target)

    loop._log, os.replace = log, note
    try:
        with jax.enable_x64(True):
            mesh = sharding.make_mesh(num_devices, fsdp=fsdp)
            wanted = config(fsdp)
            outcome = loop.train(
                wanted,
                DoubleNetworks(*tiny.NETWORKS),
                data_sets(wanted, mesh, seen),
                workdir=workdir,
                mesh=mesh,
            )
            parameters = np.concatenate(
                [
                    np.asarray(leaf).ravel()
                    for leaf in jax.tree.leaves(sharding.whole(outcome.state.variables, mesh))
                ]
            )
    finally:
        loop.unpack, loop.Dashboard, loop._log = kept
        os.replace = replace
    (report,) = outcome.reports
    return {
        "losses": losses,
        "seen": seen[: len(losses)],
        "parameters": parameters.tolist(),
        "bytes_per_device": sum(
            leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(outcome.state)
        ),
        "metrics": report.scalars(),
        "wrote": sorted(set(wrote)),
        "images": [row["name"] for row in report.per_image],
    }


def batches(mesh) -> dict[str, np.ndarray]:
    """Every array of three batches, put together from all devices."""
    wanted = config()
    data = tiny.data_sets(wanted, rows=sharding.local_rows(mesh, wanted.train.batch_size))
    found = {}
    for step in range(3):
        placed = sharding.place_batch(data.train.packed(wanted.seed, step), mesh)
        for path, leaf in jax.tree_util.tree_leaves_with_path(sharding.whole(placed, mesh)):
            found[f"batch{step}{jax.tree_util.keystr(path)}"] = np.asarray(leaf)
    return found


def loss_and_gradients(mesh) -> dict[str, np.ndarray]:
    """Of networks that normalise per sample, in float32; see test_step.py."""
    networks = Networks(tiny.TinyDepthNet("group"), tiny.TinyPoseNet())
    variables = jax.jit(lambda key: networks.init(key, tiny.SHAPE, 2))(jax.random.key(0))
    everywhere = sharding.replicated(mesh)
    variables = sharding.spread(jax.device_get(variables), everywhere)

    def loss(params, batch):
        predictions = predict(networks, {**variables, "params": params}, batch, flip=True)
        return self_supervised(LOSS).measure(predictions, batch, 0.0).total

    rows = list(sharding.local_rows(mesh, BATCH_SIZE))
    mine = jax.tree.map(lambda a: a[rows], tiny.random_batch(BATCH_SIZE))
    learn = jax.jit(jax.value_and_grad(loss), out_shardings=everywhere)
    found = learn(variables["params"], sharding.place_batch(mine, mesh))
    return {
        f"learnt{jax.tree_util.keystr(path)}": np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(found)
    }


def main(output: str, coordinator: str, count: str, number: str, *resumed: str) -> None:
    folder = Path(output)
    distributed.connect(distributed.Cluster("on", coordinator, int(count), int(number), 120))
    mesh = sharding.make_mesh()
    arrays = batches(mesh) | loss_and_gradients(mesh)
    found = {"run": train(folder / "run"), "devices": mesh.size}
    if resumed:
        workdir, fsdp = resumed
        sharding.MIN_SHARDED_SIZE = 1
        found["resumed"] = train(Path(workdir), int(fsdp))
    np.savez(folder / f"{number}.npz", **arrays)
    (folder / f"{number}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
