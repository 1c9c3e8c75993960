"""How fast the input is: what a sample costs, and what the data cost the caller."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from packnet_jax.data.packed import PackedBatch


class SampleMeter:
    """Processor time that samples took, summed over threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._seconds, self._count = 0.0, 0

    @contextmanager
    def measure(self, *, samples: int) -> Iterator[None]:
        """Adds the time that is spent within, and so many samples to what was made in it."""
        before = time.thread_time()
        yield
        seconds = time.thread_time() - before
        with self._lock:
            self._seconds += seconds
            self._count += samples

    @property
    def samples_per_second(self) -> float:
        """Samples that one core makes in a second; 0 before the first."""
        with self._lock:
            return self._count / self._seconds if self._seconds else 0.0


class BatchIterator(Iterator[PackedBatch]):
    """Batches in order, with a note of how fast they come."""

    def __init__(self, batches: Iterator[PackedBatch], meter: SampleMeter):
        self._batches, self._meter = batches, meter
        self._started, self._waited = time.perf_counter(), 0.0

    def __next__(self) -> PackedBatch:
        before = time.perf_counter()
        batch = next(self._batches)
        self._waited += time.perf_counter() - before
        return batch

    @property
    def samples_per_second(self) -> float:
        """Samples that one core makes in a second: the input's rate if nothing else ran."""
        return self._meter.samples_per_second

    @property
    def wait_fraction(self) -> float:
        """Share of the time since the iterator was made that its caller waited for data."""
        return self._waited / max(time.perf_counter() - self._started, 1e-9)
