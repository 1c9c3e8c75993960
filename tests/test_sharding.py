"""Where batches are put, and when."""

import jax
import numpy as np
import pytest

from packnet_jax import sharding
from packnet_jax.errors import ConfigError


@pytest.mark.parametrize("count", [1, 2, 5])
def test_batches_come_in_order_and_are_placed_one_ahead(count):
    made = []

    def batches():
        for number in range(count):
            made.append(number)
            yield {"number": np.full(4, number)}

    mesh = sharding.make_mesh()
    for number, batch in enumerate(sharding.placed_ahead(batches(), mesh)):
        assert len(made) == min(number + 2, count)
        assert isinstance(batch["number"], jax.Array)
        assert len(batch["number"].sharding.device_set) == mesh.size
        np.testing.assert_array_equal(batch["number"], number)
    assert number == count - 1


def test_no_batches_are_none():
    assert list(sharding.placed_ahead([], sharding.make_mesh())) == []


@pytest.mark.parametrize(("batch_size", "accumulate"), [(6, 1), (8, 4)])
def test_a_batch_that_devices_can_not_share_is_refused(batch_size, accumulate):
    mesh = sharding.make_mesh(4)
    with pytest.raises(ConfigError, match="use a multiple of"):
        sharding.check_batch_size(batch_size, mesh, accumulate=accumulate)
