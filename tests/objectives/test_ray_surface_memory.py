"""The memory of a training step, in a process of its own."""

import re
import subprocess
import sys

import pytest
from cli import ROOT, environment


@pytest.mark.soak
def test_a_step_of_four_samples_of_96x96_stays_below_4_gib():
    command = [sys.executable, "benchmarks/ray_surface_memory.py", "--batch_sizes=4"]
    output = subprocess.run(
        command, cwd=ROOT, env=environment(), check=True, capture_output=True, text=True
    ).stdout
    row = re.search(r"^\| 4 \| \S+ GiB \| \S+ GiB \| (\S+) GiB \| \S+ s \|$", output, re.MULTILINE)
    assert row, output
    assert 0.5 < float(row[1]) < 4, output
