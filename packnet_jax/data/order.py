"""The endless order of samples."""

import functools
import sys

import numpy as np


class SampleOrder:
    """Positions of samples, pass after pass over all of them, each pass in its own order.

    Samples that belong together, so many in a row, stay in a row.

    Pass p is numpy's `default_rng([seed, p]).permutation`, so that any place in the stream is
    known at once. (Grain's own shuffle takes milliseconds per element for sets of a few samples.)
    """

    def __init__(self, num_samples: int, *, seed: int, shuffle: bool, together: int = 1):
        """Args:
        num_samples: in one pass, at least 1 and a multiple of `together`.
        seed: not negative.
        shuffle: False for the order of the split in every pass.
        together: how many samples in a row belong together.
        """
        if seed < 0:
            raise ValueError(f"The data seed is {seed}, but it must not be negative.")
        self._num_samples = num_samples
        self._together = together
        self._shuffle = shuffle

        @functools.lru_cache(maxsize=4)  # a pass is asked for again and again
        def permutation(number: int) -> np.ndarray:
            return np.random.default_rng([seed, number]).permutation(num_samples // together)

        self._permutation = permutation

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> int:
        number, within = divmod(int(index), self._num_samples)
        if not self._shuffle:
            return within
        group, member = divmod(within, self._together)
        return int(self._permutation(number)[group]) * self._together + member
