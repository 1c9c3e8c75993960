"""Colour jitter: brightness, contrast, saturation and hue, in a random order.

The same draw is applied to a target and its context, so that the scene keeps its looks.

Source: packnet-sfm `datasets/augmentations.py: random_color_jitter_transform`; the single steps
are those of torchvision 0.9 on Pillow images.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance

from packnet_jax import augment

STEPS = ("brightness", "contrast", "saturation", "hue")


class Jitter(NamedTuple):
    """One draw."""

    brightness: float = 1.0
    """Factor; 0 is black, 1 leaves the image as it is."""

    contrast: float = 1.0
    """Factor around the mean grey; 0 is uniform."""

    saturation: float = 1.0
    """Factor; 0 is grey."""

    hue: float = 0.0
    """Turn of the colour circle, in [-0.5, 0.5]."""

    order: tuple[str, ...] = STEPS
    """The order of the steps."""

    channel_gains: tuple[float, float, float] | None = None
    """Factors of red, green and blue, applied last; None for none."""


def draw_jitter(rng: np.random.Generator, strengths: Sequence[float]) -> Jitter:
    """Draws each factor uniformly from [max(0, 1 - s), 1 + s], the hue from [-s, s].

    Args:
        rng: the only source of randomness.
        strengths: (brightness, contrast, saturation, hue), and optionally one more for the gains
            of the colour channels; none is negative, the hue is at most 0.5.
    """
    if len(strengths) not in (4, 5) or min(strengths) < 0 or strengths[3] > 0.5:
        raise ValueError(
            "Jitter strengths are (brightness, contrast, saturation, hue[, channel gains]), not "
            f"negative and with hue <= 0.5, but these are {tuple(strengths)}."
        )

    def factor(strength: float) -> float:
        return float(rng.uniform(max(0.0, 1.0 - strength), 1.0 + strength))

    brightness, contrast, saturation = map(factor, strengths[:3])
    hue = float(rng.uniform(-strengths[3], strengths[3]))
    order = tuple(STEPS[i] for i in rng.permutation(len(STEPS)))
    gains = None
    if len(strengths) == 5 and strengths[4] > 0:
        red, green, blue = rng.uniform(1.0 - strengths[4], 1.0 + strengths[4], size=3).tolist()
        gains = (red, green, blue)
    return Jitter(brightness, contrast, saturation, hue, order, gains)


def for_device(jitter: Jitter) -> augment.Jitter:
    """The same draw for `packnet_jax.augment.apply_jitter`, in numpy.

    Pillow itself takes factors as float32. A turn of the hue is cut off to whole levels of 255 in
    float64; float32 might land on the next one, so the turn that goes is inside of the level.
    """
    level = np.trunc(jitter.hue * 255) + np.copysign(0.5, jitter.hue)
    return augment.Jitter(
        brightness=np.float32(jitter.brightness),
        contrast=np.float32(jitter.contrast),
        saturation=np.float32(jitter.saturation),
        hue=np.float32(level / 255),
        order=np.array([augment.STEPS.index(step) for step in jitter.order], np.int32),
        channel_gains=np.array(jitter.channel_gains or (1, 1, 1), np.float32),
    )


def apply_jitter(image: np.ndarray, jitter: Jitter) -> np.ndarray:
    """Applies one draw to uint8 [h, w, 3]; every step rounds to uint8."""
    picture = Image.fromarray(image)
    for step in jitter.order:
        if step == "brightness":
            picture = ImageEnhance.Brightness(picture).enhance(jitter.brightness)
        elif step == "contrast":
            picture = ImageEnhance.Contrast(picture).enhance(jitter.contrast)
        elif step == "saturation":
            picture = ImageEnhance.Color(picture).enhance(jitter.saturation)
        elif step == "hue":
            picture = _turn_hue(picture, jitter.hue)
        else:
            raise ValueError(f"Jitter step {step!r} is unknown; the steps are {STEPS}.")
    if jitter.channel_gains is not None:
        red, green, blue = jitter.channel_gains
        picture = picture.convert("RGB", (red, 0, 0, 0, 0, green, 0, 0, 0, 0, blue, 0))
    return np.asarray(picture)


def _turn_hue(picture: Image.Image, turn: float) -> Image.Image:
    hue, saturation, value = picture.convert("HSV").split()
    shift = int(turn * 255) % 256  # truncated towards zero first, then wrapped
    turned = Image.fromarray(np.asarray(hue) + np.uint8(shift))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")
