"""The latency of inference: its tables, and its command line."""

import subprocess
import sys

import pytest
from cli import ROOT, environment

pytestmark = pytest.mark.slow


def start(*flags):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.latency", *flags],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )


def test_every_table_has_its_rows():
    ended = start("--height=32", "--width=64", "--rounds=1", "--dtypes=bfloat16")
    assert ended.returncode == 0, ended.stderr
    title, *lines = ended.stdout.splitlines()
    assert title.startswith("DepthResNet 18, 32x64, ")
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    _, _, pair, _, _, *latency = rows
    assert pair[0] == "1" and float(pair[3]) > 0
    assert [row[:3] for row in latency] == [["bfloat16", "1", flip] for flip in ("no", "yes")]
    for row in latency:
        network, served, beside = (float(cell.removesuffix(" ms")) for cell in row[3:])
        assert 0 < network < served and beside > 0
    assert sum(line.startswith("call, ") for line in lines) == 2


@pytest.mark.parametrize(
    "flag",
    [
        "--only=pairs",
        "--only=",
        "--batch_sizes=x",
        "--batch_sizes=",
        "--dtypes=float16",
        "--height=191",
        "--width=0",
        "--rounds=0",
        "--network=DepthNet",
    ],
)
def test_what_does_not_fit_is_one_message(flag):
    ended = start(flag)
    assert ended.returncode == 2 and not ended.stdout
    assert ended.stderr.count("\n") == 1 and ended.stderr.startswith("ConfigError: ")
    assert flag.split("=")[0].removeprefix("--").removesuffix("s") in ended.stderr
