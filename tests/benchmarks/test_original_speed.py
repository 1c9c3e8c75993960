"""The original's benchmark says what it lacks; what it measures needs torch and a checkout."""

import importlib.util
import subprocess
import sys

import pytest
from cli import ROOT, environment

from benchmarks import original_cases as original
from benchmarks.plan import Case
from packnet_jax.errors import PacknetError


def start(*flags):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.original", *flags],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--original=nowhere", "PacknetError: "),
        ("--networks=PackNetSAN01", "ConfigError: --networks"),
        ("--only=backward", "ConfigError: --only"),
        ("--batch_sizes=x", "ConfigError: --batch_sizes"),
        ("--device=tpu", "ConfigError: "),
    ],
)
def test_what_does_not_fit_is_one_message(flag, message):
    ended = start(flag)
    assert ended.returncode == 2 and not ended.stdout
    assert ended.stderr.count("\n") == 1 and ended.stderr.startswith(message)


def test_missing_libraries_are_named(monkeypatch, tmp_path):
    found = importlib.util.find_spec
    absent = {"torch", "torchvision"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else found("json")
    )
    with pytest.raises(PacknetError, match=r"needs torch, torchvision, not .*pip install"):
        original.check(str(tmp_path), "cpu")


@pytest.mark.parametrize("given", [None, "", "nowhere", "."])
def test_a_folder_without_the_original_is_named(given, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PacknetError, match=f"--original: given {given!r}; expected a folder"):
        original.check(given, "cpu")


def test_a_folder_with_it_is_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    (tmp_path / "packnet_sfm" / "networks").mkdir(parents=True)
    assert original.check(str(tmp_path), "cpu") == str(tmp_path)


def test_what_fails_is_a_record_s_error():
    """Here the original itself is not there."""
    case = Case("forward", "original", "PackNet01", 32, 64, 1, "float32", "reference")
    found = original.measure_apart(case, original.Setting("nowhere", "cpu", False, 1))
    assert found.keys() == {"error"} and "ModuleNotFoundError" in found["error"]
