"""Calibrations: from a file, or numbers on the command line, to a camera model."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from packnet_jax.camera_limits import LARGEST_PARAMETER, SMALLEST_FOCAL, is_in_range
from packnet_jax.errors import ConfigError, DataError
from packnet_jax.geometry.camera_models import (
    CameraModel,
    DoubleSphere,
    KannalaBrandt,
    OcamPolynomial,
    Pinhole,
    UnifiedSphere,
)
from packnet_jax.untrusted import existing_file, read_json, read_text


class Form(NamedTuple):
    """How a model's parameters are given."""

    make: Callable[..., CameraModel]
    """From a Pinhole and the parameters."""
    parameters: tuple[str, ...]
    """After fx, fy, cx and cy."""
    num_required: int
    """How many of them have no default."""


FORMS: Mapping[str, Form] = {
    "pinhole": Form(lambda pinhole: pinhole, (), 0),
    "mei": Form(UnifiedSphere, ("xi", "k1", "k2", "p1", "p2"), 1),
    "double_sphere": Form(DoubleSphere, ("xi", "alpha"), 2),
    "kannala_brandt": Form(KannalaBrandt, ("k1", "k2", "k3", "k4"), 0),
}
OCAM = "ocam"
SMALLEST_DETERMINANT = 1e-6
"""Of the affine map of `ocam`, which is near 1."""
MODELS = (*FORMS, OCAM)
PINHOLE = ("fx", "fy", "cx", "cy")
OPENCV_NAMES = ("D", "D_k1k2p1p2")
"""Under which a JSON file may hold the distortion as a list."""


class Calibration(NamedTuple):
    """A camera model and the pictures that it is of."""

    model: CameraModel
    shape: tuple[int, int] | None
    """Height and width; None where the calibration does not say."""


def read_model(model: str, given: str) -> Calibration:
    """The camera that `--model` and `--calibration` describe.

    A JSON file holds `K` (3x3) or fx, fy, cx and cy, the model's parameters by name (mei and
    kannala_brandt also take a list `D`, in OpenCV's order) and, if it likes, `image_size` as
    [width, height]. The file of `ocam` is OCamCalib's calib_results.txt.

    Args:
        model: one of `MODELS`.
        given: path of a file, or numbers with commas between them.

    Raises:
        ConfigError: the model is unknown, or the numbers are not its parameters.
        DataError: the file can not be read, or lacks something.
    """
    if model not in MODELS:
        raise ConfigError(f"--model: given {model!r}; use one of {', '.join(MODELS)}")
    if path := existing_file(given):
        return _read_ocam(path) if model == OCAM else _read_json(path, model)
    if model == OCAM:
        raise DataError(
            f"--calibration: {given[:200]} is no file; give OCamCalib's calib_results.txt"
        )
    form = FORMS[model]
    names = PINHOLE + form.parameters
    try:
        values = [float(word) for word in given.split(",")]
    except ValueError as error:
        raise ConfigError(_expected(form, given, "is no file, and no numbers")) from error
    if not len(PINHOLE) + form.num_required <= len(values) <= len(names):
        raise ConfigError(_expected(form, given, f"has {len(values)} numbers"))
    parameters = dict(zip(names, values, strict=False))
    return Calibration(_make(form, parameters, "--calibration"), None)


def _expected(form: Form, given: str, problem: str) -> str:
    required = form.parameters[: form.num_required]
    optional = "".join(f"[,{name}" for name in form.parameters[form.num_required :])
    optional += "]" * optional.count("[")
    return (
        f"--calibration: {given[:200]!r} {problem}; expected a JSON file, or "
        f"{','.join([*PINHOLE, *required])}{optional}"
    )


def _read_json(path: Path, model: str) -> Calibration:
    form = FORMS[model]
    try:
        document: dict[str, Any] = dict(read_json(path))
        if "K" in document:
            K = np.array(document["K"], float).reshape(3, 3)
            numbers = (K[0, 0], K[1, 1], K[0, 2], K[1, 2], K[0, 1])
            document |= dict(zip((*PINHOLE, "skew"), map(float, numbers), strict=True))
        distortion = [name for name in form.parameters if name not in ("xi", "alpha")]
        for name in OPENCV_NAMES:
            if name in document and distortion:
                listed = [float(x) for x in np.ravel(document[name])]
                document |= dict(zip(distortion, listed, strict=True))
        needed = PINHOLE + form.parameters[: form.num_required]
        missing = [name for name in needed if name not in document]
        if missing:
            raise DataError(f"{path} lacks {', '.join(missing)} for --model={model}")
        size = document.get("image_size")
        shape = None
        if size is not None:
            width, height = size
            shape = _shape(height, width)
        return Calibration(_make(form, document, str(path)), shape)
    except (IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds no calibration for --model={model} ({error})") from error


def _shape(height: float, width: float) -> tuple[int, int]:
    """Height and width of pictures; raises ValueError where they are no positive whole numbers."""
    if not all(side > 0 and int(side) == side for side in (height, width)):
        raise ValueError(
            f"pictures {width!r} wide and {height!r} high; expected two positive whole numbers"
        )
    return int(height), int(width)


def _make(form: Form, parameters: Mapping[str, Any], origin: str) -> CameraModel:
    """The model from its parameters by name; other names are passed over."""
    wanted = [name for name in (*PINHOLE, "skew", *form.parameters) if name in parameters]
    values = {name: float(parameters[name]) for name in wanted}
    if not is_in_range(*values.values()) or min(values["fx"], values["fy"]) < SMALLEST_FOCAL:
        raise DataError(
            f"{origin}: {values}: expected finite numbers below {LARGEST_PARAMETER:g} in size, "
            f"with positive fx and fy, at least {SMALLEST_FOCAL:g} pixels"
        )
    if not 0 <= values.get("alpha", 0) < 1:
        raise DataError(f"{origin}: alpha is {values['alpha']}, expected at least 0 and below 1")
    own = {name: values.pop(name) for name in form.parameters if name in values}
    return form.make(Pinhole(**values), **own)


def _read_ocam(path: Path) -> Calibration:
    """OCamCalib's text file: five lines of numbers between comments."""
    try:
        lines = [line for line in read_text(path).splitlines() if re.match(r"\s*[-+.\d]", line)]
        direct, inverse, centre, affine, size = ([float(x) for x in n.split()] for n in lines)
        for coefficients in (direct, inverse):
            if len(coefficients) != coefficients[0] + 1:
                raise ValueError(
                    f"{len(coefficients) - 1} coefficients instead of {coefficients[0]:g}"
                )
        (row, column), (c, d, e), (height, width) = centre, affine, size
        numbers = [*direct, *inverse, *centre, *affine, *size]
        if not np.isfinite(numbers).all() or abs(c - d * e) < SMALLEST_DETERMINANT:
            raise ValueError("a number that is not finite, or a singular affine map")
        shape = _shape(height, width)
        model = OcamPolynomial(tuple(direct[1:]), tuple(inverse[1:]), row, column, c, d, e)
    except (IndexError, ValueError) as error:
        raise DataError(
            f"{path} is no OCamCalib file ({error}); expected its calib_results.txt: direct and "
            "inverse polynomial, centre, affine parameters, image size"
        ) from error
    return Calibration(model, shape)
