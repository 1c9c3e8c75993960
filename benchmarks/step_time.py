"""Times a training step and the input, and prints rows for docs/benchmarks.md.

    python benchmarks/step_time.py --config=configs/kitti.py --config.data.root=KITTI_RAW \\
        --config.train.batch_size=1 --steps=5

Data come from the configuration, so the input rate is that of the real set. What is outside of the
compiled step (taking the batch, placing it, making floats of it, looking at the result) is timed
with the device waiting for each; in training these overlap with its work. All devices of all
processes share the batch; two processes, each on a core of its own:

    for i in 0 1; do taskset -c $i python benchmarks/step_time.py --config=... \\
        --config.train.batch_size=2 --coordinator=localhost:1234 --num_processes=2 --process_id=$i &
    done; wait
"""

import os
import time
from collections.abc import Sequence

import jax
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from packnet_jax import config as config_lib
from packnet_jax import distributed, sharding
from packnet_jax.agreement import AgreedStop
from packnet_jax.data.open import open_data_sets
from packnet_jax.data.packed import unpack
from packnet_jax.events import EventLog
from packnet_jax.objectives import make_objective
from packnet_jax.sfm import Networks
from packnet_jax.signals import StopSignal
from packnet_jax.train.dashboard import memory_gib
from packnet_jax.train.nonfinite_watch import NonFiniteWatch
from packnet_jax.train.optim import make_learning_rates, make_optimizer
from packnet_jax.train.state import TrainState
from packnet_jax.train.step import make_train_step

CONFIG = config_flags.DEFINE_config_file("config", None, "A file in configs/.")
STEPS = flags.DEFINE_integer("steps", 5, "How many steps are timed, after one that is not.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "As of packnet_jax.main.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "As of packnet_jax.main.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "As of packnet_jax.main.")


def main(_argv: Sequence[str]) -> None:
    """Prints one row per quantity."""
    given = COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value
    distributed.connect(distributed.Cluster("auto", *given))
    with distributed.one_voice():
        _time_steps()


def _time_steps() -> None:
    config = config_lib.resolve(CONFIG.value)
    data = open_data_sets(config)
    networks = Networks.from_config(config.model, config.needs)
    mesh = sharding.make_mesh()
    optimizer = make_optimizer(config.optim)
    rates = make_learning_rates(config.optim, data.train.steps_per_epoch)
    step = make_train_step(
        networks,
        make_objective(config.objective, config.loss, ray_template=data.ray_template),
        optimizer,
        rates,
        seed=config.seed,
        num_steps=1000,
        mesh=mesh,
    )

    def create(key):
        variables = networks.init(key, config.data.image_shape, data.num_context)
        return TrainState.create(variables, optimizer)

    state = jax.jit(create, out_shardings=sharding.replicated(mesh))(jax.random.key(0))
    iterator = data.train.iterate(config.seed)
    batches = sharding.placed_ahead(iterator, mesh)
    to_floats = jax.jit(unpack, out_shardings=sharding.batch_sharding(mesh))
    stop = AgreedStop(StopSignal(), mesh)  # of several processes, a sum in each step
    watch = NonFiniteWatch(config.optim.max_nonfinite_steps, EventLog())
    before = time.perf_counter()
    state, output = jax.block_until_ready(step(state, to_floats(next(batches))))
    first = time.perf_counter() - before
    seconds, waited, outside, processor = [], [], [], []
    for number in range(STEPS.value):
        before, before_processor = time.perf_counter(), time.process_time()
        stop.ask()
        batch = next(batches)
        waited.append(time.perf_counter() - before)
        floats = jax.block_until_ready(to_floats(batch))
        begun = time.perf_counter()
        state, output = jax.block_until_ready(step(state, floats))
        ended = time.perf_counter()
        watch.check(output, number + 2)
        seconds.append(time.perf_counter() - before)
        outside.append(seconds[-1] - (ended - begun))
        processor.append(time.process_time() - before_processor)

    model, shape = config.model, config.data.image_shape
    print(
        f"{model.depth_net.name}{model.depth_net.version} + {model.pose_net.name}"
        f"{model.pose_net.version}, {shape[0]}x{shape[1]}, batch {config.train.batch_size}, "
        f"{mesh.size} x {mesh.devices.flat[0].device_kind} of {jax.process_count()} processes, "
        f"{len(os.sched_getaffinity(0))} cores each, jax {jax.__version__}"
    )
    print(f"| first step, with compilation | {first:.1f} s |")
    print(f"| step, median of {len(seconds)} | {np.median(seconds):.2f} s |")
    print(f"| step, fastest | {min(seconds):.2f} s |")
    print(f"| of that, waiting for the input | {sum(waited) / sum(seconds):.2%} |")
    print(f"| outside the compiled step, median | {1e3 * np.median(outside):.2f} ms |")
    print(f"| that, of a step | {np.median(outside) / np.median(seconds):.2%} |")
    print(f"| the longest wait | {1e3 * max(waited):.1f} ms |")
    print(f"| processor time of a step and its input, median | {np.median(processor):.2f} s |")
    print(f"| loss after them | {float(output.scalars['loss']):.4f} |")
    print(f"| input, samples/s on one core | {iterator.samples_per_second:.1f} |")
    print(f"| peak memory | {memory_gib()['host_memory_gib']:.1f} GiB |")


if __name__ == "__main__":
    app.run(main)
