import json

import numpy as np
import pytest
from golden.arrays import load

from packnet_jax.data.jitter import STEPS, Jitter, apply_jitter, draw_jitter

SINGLE = [
    (step, factor)
    for step, factors in {
        "brightness": (0, 0.8, 1.2, 1.1371),
        "contrast": (0, 0.8, 1.2, 0.9213),
        "saturation": (0, 0.8, 1.2, 1.0777),
        "hue": (-0.5, -0.05, 0.002, 0.0312, 0.05, 0.5),
    }.items()
    for factor in factors
]


@pytest.mark.parametrize(("step", "factor"), SINGLE)
def test_each_step_equals_the_reference(parity, step, factor):
    golden, name = load("jitter"), f"{step}{factor}"
    jitter = Jitter(order=(step,))._replace(**{step: factor})
    jittered = apply_jitter(golden["in.rgb"], jitter)
    parity.compare("funcs/jitter", name, jittered, golden[name], tolerance=0)


def test_channel_gains_equal_the_reference(parity):
    golden = load("jitter")
    red, green, blue = golden["matrix"][[0, 5, 10]].tolist()
    jitter = Jitter(order=(), channel_gains=(red, green, blue))
    jittered = apply_jitter(golden["in.rgb"], jitter)
    parity.compare(
        "funcs/jitter", "matrix_applied", jittered, golden["matrix_applied"], tolerance=0
    )


@pytest.mark.parametrize("seed", [7, 11, 12])
def test_whole_draws_equal_the_reference(parity, seed):
    golden = load("jitter")
    draws = json.loads(str(golden[f"full.seed{seed}.log.json"]))["draws"]
    numbers = [draw for draw in draws if isinstance(draw, float)]
    order = next(tuple(draw[1:]) for draw in draws if isinstance(draw, list) and draw[0] == "order")
    gains = (numbers[4], numbers[5], numbers[6]) if len(numbers) > 4 else None
    brightness, contrast, saturation, hue = numbers[:4]
    jitter = Jitter(brightness, contrast, saturation, hue, order, gains)
    image = golden["in.rgb"]
    pictures = {"rgb": image, "context0": np.ascontiguousarray(image[:, ::-1])}
    for field, picture in pictures.items():
        name = f"full.seed{seed}.{field}"
        jittered = apply_jitter(picture, jitter)
        parity.compare("funcs/jitter", name, jittered, golden[name], tolerance=0)


def test_draws_stay_within_their_ranges_and_use_every_order():
    rng = np.random.default_rng(0)
    draws = [draw_jitter(rng, (0.2, 1.5, 0.0, 0.05, 0.1)) for _ in range(500)]
    brightness, contrast, hue = (
        np.array([getattr(draw, key) for draw in draws])
        for key in ("brightness", "contrast", "hue")
    )
    gains = np.array([draw.channel_gains for draw in draws])
    for values, low, high in (
        (brightness, 0.8, 1.2),
        (contrast, 0.0, 2.5),
        (hue, -0.05, 0.05),
        (gains, 0.9, 1.1),
    ):
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    assert {draw.saturation for draw in draws} == {1.0}
    assert len({draw.order for draw in draws}) == 24
    assert all(sorted(draw.order) == sorted(STEPS) for draw in draws)


def test_no_strength_leaves_the_image_as_it_is_up_to_hsv_rounding():
    image = load("jitter")["in.rgb"]
    jitter = draw_jitter(np.random.default_rng(0), (0, 0, 0, 0))
    assert jitter.channel_gains is None
    jittered = apply_jitter(image, jitter._replace(order=("brightness", "contrast", "saturation")))
    np.testing.assert_array_equal(jittered, image)


@pytest.mark.parametrize("strengths", [(0.1,), (0.1, 0.1, 0.1, 0.6), (-0.1, 0, 0, 0), (0,) * 6])
def test_impossible_strengths_are_refused(strengths):
    with pytest.raises(ValueError, match="Jitter strengths"):
        draw_jitter(np.random.default_rng(0), strengths)


def test_an_unknown_step_is_refused():
    with pytest.raises(ValueError, match="sharpness"):
        apply_jitter(np.zeros((2, 2, 3), np.uint8), Jitter(order=("sharpness",)))
