"""What is measured of the input."""

import pytest

from benchmarks import cases
from benchmarks.plan import INPUT_VARIANTS, Case
from packnet_jax.data import store

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("variant", INPUT_VARIANTS)
def test_every_variant_is_measured(variant):
    found = cases.measure_input(Case("input", variant, height=32, width=64, batch=2), 2)
    assert len(found.seconds) == 2 and min(found.seconds) > 0
    assert (found.per_round, found.unit) == (2, "samples")


def test_stored_pictures_are_bitmaps_of_the_network_s_size(tmp_path):
    pictures = cases._stored_pictures((32, 64), str(tmp_path))
    assert pictures.framing == store.Framing((32, 64))
    assert pictures[0].encoded["image"].startswith(b"BM")
