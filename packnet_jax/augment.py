"""Colour jitter, cropping and Lanczos resizing on the device, one image or many at once.

The counterpart of `packnet_jax.data.jitter` and `packnet_jax.data.transforms` for runs whose hosts
can not keep up (`data.jitter_on='device'`). Images are float32 in [0, 1] that hold the 256 levels
of uint8 pictures, and stay so: every operation ends on a level, as Pillow's do, at most one level
from what the host computes (on CPU, where it was measured, none).

Source: packnet-sfm datasets/augmentations.py, whose steps are those of torchvision 0.9 on Pillow
images; Pillow's own definitions of its enhancements, of HSV and of Lanczos resampling.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from PIL import Image

from packnet_jax.batch import AnyArray
from packnet_jax.image import to_float

STEPS = ("brightness", "contrast", "saturation", "hue")
"""What `Jitter.order` counts."""

LANCZOS_RADIUS = 3
"""Zeros of the Lanczos kernel on either side of its centre."""

WEIGHT_BITS = 22
"""Fractional bits of resampling weights."""

MAX_PIXELS = 2**22
"""The mean grey of larger images would not fit into 32-bit integers."""


class Jitter(NamedTuple):
    """Draws of `draw_jitter`: one, or one per element of leading axes."""

    brightness: Float[AnyArray, "*b"]
    """Factor; 0 is black, 1 leaves the image as it is."""

    contrast: Float[AnyArray, "*b"]
    """Factor around the mean grey; 0 is uniform."""

    saturation: Float[AnyArray, "*b"]
    """Factor; 0 is grey."""

    hue: Float[AnyArray, "*b"]
    """Turn of the colour circle, in [-0.5, 0.5]."""

    order: Int[AnyArray, "*b 4"]
    """Positions in `STEPS`, in the order of the steps."""

    channel_gains: Float[AnyArray, "*b 3"]
    """Factors of red, green and blue, applied last."""


def draw_jitter(key: Key[Array, ""], strengths: Sequence[float]) -> Jitter:
    """Draws each factor uniformly from [max(0, 1 - s), 1 + s], the hue from [-s, s].

    Distributed as on the host; the numbers themselves are others.

    Args:
        key: the only source of randomness; `jax.vmap` over several for several draws.
        strengths: (brightness, contrast, saturation, hue), and optionally one more for the gains
            of the colour channels; none is negative, the hue is at most 0.5.

    Raises:
        ValueError: there are not four or five strengths, or one is out of range.

    Source: packnet-sfm datasets/augmentations.py: random_color_jitter_transform.
    """
    if len(strengths) not in (4, 5) or min(strengths) < 0 or strengths[3] > 0.5:
        raise ValueError(
            "Jitter strengths are (brightness, contrast, saturation, hue[, channel gains]), not "
            f"negative and with hue <= 0.5, but these are {tuple(strengths)}."
        )
    keys = jax.random.split(key, 6)

    def factor(i: int) -> Array:
        low, high = max(0.0, 1.0 - strengths[i]), 1.0 + strengths[i]
        return jax.random.uniform(keys[i], minval=low, maxval=high)

    spread = strengths[4] if len(strengths) == 5 else 0.0
    return Jitter(
        brightness=factor(0),
        contrast=factor(1),
        saturation=factor(2),
        hue=jax.random.uniform(keys[3], minval=-strengths[3], maxval=strengths[3]),
        order=jax.random.permutation(keys[4], len(STEPS)),
        channel_gains=jax.random.uniform(keys[5], (3,), minval=1 - spread, maxval=1 + spread),
    )


@functools.partial(jax.jit, static_argnames="strengths")
def jitter_batch(
    key: Key[Array, ""],
    rgb: Float[Array, "b h w 3"],
    rgb_context: Float[Array, "b n h w 3"],
    strengths: tuple[float, ...],
) -> tuple[Float[Array, "b h w 3"], Float[Array, "b n h w 3"]]:
    """Jitters every sample by a draw of its own, which its target and its contexts share.

    Args:
        key: the only source of randomness.
        rgb: targets.
        rgb_context: their contexts.
        strengths: see `draw_jitter`.
    """
    draw = functools.partial(draw_jitter, strengths=strengths)
    jitters = jax.vmap(draw)(jax.random.split(key, rgb.shape[0]))
    frames = jnp.concatenate([rgb[:, None], rgb_context], axis=1)
    jittered = jax.vmap(apply_jitter)(frames, jitters)
    return jittered[:, 0], jittered[:, 1:]


def apply_jitter(images: Float[Array, "*n h w 3"], jitter: Jitter) -> Float[Array, "*n h w 3"]:
    """Applies one draw to any number of images, its steps in its order, then the channel gains.

    The order may be traced; under `jax.vmap` every step is then computed at each of the four
    places, and the one in turn selected.
    """
    steps = [
        lambda x: adjust_brightness(x, jitter.brightness),
        lambda x: adjust_contrast(x, jitter.contrast),
        lambda x: adjust_saturation(x, jitter.saturation),
        lambda x: adjust_hue(x, jitter.hue),
    ]

    def step(i: Array, images: Array) -> Array:
        return jax.lax.switch(jitter.order[i], steps, images)

    images = jax.lax.fori_loop(0, len(steps), step, images)
    return scale_channels(images, jitter.channel_gains)


def adjust_brightness(
    image: Float[Array, "*b h w 3"], factor: float | Float[Array, ""]
) -> Float[Array, "*b h w 3"]:
    """Blends with black: factor 0 is black, 1 the image, more is brighter.

    Source: Pillow ImageEnhance.Brightness.
    """
    levels = _to_levels(image)
    return _blend(jnp.zeros_like(levels), levels, factor)


def adjust_contrast(
    image: Float[Array, "*b h w 3"], factor: float | Float[Array, ""]
) -> Float[Array, "*b h w 3"]:
    """Blends with the mean grey of each image: factor 0 is uniform, 1 the image.

    Raises:
        ValueError: an image has more than `MAX_PIXELS` pixels.

    Source: Pillow ImageEnhance.Contrast.
    """
    count = image.shape[-3] * image.shape[-2]
    if count > MAX_PIXELS:
        raise ValueError(
            f"got images of {image.shape[-3]}x{image.shape[-2]} pixels, but the mean grey is "
            f"computed for at most {MAX_PIXELS} pixels; resize the images first"
        )
    levels = _to_levels(image)
    total = jnp.sum(_grey(levels), axis=(-3, -2, -1), keepdims=True)
    return _blend((2 * total + count) // (2 * count), levels, factor)


def adjust_saturation(
    image: Float[Array, "*b h w 3"], factor: float | Float[Array, ""]
) -> Float[Array, "*b h w 3"]:
    """Blends with the grey picture: factor 0 is grey, 1 the image.

    Source: Pillow ImageEnhance.Color.
    """
    levels = _to_levels(image)
    return _blend(_grey(levels), levels, factor)


def adjust_hue(
    image: Float[Array, "*b h w 3"], turn: float | Float[Array, ""]
) -> Float[Array, "*b h w 3"]:
    """Turns the colour circle by a fraction of it, in [-0.5, 0.5].

    Hue, saturation and value are rounded to 256 levels in between, so turning by 0 may move a
    colour by a few levels, on the host as here.

    Source: torchvision 0.9 functional_pil.py: adjust_hue; Pillow's conversions to HSV and back.
    """
    hue, saturation, value = _to_hsv(_to_levels(image))
    shift = jnp.trunc(jnp.asarray(turn, image.dtype) * 255).astype(jnp.int32)  # towards zero
    return _from_hsv((hue + shift) % 256, saturation, value)


def scale_channels(
    image: Float[Array, "*b h w 3"], gains: Float[Array, "3"]
) -> Float[Array, "*b h w 3"]:
    """Multiplies red, green and blue by their gains.

    Source: Pillow Image.convert with a diagonal matrix.
    """
    return _from_levels(jnp.floor(_to_levels(image) * gains + 0.5))


def crop(
    image: Float[Array, "*b h w c"],
    top: int | Int[Array, ""],
    left: int | Int[Array, ""],
    shape: tuple[int, int],
) -> Float[Array, "*b {shape[0]} {shape[1]} c"]:
    """Cuts out the window of this height and width; `crop_intrinsics` goes with it.

    Args:
        image: images of any channel count.
        top: first row. A traced one must leave the window inside, which can not be checked.
        left: first column; likewise.
        shape: height and width of the window.

    Raises:
        ValueError: the window does not lie inside the image.
    """
    *leading, height, width, channels = image.shape
    for name, start, size, available in (
        ("rows", top, shape[0], height),
        ("columns", left, shape[1], width),
    ):
        first = start if isinstance(start, int) else 0
        if first < 0 or size < 1 or first + size > available:
            raise ValueError(
                f"can not crop {size} {name} from {first} on: the image has {available}; choose "
                "a window inside the image"
            )
    starts = (*(0 for _ in leading), top, left, 0)
    return jax.lax.dynamic_slice(image, starts, (*leading, *shape, channels))


@functools.partial(jax.jit, static_argnames="shape")
def resize_lanczos(
    image: Float[Array, "*b h w c"], shape: tuple[int, int]
) -> Float[Array, "*b {shape[0]} {shape[1]} c"]:
    """Resizes with a Lanczos filter that widens where the image shrinks.

    Across first, then down, rounded to levels after each.

    Source: Pillow Image.resize (LANCZOS); packnet-sfm datasets/augmentations.py: resize_image.
    """
    height, width = image.shape[-3:-1]
    levels = _to_levels(image)
    if width != shape[1]:
        levels = _resample("ow,...hwc->...hoc", lanczos_weights(width, shape[1]), levels)
    if height != shape[0]:
        levels = _resample("oh,...hwc->...owc", lanczos_weights(height, shape[0]), levels)
    return _from_levels(levels)


@functools.cache
def lanczos_weights(from_size: int, to_size: int) -> Float[np.ndarray, "{to_size} {from_size}"]:
    """The share of every input pixel in every output pixel; rows add up to 1.

    Source: Pillow libImaging/Resample.c: precompute_coeffs.
    """
    scale = from_size / to_size
    stretch = max(scale, 1.0)
    centres = (np.arange(to_size)[:, None] + 0.5) * scale
    offsets = np.arange(from_size) + 0.5 - centres
    reach = LANCZOS_RADIUS * stretch
    first = np.maximum(np.floor(centres - reach + 0.5), 0)
    end = np.floor(centres + reach + 0.5)
    x = offsets / stretch
    weights = np.sinc(x) * np.sinc(x / LANCZOS_RADIUS) * (np.abs(x) < LANCZOS_RADIUS)
    pixels = np.arange(from_size)
    weights = weights * ((pixels >= first) & (pixels < end))
    return weights / weights.sum(axis=1, keepdims=True)


def _resample(how: str, weights: np.ndarray, levels: Array) -> Array:
    """The weighted sums that `how` describes, rounded to levels.

    Weights are rounded to 22 bits, as Pillow's are: where an image is halved, many sums lie in the
    middle between two levels. Their upper and lower 11 bits are summed apart, exactly in
    float32 where at most 32 pixels make one.
    """
    fixed = np.trunc(weights * 2**WEIGHT_BITS + np.copysign(0.5, weights))
    upper, lower = np.divmod(fixed, 2 ** (WEIGHT_BITS // 2))
    upper_sums, lower_sums = (
        jnp.einsum(how, part.astype(np.float32), levels.astype(jnp.float32), precision="highest")
        for part in (upper, lower)
    )
    sums = upper_sums.astype(jnp.int32) * 2 ** (WEIGHT_BITS // 2) + lower_sums.astype(jnp.int32)
    return jnp.clip((sums + 2 ** (WEIGHT_BITS - 1)) >> WEIGHT_BITS, 0, 255)


def _to_levels(image: Array) -> Array:
    """[0, 1] to 0..255, integers."""
    return jnp.round(image * 255).astype(jnp.int32)


def _from_levels(levels: Array) -> Array:
    return to_float(jnp.clip(levels, 0, 255))


def _blend(first: Array, second: Array, factor: float | Array) -> Array:
    """first + factor * (second - first), the fraction cut off, as Pillow's blending does."""
    blended = first + jnp.asarray(factor, jnp.float32) * (second - first).astype(jnp.float32)
    return _from_levels(jnp.floor(blended))


def _grey(levels: Array) -> Array:
    """ITU-R 601 luma in levels, one channel."""
    weighted = levels * jnp.array([19595, 38470, 7471])
    return (jnp.sum(weighted, axis=-1, keepdims=True) + 0x8000) >> 16


def _to_hsv(rgb: Array) -> tuple[Array, Array, Array]:
    """Hue, saturation and value in levels.

    Integers throughout: Pillow cuts fractions off, and a hue that is one level away would move
    colours by up to six. Its float32 falls short of a few of the hues that are whole levels.
    """
    red, green, blue = (rgb[..., channel] for channel in range(3))
    value = jnp.max(rgb, axis=-1)
    span = value - jnp.min(rgb, axis=-1)
    sector = jnp.where(red == value, 0, jnp.where(green == value, 2, 4))
    ahead = jnp.where(sector == 0, green, jnp.where(sector == 2, blue, red))
    behind = jnp.where(sector == 0, blue, jnp.where(sector == 2, red, green))
    circle = 6 * jnp.maximum(span, 1)
    scaled = 255 * ((sector * span + ahead - behind) % circle)
    hue = scaled // circle
    falls_short = (scaled == hue * circle) & jnp.asarray(_hues_that_fall_short())[hue]
    return hue - falls_short, 255 * span // jnp.maximum(value, 1), value


@functools.cache
def _hues_that_fall_short() -> np.ndarray:
    """bool [256]: for which whole hues Pillow's arithmetic gives one level less; it is asked."""
    hue = np.arange(255)
    sixths = 2 * hue  # of 85 levels: a colour circle of 510 steps
    sector = sixths // 85
    rising, falling = 3 * (sixths % 85), 255 - 3 * (sixths % 85)
    full, none = np.full(255, 255), np.zeros(255, int)
    circle = np.array(
        [
            [full, rising, none],
            [falling, full, none],
            [none, full, rising],
            [none, falling, full],
            [rising, none, full],
            [full, none, falling],
        ]
    )
    colours = circle[sector, :, hue].astype(np.uint8)
    found = np.asarray(Image.fromarray(colours[None]).convert("HSV"))[0, :, 0]
    return np.append(found < hue, False)


def _from_hsv(hue: Array, saturation: Array, value: Array) -> Array:
    """Back to rgb in [0, 1], rounded to levels."""
    sector = 6 * hue // 255
    fraction = (6 * hue - 255 * sector) / 255
    strength = saturation / 255

    def level(share: Array) -> Array:
        return jnp.floor(value * (1 - strength * share) + 0.5)

    low, falling, rising = level(jnp.ones_like(strength)), level(fraction), level(1 - fraction)
    high = value.astype(low.dtype)
    choices = [
        (high, rising, low),
        (falling, high, low),
        (low, high, rising),
        (low, falling, high),
        (rising, low, high),
        (high, low, falling),
    ]
    sector = sector % 6
    channels = [
        jnp.select([sector == i for i in range(6)], [choice[channel] for choice in choices])
        for channel in range(3)
    ]
    return _from_levels(jnp.stack(channels, axis=-1))
