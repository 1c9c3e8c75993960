"""How each benchmark is measured; runs in a process of its own, see `benchmarks/worker.py`.

To add one: a function here, its line in `MEASURES`, its name and cases in `benchmarks/plan.py`. The
latency of inference with resizing and transfers is measured by `benchmarks/latency.py`.
"""

import itertools
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from benchmarks.measure import measure_program
from benchmarks.plan import FULL_SIZE, PROGRAMS, Case
from benchmarks.programs import MODELS, Program, make_program, random_variables
from benchmarks.timing import Measurement, time_rounds
from packnet_jax.config import NETWORK_KINDS, Config
from packnet_jax.convert.inverse import to_state_dict
from packnet_jax.convert.original import import_original, template_of
from packnet_jax.convert.rules import RULES
from packnet_jax.convert.torch_writer import cfg_node, ordered_dict, write_torch_file
from packnet_jax.convert.yacs_config import to_yacs
from packnet_jax.data.pipeline import TrainPipeline
from packnet_jax.data.store import FrameStore, open_store
from packnet_jax.metrics.depth import depth_metrics

MATMUL_SIZES = (1024, 2048, 4096, 8192, 16384)
COPY_SIZES = (2**24, 2**26, 2**28)
"""Numbers of 4 bytes."""
LONG_ENOUGH_SECONDS = 0.05
"""A matmul or copy that takes this long is large enough to reach the machine's peak."""

NUM_PICTURES = 8
"""Of the set that input is measured on."""

JITTERING = (0.2, 0.2, 0.2, 0.05)
"""Of the recipes in `configs/`."""

Measure = Callable[[Case, int | None], Measurement]
"""Given a case and the number of rounds, None for as many as `time_rounds` likes."""


def measure_network(case: Case, rounds: int | None) -> Measurement:
    """A program of `benchmarks/programs.py`."""
    return measure_program(make_program(case), rounds=rounds)


def measure_machine(case: Case, rounds: int | None) -> Measurement:
    """The fastest of ever larger products of matrices, or copies, until they take long enough."""
    sizes, make = (COPY_SIZES, copy) if case.variant == "copy" else (MATMUL_SIZES, matmul)
    found = []
    for size in sizes:
        found.append(measure_program(make(size, jnp.dtype(case.dtype or "float32")), rounds=rounds))
        if min(found[-1].seconds) >= LONG_ENOUGH_SECONDS:
            break
    return max(found, key=lambda m: (m.per_round or 0) / float(np.median(m.seconds)))


def matmul(size: int, dtype: Any) -> Program:
    """Of two square matrices, in jax's default precision, as convolutions are."""
    shape = jax.ShapeDtypeStruct((size, size), dtype)

    def make_inputs(rng: np.random.Generator) -> tuple[Any, ...]:
        return tuple(jnp.asarray(rng.standard_normal(shape.shape, "f4"), dtype) for _ in range(2))

    return Program(jax.jit(jnp.matmul), (shape, shape), make_inputs, 2 * size**3, "FLOP")


def copy(size: int, dtype: Any) -> Program:
    """Of numbers over themselves, their signs turned: identity would copy nothing, and fresh memory
    would be paid for page by page.

    Bytes that are read and bytes that are written both count.
    """
    shape = jax.ShapeDtypeStruct((size,), dtype)

    def make_inputs(rng: np.random.Generator) -> tuple[Any, ...]:
        return (jnp.asarray(rng.standard_normal(size, "f4"), dtype),)

    num_bytes = 2 * size * shape.dtype.itemsize
    negate = jax.jit(lambda x: (-x,), donate_argnums=0)
    return Program(negate, (shape,), make_inputs, num_bytes, "B", has_state=True)


def measure_input(case: Case, rounds: int | None) -> Measurement:
    """Packed batches by `TrainPipeline`, in seconds of one processor core."""
    shape, batch = (case.height or 0, case.width or 0), case.batch or 1
    source, _, place = case.variant.partition(", jitter on ")
    jitter_on: Any = place
    with tempfile.TemporaryDirectory() as folder:
        pipeline = TrainPipeline(
            _stored_pictures(shape, folder) if source == "stored" else _street(folder),
            image_shape=shape,
            batch_size=batch,
            jittering=JITTERING,
            jitter_on=jitter_on,
            num_threads=0,
            cache_resized=source == "cached",
        )
        steps = itertools.count()
        for _ in range(pipeline.steps_per_epoch):  # every frame once
            pipeline.packed(0, next(steps))
        seconds = time_rounds(
            lambda: pipeline.packed(0, next(steps)), rounds=rounds, clock=time.process_time
        )
    return Measurement(seconds, per_round=batch, unit="samples")


def measure_metrics(case: Case, rounds: int | None) -> Measurement:
    """Depth at 192x640 against a map of KITTI's size with 5 % of its pixels, scaled by medians."""
    predicted = jax.ShapeDtypeStruct((192, 640), jnp.float32)
    truth = jax.ShapeDtypeStruct((case.height, case.width), jnp.float32)

    def make_inputs(rng: np.random.Generator) -> tuple[Any, ...]:
        depth = rng.uniform(1, 80, truth.shape).astype("f4")
        measured = np.where(rng.random(truth.shape) < 0.05, depth, np.float32(0))
        return jnp.asarray(rng.uniform(1, 80, predicted.shape), "f4"), jnp.asarray(measured)

    compare = partial(
        depth_metrics, min_depth=0.0, max_depth=80.0, crop="garg", median_scaling=True
    )
    program = Program(jax.jit(compare), (predicted, truth), make_inputs, case.batch or 1, "maps")
    return measure_program(program, rounds=rounds)


def measure_conversion(case: Case, rounds: int | None) -> Measurement:
    """Reading a checkpoint of the original, depth and pose network, as `convert` does."""
    assert case.network is not None
    model = MODELS[case.network]
    rng = np.random.default_rng(0)
    state_dict = {}
    for kind in NETWORK_KINDS:
        network = getattr(model, kind)
        variables = jax.device_get(random_variables(template_of(kind, network), rng))
        tensors = to_state_dict(variables, RULES[network.name])
        state_dict |= {f"model.{kind}.{name}": tensor for name, tensor in tensors.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "original.ckpt")
        content = {
            "config": cfg_node(to_yacs(Config(model=model), {})),
            "epoch": 1,
            "state_dict": ordered_dict(state_dict),
        }
        write_torch_file(path, content)
        del content, state_dict
        seconds = time_rounds(lambda: import_original(path), rounds=rounds)
        return Measurement(seconds, per_round=path.stat().st_size, unit="B")


def _street(folder: str) -> FrameStore:
    """Rendered at KITTI's size and stored as PNG, whose decoding takes as long as pictures need."""
    from tfds_builders.synthetic_drive import SyntheticDrive  # with TensorFlow: seconds

    make_builder = partial(
        SyntheticDrive.from_options,
        data_dir=folder,
        split="train",
        image_shape=FULL_SIZE,
        num_streets=1,
        frames_per_street=NUM_PICTURES,
        supersampling=1,
    )
    return open_store(make_builder)


def _stored_pictures(shape: tuple[int, int], folder: str) -> FrameStore:
    """Noise, stored at a size as `data.store_resized` does."""
    from tfds_builders.image_folder import ImageFolder  # with TensorFlow: seconds
    from tfds_builders.stored_size import StoredSize

    rng, root = np.random.default_rng(0), Path(folder, "pictures")
    root.mkdir()
    for number in range(NUM_PICTURES):
        picture = rng.integers(0, 256, (*FULL_SIZE, 3), np.uint8)
        Image.fromarray(picture).save(root / f"{number}.png", compress_level=0)
    make_builder = partial(
        ImageFolder.from_options, data_dir=folder, root=str(root), stored_size=StoredSize(shape)
    )
    return open_store(make_builder)


MEASURES: Mapping[str, Measure] = {
    **dict.fromkeys(PROGRAMS, measure_network),
    "machine": measure_machine,
    "input": measure_input,
    "metrics": measure_metrics,
    "conversion": measure_conversion,
}
"""By benchmark. "import" is in `benchmarks/start_up.py`, which must not import jax."""
