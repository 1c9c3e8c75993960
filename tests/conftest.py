"""Four CPU devices for every test, set before jax is first used, and one cache of compiled programs
for all workers; the table of golden parity."""

import json
import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import cli
import jax
import pytest
from golden import parity as parity_lib

NUM_DEVICES = 4
jax.config.update("jax_num_cpu_devices", NUM_DEVICES)

PARITY_INTRODUCTION = """\
# Parity with the original

Made by `make parity` (with `PACKNET_JAX_TEST_DATA` and `PACKNET_JAX_TEST_REFERENCE` set, for the
`end_to_end` and `real` rows): every comparison of a test with an array that the original computed
(torch 1.8.1, CPU). Each golden set shows the comparison that came nearest to its tolerance. Errors
are absolute or in units of the array's largest value, as its tolerance is; the last column is what
the original's own float32 run differs from its float64 run, in the same units, where recorded.

"""
rows: list[parity_lib.Row] = []
compiled = cli.share_compiled()
jax.config.update("jax_compilation_cache_dir", cli.compiled_folder(NUM_DEVICES))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def pytest_addoption(parser):
    parser.addoption(
        "--parity", metavar="FILE", help="run the golden tests alone, and write their table there"
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--parity"):  # the table needs no other tests
        chosen = [item for item in items if "parity" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


@pytest.fixture
def parity(record_property):
    """Compares with golden arrays, and remembers how close they came."""
    return parity_lib.Parity(record_property)


def pytest_runtest_logreport(report):
    if report.when == "call":
        found = (v for name, v in report.user_properties if name == parity_lib.PROPERTY)
        rows.extend(parity_lib.Row(*json.loads(value)) for value in found)


def pytest_sessionfinish(session):
    path = session.config.getoption("--parity")
    if path and rows and not hasattr(session.config, "workerinput"):  # not in xdist's workers
        Path(path).write_text(PARITY_INTRODUCTION + parity_lib.table(rows))
