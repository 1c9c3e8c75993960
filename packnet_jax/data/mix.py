"""Several sets as one: the running number of a sample, and how often it comes."""

import math
from collections.abc import Sequence

import numpy as np


class Mix:
    """Samples of several sets, numbered set after set.

    Over an epoch each set comes as often as its repeat says. A pass is the shortest part of an
    epoch with the sets in that ratio: for repeats (4, 2) it has the first set's samples twice and
    the second's once, and an epoch is two passes. A set alone comes once in a pass.
    """

    def __init__(self, sizes: Sequence[int], repeats: Sequence[int]):
        """Args:
        sizes: number of samples of each set.
        repeats: how often each comes in an epoch, at least 1.
        """
        self.passes_per_epoch = math.gcd(*repeats)
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes
        self.one_pass = np.concatenate(
            [
                np.tile(np.arange(start, end), repeat // self.passes_per_epoch)
                for start, end, repeat in zip(self._starts, self._ends, repeats, strict=True)
            ]
        )
        """Every sample's number, as often as it comes in a pass, set after set."""

    def __len__(self) -> int:
        """How many different samples there are."""
        return int(self._ends[-1])

    def locate(self, number: int) -> tuple[int, int]:
        """The set that a sample is of, and its position there."""
        which = int(np.searchsorted(self._ends, number, side="right"))
        return which, number - int(self._starts[which])
