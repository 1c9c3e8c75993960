"""Every public function of the mathematical packages has a golden test or a law."""

import coverage_table

MODULE = """
from typing import NamedTuple

class Record(NamedTuple):
    field: int

def compared(): ...
def proven(): ...
def reached_by_helper(): ...
def only_called_by_compared(): ...
def only_mentioned(): ...
def _private(): ...
"""

HELPERS = """
from packnet_jax.losses.one import reached_by_helper

def help():
    return reached_by_helper()
"""

TESTS = '''
"""only_mentioned"""
import pytest
from helpers import help
from packnet_jax.losses import one
from packnet_jax.losses.one import only_mentioned, proven

TABLE = {"compared": lambda: one.compared()}

@pytest.fixture
def case():
    return help()

@pytest.mark.parametrize("entry", TABLE)
def test_golden(entry, parity):
    parity.compare(TABLE[entry]())

def test_law(case):
    assert proven() == case
'''

NETWORKS = """
from functools import partial
from packnet_jax.networks.nets import First, Second

def _seconds():
    return {"1A": partial(Second, skip=True)}

DEPTH_NETS = {"FirstNet": {"": First}, "SecondNet": _seconds()}

def make_depth_net(name, version): ...
"""

NETWORK_TESTS = """
from packnet_jax.networks import make_depth_net

def test_second(parity):
    parity.compare(make_depth_net(*"SecondNet_1A".split("_")))
"""


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_what_counts_and_what_does_not(tmp_path):
    write(
        tmp_path,
        {
            "packnet_jax/losses/one.py": MODULE,
            "packnet_jax/other.py": "def elsewhere(): ...",
            "tests/helpers.py": HELPERS,
            "tests/losses/test_one.py": TESTS,
        },
    )
    found = coverage_table.coverage(tmp_path)
    short = {name.removeprefix("packnet_jax.losses.one."): tests for name, tests in found.items()}
    nothing, law = ((), ()), ((), ("losses.test_one: test_law",))
    assert short == {
        "compared": (("losses.test_one: test_golden",), ()),
        "proven": law,
        "reached_by_helper": law,
        "only_called_by_compared": nothing,
        "only_mentioned": nothing,
    }


def test_a_network_counts_where_it_is_made_by_name(tmp_path):
    write(
        tmp_path,
        {
            "packnet_jax/networks/__init__.py": NETWORKS,
            "packnet_jax/networks/nets.py": "class First: ...\nclass Second: ...",
            "tests/test_nets.py": NETWORK_TESTS,
        },
    )
    found = coverage_table.coverage(tmp_path)
    assert found["packnet_jax.networks.nets.Second"].golden == ("test_nets: test_second",)
    assert found["packnet_jax.networks.nets.First"] == ((), ())


def test_the_page_shows_files_and_names(tmp_path):
    tests = coverage_table.Coverage(("a.test_b: test_c", "a.test_b: test_d"), ())
    page = coverage_table.table({"packnet_jax.losses.ssim.ssim": tests})
    assert "## packnet_jax.losses.ssim" in page
    assert "| `ssim` | a/test_b: c, d |  |" in page


def test_every_public_function_has_a_test():
    found = coverage_table.coverage(coverage_table.ROOT)
    assert len(found) > 50
    without = [name for name, tests in found.items() if not tests.golden and not tests.laws]
    assert not without, "add a golden test or a law, or make it private"
