"""Depth of pictures by a trained network, by a program that is compiled ahead.

`DepthPredictor` holds weights that stay, folded and on the device, and a program for one shape:

    predictor = DepthPredictor.load("runs/kitti")
    depth = predictor(rgb)  # uint8 [H, W, 3] of any size to float32 [h, w]
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8
from numpy import ndarray

from packnet_jax import sharding
from packnet_jax.compilation import inference_options
from packnet_jax.config import ComputeDtype
from packnet_jax.data_config import SHAPE_MULTIPLE
from packnet_jax.depth_maps import inv_depth_to_depth
from packnet_jax.depth_pair import infer, predict_pair
from packnet_jax.errors import ConfigError, DataError
from packnet_jax.image import to_float
from packnet_jax.sfm import Variables, fold_for_evaluation, takes_input_depth
from packnet_jax.trained import TrainedNetwork, load_depth_network
from tfds_builders.pictures import resize_image

PictureDtype = Literal["uint8", "float32"]


@dataclass(frozen=True)
class PredictorOptions:
    """What a `DepthPredictor` is compiled for."""

    batch_size: int = 1
    """Pictures the network sees at once; fewer take as long."""
    flip: bool = False
    """Average with the prediction for the mirror image, as the `_pp` modes of evaluation do."""
    compute_dtype: ComputeDtype = "float32"
    """What the network computes in; depth is float32 in any case."""
    picture_dtype: PictureDtype = "uint8"
    """Of the pictures: in 0..255 and of any size, or in [0, 1] and of the network's."""
    input_depth: bool = False
    """Whether sparse depth comes beside the pictures, for networks that take it."""
    rays: bool = False
    """Whether to answer with the ray surface's residual, for networks that have one."""


class Predicted(NamedTuple):
    """What the network says of some pictures, on the host."""

    rgb: UInt8[ndarray, "b h w 3"] | Float[ndarray, "b h w 3"]
    """The pictures as the network saw them."""
    inv_depth: Float[ndarray, "b h w"]
    depth: Float[ndarray, "b h w"]
    """In metres, or up to one scale, as the network was trained."""
    ray_residual: Float[ndarray, "b h w 3"] | None = None


class Latency(NamedTuple):
    """Seconds that a batch took."""

    network: float
    """The compiled program alone: from pictures on the device to depth on the device."""
    served: float
    """From pictures on the host to depth on the host: resizing, transfers, and the network."""


class DepthPredictor:
    """Depth of pictures, by a program that is compiled when this is made, and by none other.

    Pictures go to the device as they are, uint8, and become [0, 1] there. All calls have the same
    shapes: what is compiled once serves to the end.
    """

    def __init__(
        self,
        depth_net: nn.Module,
        variables: Variables,
        image_shape: tuple[int, int],
        options: PredictorOptions | None = None,
        *,
        mesh: Mesh | None = None,
    ):
        """Folds the weights, places them, and compiles.

        Args:
            variables: `params` and `batch_stats`, each with `depth_net`.
            image_shape: height and width that the network works at.
            mesh: devices that share each batch; None for the first one.

        Raises:
            ConfigError: the network can not do what is asked of it, or the shape does not fit.
        """
        self.image_shape = image_shape
        self.options = options or PredictorOptions()
        self._mesh = mesh or sharding.make_mesh(1)
        _check(depth_net, image_shape, self.options, self._mesh)
        folded = fold_for_evaluation(depth_net, variables, compute_dtype=self.options.compute_dtype)
        self._variables = jax.device_put(folded, sharding.replicated(self._mesh))
        shape = (self.options.batch_size, *image_shape)
        on_mesh = sharding.batch_sharding(self._mesh)
        rgb = jax.ShapeDtypeStruct(
            (*shape, 3), np.dtype(self.options.picture_dtype), sharding=on_mesh
        )
        input_depth = jax.ShapeDtypeStruct((*shape, 1), np.float32, sharding=on_mesh)
        program = jax.jit(partial(_predict, depth_net, options=self.options))
        self._compiled = program.lower(
            self._variables, rgb, input_depth if self.options.input_depth else None
        ).compile(compiler_options=inference_options())

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        options: PredictorOptions | None = None,
        *,
        image_shape: tuple[int, int] | None = None,
    ) -> "DepthPredictor":
        """That of a checkpoint.

        Args:
            checkpoint: see `load_depth_network`.
            image_shape: None for that of the training.

        Raises:
            CheckpointError: see `load_depth_network`.
            ConfigError: see `from_trained`.
        """
        trained = load_depth_network(Path(checkpoint))
        return cls.from_trained(trained, options, image_shape=image_shape)

    @classmethod
    def from_trained(
        cls,
        trained: TrainedNetwork,
        options: PredictorOptions | None = None,
        *,
        image_shape: tuple[int, int] | None = None,
    ) -> "DepthPredictor":
        """That of a network which has been read.

        Args:
            image_shape: None for that of the training.

        Raises:
            ConfigError: the shape is not known, or something does not fit.
        """
        if image_shape is None and "data.image_shape" in trained.unsaid:
            raise ConfigError(
                f"image_shape is missing, and {trained.folder} does not say which its network was "
                "trained at; for example (192, 640)"
            )
        shape = image_shape or trained.config.data.image_shape
        return cls(trained.network, trained.variables, shape, options)

    def __call__(
        self,
        rgb: UInt8[ndarray, "H W 3"] | Float[ndarray, "h w 3"],
        input_depth: Float[ndarray, "h w"] | None = None,
    ) -> Float[ndarray, "h w"]:
        """The depth of one picture; see `predict`."""
        return self.predict([rgb], None if input_depth is None else [input_depth]).depth[0]

    def predict(
        self,
        pictures: Sequence[ndarray],
        input_depth: Sequence[Float[ndarray, "h w"]] | None = None,
    ) -> Predicted:
        """The depth of one to `batch_size` pictures.

        Args:
            pictures: [H, W, 3] of `picture_dtype`; see `PredictorOptions`.
            input_depth: sparse depth in metres, 0 for none, beside each; of the network's size.

        Raises:
            DataError: they are too many, or of another shape or type than was compiled for.
        """
        rgb, beside = self._on_host(pictures, input_depth)
        return self._to_host(rgb, len(pictures), self._run(self._place(rgb, beside)))

    def timed(
        self,
        pictures: Sequence[ndarray],
        input_depth: Sequence[Float[ndarray, "h w"]] | None = None,
    ) -> tuple[Predicted, Latency]:
        """As `predict`, with a stop of the clock where the network alone begins and ends."""
        start = time.perf_counter()
        rgb, beside = self._on_host(pictures, input_depth)
        inputs = jax.block_until_ready(self._place(rgb, beside))
        on_device = time.perf_counter()
        outputs = jax.block_until_ready(self._run(inputs))
        computed = time.perf_counter()
        predicted = self._to_host(rgb, len(pictures), outputs)
        return predicted, Latency(computed - on_device, time.perf_counter() - start)

    def _on_host(
        self, pictures: Sequence[ndarray], input_depth: Sequence[ndarray] | None
    ) -> tuple[ndarray, ndarray | None]:
        """Batches of full size; the last picture stands for those that are missing."""
        batch_size = self.options.batch_size
        if not 0 < len(pictures) <= batch_size:
            raise DataError(
                f"given {len(pictures)} pictures, but the predictor was compiled for batches of "
                f"{batch_size}; give 1 to {batch_size}"
            )
        rgb = [self._resized(picture) for picture in pictures]
        if (input_depth is not None) != self.options.input_depth:
            given = "without" if input_depth is None else "with"
            raise DataError(
                f"given pictures {given} sparse depth, but the predictor was compiled with "
                f"PredictorOptions(input_depth={self.options.input_depth})"
            )
        if input_depth is None:
            return _filled(rgb, batch_size), None
        if len(input_depth) != len(pictures):
            raise DataError(
                f"given {len(input_depth)} depth maps for {len(pictures)} pictures; give one each"
            )
        beside = [self._checked_depth(depth) for depth in input_depth]
        return _filled(rgb, batch_size), _filled(beside, batch_size)

    def _resized(self, picture: ndarray) -> ndarray:
        dtype = self.options.picture_dtype
        is_float = dtype == "float32"
        expected = (*self.image_shape, 3) if is_float else ("height", "width", 3)
        fits = picture.shape == expected if is_float else picture.ndim == 3
        if picture.dtype != dtype or not fits or picture.shape[-1] != 3:
            raise DataError(
                f"given a picture of {picture.dtype} {picture.shape}, but the predictor was "
                f"compiled for {dtype} ({', '.join(map(str, expected))}); convert it, or make one "
                "with another PredictorOptions(picture_dtype=...)"
            )
        return picture if is_float else resize_image(picture, self.image_shape)

    def _checked_depth(self, depth: ndarray) -> ndarray:
        if depth.shape != self.image_shape or depth.dtype != np.float32:
            raise DataError(
                f"given sparse depth of {depth.dtype} {depth.shape}, but the predictor was "
                f"compiled for float32 {self.image_shape}; project the points to that size"
            )
        return depth[..., None]

    def _place(self, rgb: ndarray, input_depth: ndarray | None) -> tuple[Array, Array | None]:
        return sharding.place_batch((rgb, input_depth), self._mesh)

    def _run(self, inputs: tuple[Array, Array | None]) -> "_Outputs":
        return self._compiled(self._variables, *inputs)

    def _to_host(self, rgb: ndarray, count: int, outputs: "_Outputs") -> Predicted:
        found = jax.device_get(outputs)
        residual = found.ray_residual
        return Predicted(
            rgb[:count],
            found.inv_depth[:count, ..., 0],
            found.depth[:count, ..., 0],
            None if residual is None else residual[:count],
        )


class _Outputs(NamedTuple):
    """Of the whole program, on the device."""

    inv_depth: Float[Array, "b h w 1"]
    depth: Float[Array, "b h w 1"]
    ray_residual: Float[Array, "b h w 3"] | None


def _predict(
    depth_net: nn.Module,
    variables: Variables,
    rgb: UInt8[Array, "b h w 3"] | Float[Array, "b h w 3"],
    input_depth: Float[Array, "b h w 1"] | None,
    *,
    options: PredictorOptions,
) -> _Outputs:
    """The whole program on the device."""
    if rgb.dtype == jnp.uint8:
        rgb = to_float(rgb)
    settings: Any = {"compute_dtype": options.compute_dtype, "rays": options.rays}
    if options.flip:
        _, inv_depth, residual = predict_pair(depth_net, variables, rgb, input_depth, **settings)
    else:
        inv_depth, residual = infer(depth_net, variables, rgb, input_depth, **settings)
    return _Outputs(inv_depth, inv_depth_to_depth(inv_depth), residual)


def _check(
    depth_net: nn.Module, image_shape: tuple[int, int], options: PredictorOptions, mesh: Mesh
) -> None:
    """Finds mistakes before anything is compiled."""
    name = type(depth_net).__name__
    for field, known in (("compute_dtype", ComputeDtype), ("picture_dtype", PictureDtype)):
        given = getattr(options, field)
        if given not in get_args(known):
            raise ConfigError(f"{field}: given {given!r}, expected one of {get_args(known)}")
    if any(size <= 0 or size % SHAPE_MULTIPLE for size in image_shape):
        raise ConfigError(
            f"image_shape: given {image_shape}, expected height and width that are multiples of "
            f"{SHAPE_MULTIPLE}, such as (192, 640)"
        )
    if options.batch_size < 1 or options.batch_size % mesh.size:
        raise ConfigError(
            f"batch_size: given {options.batch_size}, but {mesh.size} devices share it equally; "
            f"use a positive multiple of {mesh.size}"
        )
    if options.input_depth and not takes_input_depth(depth_net):
        raise ConfigError(
            f"input_depth: asked for, but {name} takes pictures alone; take PackNetSAN01"
        )
    if options.rays and not hasattr(depth_net, "with_ray_surface"):
        raise ConfigError(f"rays: asked for, but {name} has no ray surface; take RaySurfaceResNet")
    if options.rays and options.input_depth:
        raise ConfigError("rays and input_depth: both asked for, and no network has both")


def _filled(arrays: Sequence[ndarray], batch_size: int) -> ndarray:
    return np.stack([*arrays, *[arrays[-1]] * (batch_size - len(arrays))])
