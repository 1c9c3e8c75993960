"""Warnings that are held back, and come back."""

import pytest
from absl import logging

from packnet_jax.quiet import without_warnings


def test_only_errors_are_reported_within_and_all_as_before_after():
    before = logging.get_verbosity()
    with without_warnings():
        assert logging.get_verbosity() == logging.ERROR
    assert logging.get_verbosity() == before


def test_an_error_inside_restores_the_verbosity():
    before = logging.get_verbosity()
    with pytest.raises(KeyError), without_warnings():
        raise KeyError
    assert logging.get_verbosity() == before
