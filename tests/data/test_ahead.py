import threading

import grain
import pytest

from packnet_jax.data.ahead import read_ahead


@pytest.mark.parametrize("prefetch", [1, 8])
def test_all_threads_work_at_once(prefetch):
    """However few elements are to be kept ready: none returns before all have begun."""
    threads = 4
    together = threading.Barrier(threads, timeout=60)

    def prepare(number: int) -> int:
        if number < threads:
            together.wait()
        return number

    elements = grain.MapDataset.range(12).map(prepare)
    assert list(elements.to_iter_dataset(read_ahead(threads, prefetch))) == list(range(12))


def test_without_threads_nothing_is_prepared_before_it_is_asked_for():
    begun: list[int] = []

    def prepare(number: int) -> int:
        begun.append(number)
        return number

    elements = iter(grain.MapDataset.range(3).map(prepare).to_iter_dataset(read_ahead(0, 8)))
    assert next(elements) == 0 and begun == [0]
