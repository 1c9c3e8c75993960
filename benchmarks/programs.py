"""The programs of networks that are measured: inference, gradients, and a whole training step.

A program knows the shapes of its inputs before there are any, so that its memory can be planned
without having it. Inputs and weights are random: neither zeros nor constants, which compilers and
processors may treat apart.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from benchmarks.plan import Case
from packnet_jax import sharding
from packnet_jax.batch import Batch
from packnet_jax.compilation import inference_options
from packnet_jax.config import ComputeDtype, ModelConfig, NetworkConfig, OptimConfig
from packnet_jax.loss_config import LossConfig
from packnet_jax.objectives.self_supervised import self_supervised
from packnet_jax.sfm import Networks, fold_for_evaluation, infer_inv_depth, predict
from packnet_jax.train.optim import make_learning_rates, make_optimizer
from packnet_jax.train.state import TrainState
from packnet_jax.train.step import make_train_step

NUM_CONTEXT = 2

_POSE_NET, _POSE_RESNET = NetworkConfig("PoseNet", ""), NetworkConfig("PoseResNet", "18")
MODELS: Mapping[str, ModelConfig] = {
    "PackNet01": ModelConfig(NetworkConfig("PackNet01", "1A"), _POSE_NET),
    "PackNetSlim01": ModelConfig(NetworkConfig("PackNetSlim01", "1A"), _POSE_NET),
    "DepthResNet18": ModelConfig(NetworkConfig("DepthResNet", "18"), _POSE_RESNET),
    "PackNetSAN01": ModelConfig(NetworkConfig("PackNetSAN01", "1A"), _POSE_NET),
}
"""The pairs of `configs/`, by the names of the benchmarks."""


class Program(NamedTuple):
    """A jitted function and its inputs."""

    function: Any
    shapes: tuple[Any, ...]
    """Of the inputs."""
    make_inputs: Callable[[np.random.Generator], tuple[Any, ...]]
    per_round: int
    """How many images or samples a call does."""
    unit: str
    has_state: bool = False
    """Whether the first input is a state that is donated, and the first output the next one."""


def networks_of(case: Case) -> Networks:
    """The networks of a case."""
    assert case.network is not None and case.dtype is not None
    dtype: Any = case.dtype
    model = dataclasses.replace(MODELS[case.network], compute_dtype=dtype)
    networks = Networks.from_config(model)
    if case.packing is None:
        return networks
    depth_net: Any = networks.depth_net
    return networks._replace(depth_net=depth_net.clone(packing=case.packing))


def forward(
    depth_net: nn.Module, image_shape: tuple[int, int], batch: int, compute_dtype: ComputeDtype
) -> Program:
    """The finest inverse depth of images: the network alone, in evaluation mode, weights folded."""
    variables = _variable_shapes(Networks(depth_net, None), image_shape)
    rgb = _floats(batch, *image_shape, 3)
    fold = partial(fold_for_evaluation, depth_net, compute_dtype=compute_dtype)

    def infer(variables, rgb):
        return infer_inv_depth(depth_net, variables, rgb, compute_dtype=compute_dtype)

    return Program(
        jax.jit(infer, compiler_options=inference_options()),
        (jax.eval_shape(fold, variables), rgb),
        lambda rng: (
            fold(random_variables(variables, rng)),
            jnp.array(rng.random(rgb.shape, "f4")),
        ),
        batch,
        "images",
    )


def loss_and_gradients(networks: Networks, image_shape: tuple[int, int], batch: int) -> Program:
    """The photometric objective and its gradient by all parameters."""
    objective = self_supervised(LossConfig())
    variables, batches = _variable_shapes(networks, image_shape), batch_shapes(image_shape, batch)

    def learn(variables, batch):
        def loss(params):
            own = {**variables, "params": params}
            predictions = predict(networks, own, batch, flip=False, needs=objective.needs)
            return objective.measure(predictions, batch, 0.5).total

        return jax.value_and_grad(loss)(variables["params"])

    return Program(
        jax.jit(learn),
        (variables, batches),
        lambda rng: (
            random_variables(variables, rng),
            jax.tree.map(jnp.array, random_batch(batches, rng)),
        ),
        batch,
        "samples",
    )


def train_step(networks: Networks, image_shape: tuple[int, int], batch: int) -> Program:
    """What training does with a batch: `make_train_step`, on one device, with Adam."""
    mesh, config = sharding.make_mesh(1), OptimConfig()
    optimizer = make_optimizer(config)
    step = make_train_step(
        networks,
        self_supervised(LossConfig(flip_lr_prob=0.5)),
        optimizer,
        make_learning_rates(config, steps_per_epoch=1000),
        seed=0,
        num_steps=50_000,
        mesh=mesh,
    )
    variables, batches = _variable_shapes(networks, image_shape), batch_shapes(image_shape, batch)

    def create(variables):
        return TrainState.create(variables, optimizer)

    def make_inputs(rng: np.random.Generator) -> tuple[Any, ...]:
        state = create(random_variables(variables, rng))
        return (
            jax.device_put(state, sharding.replicated(mesh)),
            sharding.place_batch(random_batch(batches, rng), mesh),
        )

    shapes = (jax.eval_shape(create, variables), batches)
    return Program(step, shapes, make_inputs, batch, "samples", has_state=True)


def make_program(case: Case) -> Program:
    """The program of a case of `plan.PROGRAMS`."""
    assert case.height is not None and case.width is not None and case.batch is not None
    networks, shape = networks_of(case), (case.height, case.width)
    match case.benchmark:
        case "forward":
            return forward(networks.depth_net, shape, case.batch, networks.compute_dtype)
        case "loss_and_gradients":
            return loss_and_gradients(networks, shape, case.batch)
        case "train_step":
            return train_step(networks, shape, case.batch)
    raise ValueError(f"{case.benchmark!r} is no program of networks")


def random_variables(shapes: Any, rng: np.random.Generator) -> Any:
    """Weights and statistics of a network, as random as trained ones; on the device.

    Kernels keep the size of what goes through them; factors and variances are around 1; all else
    (biases, means) is around 0.
    """

    def fill(path, leaf):
        match path[-1].key:
            case "kernel":
                values = rng.standard_normal(leaf.shape, leaf.dtype)
                values /= np.sqrt(np.prod(leaf.shape[:-1]), dtype=leaf.dtype)
            case "scale" | "var" | "fusion_scale":
                values = rng.random(leaf.shape, leaf.dtype) + leaf.dtype.type(0.5)
            case _:
                values = rng.standard_normal(leaf.shape, leaf.dtype) * leaf.dtype.type(0.1)
        return jnp.array(values)  # one by one, so that they are never there twice

    return jax.tree_util.tree_map_with_path(fill, shapes)


def batch_shapes(image_shape: tuple[int, int], batch: int) -> Batch:
    """What self-supervised training reads."""
    rgb = _floats(batch, *image_shape, 3)
    context = _floats(batch, NUM_CONTEXT, *image_shape, 3)
    return Batch(
        rgb=rgb,
        rgb_original=rgb,
        rgb_context=context,
        rgb_context_original=context,
        intrinsics=_floats(batch, 3, 3),
        index=jax.ShapeDtypeStruct((batch,), jnp.int32),
        valid=jax.ShapeDtypeStruct((batch,), jnp.bool_),
    )


def random_batch(shapes: Batch, rng: np.random.Generator) -> Batch:
    """Pictures of noise, seen by a camera like KITTI's; in numpy."""
    batch, height, width, _ = shapes.rgb.shape
    K = np.array([[0.58 * width, 0, width / 2], [0, 1.92 * height, height / 2], [0, 0, 1]], "f4")
    pictures = {
        name: rng.random(shape.shape, np.float32)
        for name, shape in shapes._asdict().items()
        if name.startswith("rgb") and shape is not None
    }
    return shapes._replace(
        **pictures,
        intrinsics=np.tile(K, (batch, 1, 1)),
        index=np.arange(batch, dtype=np.int32),
        valid=np.ones(batch, bool),
    )


def _variable_shapes(networks: Networks, image_shape: tuple[int, int]) -> Any:
    return jax.eval_shape(
        lambda key: networks.init(key, image_shape, NUM_CONTEXT), jax.random.key(0)
    )


def _floats(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)
