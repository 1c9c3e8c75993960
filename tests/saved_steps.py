"""Small checkpoints, and harm to them."""

import jax
import jax.numpy as jnp

from packnet_jax import config as config_lib
from packnet_jax import sharding
from packnet_jax.checkpointer import Checkpointer

RAW_CONFIG = config_lib.default().to_dict() | {"seed": 7}
MONITOR = "depth_pp_gt/abs_rel"


def opened(workdir, keep_latest=2, keep_best=1, monitor=MONITOR):
    return Checkpointer(workdir, keep_latest=keep_latest, keep_best=keep_best, monitor=monitor)


def tree(step):
    return {"w": jnp.full((64, 64), step, jnp.float32)}, {"step": jnp.asarray(step)}


def save(checkpointer, step, value=None):
    variables, training = tree(step)
    metrics = None if value is None else {MONITOR: value}
    raw = RAW_CONFIG | {"data": RAW_CONFIG["data"] | {"root": "somewhere"}}
    checkpointer.save(step, variables=variables, training=training, config=raw, metrics=metrics)
    checkpointer.wait()


def abstract():
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return (sharding.abstract(t, here) for t in tree(0))


def damage(workdir, step):
    for file in (workdir / "checkpoints" / f"{step:08d}" / "variables").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
