"""Start-up, in fresh processes."""

import pytest

from benchmarks.plan import Case
from benchmarks.start_up import measure_start


def test_a_start_takes_time_and_memory():
    found = measure_start(Case("import", "json"), 2)
    assert len(found.seconds) == 2 and min(found.seconds) > 1e-3
    assert found.peak_memory_bytes and found.peak_memory_bytes > 2**20


def test_a_start_that_fails_is_an_error():
    with pytest.raises(RuntimeError, match=r"import packnet_jax.nothing ends with 1"):
        measure_start(Case("import", "packnet_jax.nothing"), 1)
