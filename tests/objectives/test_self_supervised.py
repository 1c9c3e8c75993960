"""What the configuration says of the photometric loss reaches it."""

import dataclasses

import pytest

from packnet_jax.loss_config import LossConfig
from packnet_jax.losses.photometric import PhotometricSettings
from packnet_jax.objectives.self_supervised import photometric_settings

CHANGED = {
    "num_scales": 2,
    "ssim_loss_weight": 0.5,
    "smooth_loss_weight": 0.1,
    "C1": 1e-3,
    "C2": 2e-3,
    "photometric_reduce_op": "mean",
    "clip_loss": 0.5,
    "automask_loss": False,
    "padding_mode": "border",
    "progressive_scaling": 0.2,
}


def test_the_loss_and_its_configuration_have_the_same_defaults():
    assert photometric_settings(LossConfig()) == PhotometricSettings()


def test_every_setting_reaches_the_loss():
    assert dataclasses.asdict(photometric_settings(LossConfig(**CHANGED))) == CHANGED


def test_settings_that_can_not_be_are_refused():
    with pytest.raises(ValueError, match="automask_loss"):
        photometric_settings(LossConfig(photometric_reduce_op="mean"))
