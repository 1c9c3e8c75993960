"""Machines that can be rented, by their data sheets: chips, how many, and how they are wired.

Rates are peaks: nobody measured them here. Sheets give the sum over all links of a chip; here a
rate is that of one link in one direction.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from packnet_jax.errors import ConfigError


class Chip(NamedTuple):
    """One accelerator."""

    flops: float
    """Peak of products of matrices in bfloat16, dense."""
    memory_bytes: float
    memory_bytes_per_s: float
    link_bytes_per_s: float
    """What one link sends in one direction; of a GPU all of NVLink, through its switch."""
    network_bytes_per_s: float
    """Each chip's share of the network between machines, in one direction; 0 where chips are linked
    across machines as they are inside."""
    cpus: float
    """Virtual CPUs of the machine for each of its chips."""


V5E = Chip(197e12, 16e9, 819e9, 50e9, 0, 28)
"""Source: cloud.google.com/tpu/docs/v5e: 197 TFLOP/s, 16 GB at 819 GB/s, 1600 Gbit/s over four
links, 112 vCPUs for four chips (ct5lp-hightpu-4t)."""

V5P = Chip(459e12, 95 * 2**30, 2765e9, 100e9, 0, 52)
"""Source: cloud.google.com/tpu/docs/v5p: 459 TFLOP/s, 95 GiB at 2765 GB/s, 4800 Gbit/s over six
links, 208 vCPUs for four chips."""

H100 = Chip(989e12, 80e9, 3350e9, 450e9, 50e9, 28)
"""Source: nvidia.com/en-us/data-center/h100 (SXM: 1979 TFLOP/s with sparsity, half of it dense; 80
GB at 3.35 TB/s; NVLink 900 GB/s, both directions together), and of the DGX H100 one InfiniBand port
of 400 Gbit/s and 28 of 224 threads for each GPU."""

GPUS_PER_MACHINE = 8

V5E_SHAPES = {
    1: (1, 1),
    4: (2, 2),
    8: (2, 4),
    16: (4, 4),
    32: (4, 8),
    64: (8, 8),
    128: (8, 16),
    256: (16, 16),
}
"""By chips. Source: cloud.google.com/tpu/docs/v5e."""

V5P_SHAPES = {
    8: (2, 2, 1),
    16: (2, 2, 2),
    64: (2, 4, 4),
    128: (4, 4, 4),
    256: (4, 4, 8),
    512: (4, 8, 8),
    1024: (8, 8, 8),
}
"""By TensorCores, after which Google names slices: a chip has two of them, and jax sees chips.
Source: cloud.google.com/tpu/docs/v5p."""


class Grid(NamedTuple):
    """Chips that train together."""

    name: str
    chip: Chip
    num_chips: int
    chips_per_machine: int
    links: int = 1
    """Of the chip that has fewest inside the grid; of GPUs NVLink counts as one."""

    @property
    def num_machines(self) -> int:
        return -(-self.num_chips // self.chips_per_machine)

    def all_reduce_seconds(self, num_bytes: float) -> float:
        """Until every chip has the sum of all chips' arrays of so many bytes.

        Each chip sends (n-1)/n of the array to have it summed in parts, and as much again to have
        the parts everywhere. On a torus the bytes are spread over all links, and a corner with few
        of them holds up the rest. GPUs first sum inside each machine; then each sends its part
        between machines, and at last inside again.
        """
        network = self.chip.network_bytes_per_s
        within = min(self.num_chips, self.chips_per_machine) if network else self.num_chips
        across = self.num_chips // within
        seconds = 2 * (1 - 1 / within) * num_bytes / (self.links * self.chip.link_bytes_per_s)
        if across > 1:
            seconds += 2 * (1 - 1 / across) * (num_bytes / within) / network
        return seconds


def parse_grid(name: str) -> Grid:
    """The grid of a name: `v5e-CHIPS`, `v5p-TENSORCORES` (as Google counts) or `h100-GPUS`.

    Raises:
        ConfigError: there is none.
    """
    kind, _, word = name.partition("-")
    size = int(word) if word.isdecimal() else 0
    if kind == "v5e" and size in V5E_SHAPES:
        shape = V5E_SHAPES[size]
        per_machine = size if size <= 8 else 4
        return Grid(name, V5E, size, per_machine, _links(shape, [length == 16 for length in shape]))
    if kind == "v5p" and size in V5P_SHAPES:
        shape = V5P_SHAPES[size]
        is_torus = all(length % 4 == 0 for length in shape)
        return Grid(name, V5P, math.prod(shape), 4, _links(shape, [is_torus] * 3))
    if kind == "h100" and size and (size < GPUS_PER_MACHINE or size % GPUS_PER_MACHINE == 0):
        return Grid(name, H100, size, GPUS_PER_MACHINE)
    raise ConfigError(
        f"--grids: given {name!r}; expected v5e-N (N chips: {_listed(V5E_SHAPES)}), v5p-N (N "
        f"TensorCores, two to a chip: {_listed(V5P_SHAPES)}) or h100-N (N GPUs: up to "
        f"{GPUS_PER_MACHINE}, or a multiple of it)"
    )


def _links(shape: tuple[int, ...], wraps: list[bool]) -> int:
    """Of a corner: two along an axis whose ends are joined, else one; none where it is alone.

    v5e joins axes of 16, v5p whole cubes of 4x4x4. Source: jax-ml.github.io/scaling-book/tpus, and
    Google's page on v5p.
    """
    lengths = zip(shape, wraps, strict=True)
    return max(1, sum((2 if joined else 1) for length, joined in lengths if length > 1))


def _listed(shapes: Mapping[int, tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))
