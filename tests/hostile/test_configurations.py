"""Configurations that somebody made up: a mistake is one of our errors."""

import contextlib
import json

import fuzz
import pytest
from absl import flags
from hypothesis import strategies as st
from ml_collections import config_flags

from packnet_jax import config as config_lib
from packnet_jax.command_line import DEFAULTS, parse_flags
from packnet_jax.convert.yacs_config import to_yacs, translate
from packnet_jax.convert.yacs_defaults import DEFAULTS as YACS
from packnet_jax.errors import CheckpointError, ConfigError
from packnet_jax.run_changes import changes_between

OURS = json.loads(json.dumps(config_lib.to_json_dict(config_lib.Config())))
FIELDS = (
    *("seed", "objective", "data.image_shape", "data.cameras", "data.jittering", "data.strides"),
    *("data.crop_train_borders", "data.allow_missing", "data.frames.pattern", "train.batch_size"),
    *("optim.depth.lr", "model.depth_net.name", "model.depth_net", "loss.num_scales", "no.such"),
    *("data.more_train[0].root", "data.image_shape[0]", "data.image_shape[9]", "", ".", "data"),
)
VALUES = st.one_of(
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        [
            *("(1,", "((((", "(" * 5000, "[]" * 500, "()", "(32,64)", "{}", "1e999", "9" * 5000),
            *("__import__('os').system('true')", "lambda: 0", "1 if 1 else 2", "None", "True"),
            *("9**9**9", "'a'*9**9", "\0", "\ud800", "-1", "nan", "1,2,3", "(1,2)*999", "0x10"),
        ]
    ),
)


@fuzz.SHORT_AND_LONG
def test_any_tree_is_a_configuration_or_a_config_error(effort):
    def resolve(tree: object) -> None:
        with contextlib.suppress(ConfigError):
            config = config_lib.resolve(tree)  # pyright: ignore
            assert config_lib.resolve(config_lib.to_json_dict(config)) == config

    fuzz.check(resolve, fuzz.mutated_tree(OURS, changes=2), examples=150 * effort)


@fuzz.SHORT_AND_LONG
def test_a_run_s_configuration_is_compared_whatever_its_checkpoint_says(effort):
    def compare(tree: object) -> None:
        if isinstance(tree, dict):  # all else is refused where it is read
            assert all(str(change) for change in changes_between(tree, config_lib.Config()))

    fuzz.check(compare, fuzz.mutated_tree(OURS), examples=60 * effort)


@fuzz.SHORT_AND_LONG
def test_any_flags_are_a_configuration_or_a_config_error(monkeypatch, effort):
    def parse(overrides: list[tuple[str, str]]) -> None:
        own = flags.FlagValues()
        monkeypatch.setattr(flags, "FLAGS", own)
        config_flags.DEFINE_config_file("config", None, lock_config=True, flag_values=own)
        argv = [f"--config.{field}={value}" for field, value in overrides]
        with contextlib.suppress(ConfigError):
            parse_flags(["main", f"--config={DEFAULTS}", *argv], needs_config=lambda: True)
            config_lib.resolve(own["config"].value)

    override = st.tuples(st.sampled_from(FIELDS), VALUES)
    fuzz.check(parse, st.lists(override, min_size=1, max_size=3), examples=60 * effort)


@fuzz.SHORT_AND_LONG
def test_any_configuration_of_the_original_is_translated_or_refused(effort):
    def through(tree: object) -> None:
        with contextlib.suppress(CheckpointError):
            to_yacs(translate(tree).config, {})  # pyright: ignore

    fuzz.check(through, fuzz.mutated_tree(YACS), examples=60 * effort)


@pytest.mark.parametrize("lr", [10**400, -(10**400), float("nan"), float("inf")])
def test_numbers_that_no_float_holds_are_refused(lr):
    with pytest.raises(ConfigError, match=r"optim\.depth\.lr"):
        config_lib.resolve({"optim": {"depth": {"lr": lr}}})
