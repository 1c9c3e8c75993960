"""From pictures to files: the whole of inference."""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from absl import logging
from jaxtyping import Float
from numpy import ndarray
from tqdm import tqdm

from packnet_jax.data.transforms import to_float
from packnet_jax.errors import ConfigError, DataError
from packnet_jax.geometry.pinhole import scale_intrinsics
from packnet_jax.infer.inputs import Frame, Source, Unreadable, open_input
from packnet_jax.infer.options import Options
from packnet_jax.infer.outputs import Writer, open_writer
from packnet_jax.infer.prediction import Prediction
from packnet_jax.infer.rays import (
    RaySurface,
    check_ray_options,
    find_ray_surface,
    is_ray_surface,
    no_template,
)
from packnet_jax.infer.scaling import (
    METRES,
    CameraHeight,
    Scaling,
    check_partners,
)
from packnet_jax.infer.targets import NPZ, PLY, Targets, check_targets, choose_targets
from packnet_jax.predictor import DepthPredictor, Latency, Predicted, PredictorOptions
from packnet_jax.ray_template import RayTemplate
from packnet_jax.signals import StopSignal, stop_signal
from packnet_jax.trained import TrainedNetwork, load_depth_network
from tfds_builders.calibration import Calibration

ALONG_RAYS = "the ray of each pixel, not z"


class Outcome(NamedTuple):
    """What has been done."""

    written: list[Path]
    failures: list[str]
    """Why each picture that is missing in `written` is."""
    factors: list[float]
    """What each picture's depth was multiplied with."""
    latency: Latency | None
    """Medians over the batches but the first, which finds everything cold; None if it was alone."""
    batch_size: int
    """Pictures in each of them."""


def infer(checkpoint: Path, source: str, output: Path, options: Options) -> Outcome:
    """Predicts depth for every frame of the source, and writes what the options ask for.

    Everything written has the network's resolution. The name of the network, what was written and
    the unit of its depth are printed.

    Args:
        checkpoint: see `load_depth_network`.
        source: see `open_input`.
        output: see `choose_targets`.

    Raises:
        PacknetError: something that is given is missing or does not fit; before any inference.
    """
    with open_input(source, max_frames=options.max_frames) as opened:
        targets = choose_targets(output, options.save, opened)
        _check(options, targets, opened)
        trained = load_depth_network(checkpoint)
        if "data.image_shape" in trained.unsaid and not options.image_shape:
            raise ConfigError(
                f"--image_shape is missing, and {checkpoint} does not say which its network was "
                "trained at; for example --image_shape=192,640"
            )
        surface = _check_camera(trained, options, targets)
        _make_folder(targets)
        stop = stop_signal("closing the files") if opened.is_live else nullcontext(StopSignal())
        fps = options.fps or opened.fps
        with stop as wish, open_writer(targets, fps=fps, cloud=options.cloud) as writer:
            frames = itertools.takewhile(lambda _: wish.received is None, opened.frames)
            outcome = _infer_all(trained, surface, frames, opened.num_frames, writer, options)
    if not (outcome.written or outcome.failures):
        raise DataError(f"--input: no frame came from {source}")
    print(_summary(outcome, trained, output, options.scaling))
    return outcome


def _check(options: Options, targets: Targets, source: Source) -> None:
    """Finds mistakes before anything is read."""
    check_partners(options.scaling, source.names)
    check_targets(targets, source, overwrite=options.overwrite)


def _check_camera(trained: TrainedNetwork, options: Options, targets: Targets) -> RaySurface | None:
    """Finds mistakes that depend on the network's camera, before anything is computed.

    Returns:
        The rays of a neural ray surface, if an output asks for them and they are known.
    """
    if is_ray_surface(trained):
        return _check_ray_surface(trained, options, targets)
    check_ray_options(trained, options.rays)
    if options.calibration is None:
        if PLY in targets.kinds:
            raise ConfigError("--save=ply needs --intrinsics: where points lie depends on the lens")
        if isinstance(options.scaling, CameraHeight):
            raise ConfigError("--scale=camera_height needs --intrinsics to find the ground")
    return None


def _check_ray_surface(
    trained: TrainedNetwork, options: Options, targets: Targets
) -> RaySurface | None:
    no_pinhole = f"but {trained.folder} is of a neural ray surface, whose camera is no pinhole"
    if options.calibration is not None:
        raise ConfigError(
            f"--intrinsics: given, {no_pinhole}; leave it out, and give --ray_template if the "
            "rays that training started from are elsewhere now"
        )
    if isinstance(options.scaling, CameraHeight):
        raise ConfigError(f"--scale=camera_height: given, {no_pinhole}; give a factor or median")
    if not (options.rays.template or {NPZ, PLY}.intersection(targets.kinds)):
        return None
    surface = find_ray_surface(
        trained, options.rays, options.image_shape or trained.config.data.image_shape
    )
    if surface is None:
        if PLY in targets.kinds:
            raise ConfigError(f"--save=ply needs rays, but {no_template(trained)}")
        logging.warning("The .npz files hold no rays: %s", no_template(trained))
    return surface


def _make_folder(targets: Targets) -> None:
    """Makes the output's folder, or raises ConfigError."""
    folder = targets.output.parent if targets.is_file else targets.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output: {folder} can not be written ({error.strerror})") from error


def _infer_all(
    trained: TrainedNetwork,
    surface: RaySurface | None,
    frames: Iterator[Frame | Unreadable],
    num_frames: int | None,
    writer: Writer,
    options: Options,
) -> Outcome:
    failures: list[str] = []
    factors: list[float] = []
    latencies: list[Latency] = []
    shape = options.image_shape or trained.config.data.image_shape
    notes = _notes(trained, surface, options)
    bar = tqdm(frames, "infer", num_frames, unit="image", disable=num_frames == 1)
    predictor = None
    for group in _groups(_readable(bar, failures), options.batch_size):
        cameras = _cameras(group, shape, options.calibration)
        if predictor is None:  # what can be wrong with the first frames comes before compiling
            _warn_of_guess(options.calibration, group[0])
            predictor = _compiled(trained, surface, shape, options)
        found, latency = predictor.timed([frame.image for frame in group])
        latencies.append(latency)
        for prediction in _predictions(group, found, cameras, surface):
            try:
                factor = options.scaling.factor(prediction)
            except DataError as error:
                failures.append(f"{prediction.name}: {error}")
                continue
            depth = prediction.depth * np.float32(factor)
            writer.write(prediction, depth=depth, notes=notes | {"scale": factor})
            factors.append(factor)
    typical = Latency(*np.median(latencies[1:], axis=0).tolist()) if latencies[1:] else None
    return Outcome(writer.written, failures, factors, typical, options.batch_size)


def _compiled(
    trained: TrainedNetwork,
    surface: RaySurface | None,
    shape: tuple[int, int],
    options: Options,
) -> DepthPredictor:
    return DepthPredictor.from_trained(
        trained,
        PredictorOptions(
            batch_size=options.batch_size,
            flip=options.flip,
            compute_dtype=options.compute_dtype,
            rays=surface is not None,
        ),
        image_shape=shape,
    )


def _readable(frames: Iterable[Frame | Unreadable], failures: list[str]) -> Iterator[Frame]:
    """The frames; what can not be read is noted as a failure."""
    for frame in frames:
        if isinstance(frame, Unreadable):
            failures.append(frame.reason)
        else:
            yield frame


def _groups(frames: Iterator[Frame], size: int) -> Iterator[list[Frame]]:
    while group := list(itertools.islice(frames, size)):
        yield group


def _cameras(
    group: list[Frame], shape: tuple[int, int], calibration: Calibration | None
) -> list[ndarray | None]:
    """K of each frame, in pixels of the network's size; None where it is not known."""
    if calibration is None:
        return [None] * len(group)
    return [resized_intrinsics(calibration, frame.image.shape[:2], shape) for frame in group]


def _predictions(
    group: list[Frame],
    found: Predicted,
    cameras: list[ndarray | None],
    surface: RaySurface | None,
) -> Iterator[Prediction]:
    """Each frame's own."""
    rays: Iterable[RayTemplate | None] = itertools.repeat(None)
    if surface is not None and found.ray_residual is not None:
        rays = map(surface.of, found.ray_residual)
    names = (frame.name for frame in group)
    return map(Prediction, names, to_float(found.rgb), found.inv_depth, found.depth, cameras, rays)


def resized_intrinsics(
    calibration: Calibration, from_shape: tuple[int, int], to_shape: tuple[int, int]
) -> Float[ndarray, "3 3"]:
    """K, float32, of a picture resized about its outer edges.

    Raises:
        DataError: see `Calibration.at`.
    """
    (from_height, from_width), (to_height, to_width) = from_shape, to_shape
    K = jnp.asarray(calibration.at(from_shape), jnp.float32)
    return np.asarray(scale_intrinsics(K, to_width / from_width, to_height / from_height))


def _notes(
    trained: TrainedNetwork, surface: RaySurface | None, options: Options
) -> dict[str, str | float]:
    """What every output says of its unit and camera; each picture's scale takes the place of 1."""
    notes: dict[str, str | float] = {
        "unit": options.scaling.unit,
        "scale": 1.0,
        "scale_origin": options.scaling.origin,
        "compute_dtype": options.compute_dtype,
    }
    if is_ray_surface(trained):
        notes["depth_along"] = ALONG_RAYS
    if surface is not None:
        notes["rays_origin"] = surface.origin
        notes["ray_residual_weight"] = surface.residual_weight
    if options.calibration is not None:
        notes["intrinsics_origin"] = options.calibration.origin
    return notes


def _warn_of_guess(calibration: Calibration | None, frame: Frame) -> None:
    if calibration is not None and calibration.K is None:
        height, width = frame.image.shape[:2]
        logging.warning(
            "--intrinsics=auto: %s; for %dx%d that is fx = fy = %.0f. Where the true lens differs, "
            "points are too wide or too narrow; give --intrinsics=FILE or fx,fy,cx,cy",
            calibration.origin,
            width,
            height,
            calibration.at((height, width))[0, 0],
        )


def _summary(outcome: Outcome, trained: TrainedNetwork, output: Path, scaling: Scaling) -> str:
    """What was written by which network, in which unit, how fast."""
    written, model = outcome.written, trained.config.model.depth_net
    files = str(written[0]) if len(written) == 1 else f"{len(written)} files in {output}"
    lines = [f"{model.name}{model.version}, step {trained.step}: {files}"]
    if written and scaling.unit == METRES:
        low, middle, high = np.quantile(outcome.factors, (0, 0.5, 1))
        spread = f" ({low:.4g} to {high:.4g})" if low < high else ""
        lines.append(f"Depth in metres: the network's times {middle:.4g}{spread}, {scaling.origin}")
    elif written:
        lines.append(
            f"Depth up to one unknown scale, {scaling.origin}; --scale makes metres of it "
            "(--scale=1 for a network that was trained to predict metres)"
        )
    if written and is_ray_surface(trained):
        lines.append(f"Depth is along {ALONG_RAYS}")
    if outcome.latency is not None:
        lines.append(_speed(outcome.latency, outcome.batch_size))
    return "\n".join(lines)


def _speed(latency: Latency, batch_size: int) -> str:
    of = "a picture" if batch_size == 1 else f"{batch_size} pictures at once"
    return (
        f"Latency of {of}, median after the first: {1e3 * latency.network:.3g} ms of the network "
        "alone (compiled call, pictures and depth on the device), "
        f"{1e3 * latency.served:.3g} ms served (resizing, transfers and network; no files)\n"
        f"{batch_size / latency.served:.3g} images/s served after the first batch"
    )
