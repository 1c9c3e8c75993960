"""docs/differences.md is complete and true: its tests exist, every `Differs:` has a row."""

import ast
import re
from pathlib import Path

import jax.numpy as jnp
import pytest

from packnet_jax import config as config_lib
from packnet_jax.checkpointer import Checkpointer
from packnet_jax.errors import ConfigError

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "differences.md").read_text()


def functions_of(path):
    return {n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)}


def test_every_test_that_the_page_names_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 40
    for file, test in named:
        assert test in functions_of(ROOT / file), f"{file}::{test}"


def test_every_known_quirk_has_a_row_with_a_decision():
    rows = re.findall(r"^\| (\d+) \|[^|]+\| ([^|]+)\|", PAGE, re.MULTILINE)
    assert {int(number) for number, _ in rows} == set(range(1, 16))
    for number, decision in rows:
        assert re.match(r"\*\*(reproduced|fixed|later)\*\*", decision), number


def docstrings_that_differ():
    """Names of functions, classes and modules whose docstring has a `Differs:`."""
    for folder in ("packnet_jax", "tfds_builders"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                    continue
                if "Differs:" in (ast.get_docstring(node) or ""):
                    yield path.stem if isinstance(node, ast.Module) else node.name


def test_every_departure_of_a_docstring_has_a_row():
    names = list(docstrings_that_differ())
    assert len(names) > 10
    without = [name for name in names if f"`{name}`" not in PAGE]
    assert not without, "add their rows to docs/differences.md"


def test_progressive_scaling_is_off_by_default():
    assert config_lib.LossConfig().progressive_scaling == 0


def test_a_version_that_is_a_number_is_refused_by_name():
    raw = config_lib.default().to_dict()
    raw["model"]["depth_net"]["version"] = 18
    with pytest.raises(ConfigError, match=r"depth_net.version: given 18 \(int\), expected str"):
        config_lib.resolve(raw)


@pytest.mark.parametrize("name", ["disp_norm", "occ_reg_weight"])
def test_options_without_effect_do_not_exist(name):
    raw = config_lib.default().to_dict()
    raw["loss"][name] = 0.1
    with pytest.raises(ConfigError, match=f"config.loss.{name}: unknown field"):
        config_lib.resolve(raw)


def test_a_metric_of_zero_is_the_best(tmp_path):
    monitor = "depth_pp_gt/abs_rel"
    with Checkpointer(tmp_path, keep_latest=1, keep_best=1, monitor=monitor) as checkpointer:
        for step, value in [(1, 0.2), (2, 0.0), (3, 0.1)]:
            checkpointer.save(
                step,
                variables={"w": jnp.zeros(3)},
                training={"step": jnp.asarray(step)},
                config=config_lib.default().to_dict(),
                metrics={monitor: value},
            )
            checkpointer.wait()
        assert checkpointer.steps() == [2, 3]
