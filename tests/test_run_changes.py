"""Which changes of a configuration a run survives, and that every field's name is real."""

import dataclasses
import json

import pytest
from flax.traverse_util import flatten_dict
from saved_steps import opened, tree

from packnet_jax import checkpoint, runs
from packnet_jax import config as config_lib
from packnet_jax.config import Config
from packnet_jax.errors import ConfigError
from packnet_jax.run_changes import BINDING, changes_between


def changed(**fields):
    raw = config_lib.default()
    raw.data.root = "somewhere"
    raw.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    return config_lib.resolve(raw)


def prepared(workdir, config, **options):
    runs.prepare_run(workdir, config, **({"allow_changes": False} | options))


def trained(workdir, config, step=1):
    """A run that has saved a checkpoint."""
    prepared(workdir, config)
    variables, training = tree(step)
    with opened(workdir) as checkpointer:
        raw = config_lib.to_json_dict(config)
        checkpointer.save(step, variables=variables, training=training, config=raw)


def test_every_binding_field_is_one_of_the_configuration():
    known = flatten_dict(config_lib.to_json_dict(Config()), sep=".")
    assert set(BINDING) <= set(known)


def test_the_same_again_changes_nothing(tmp_path, caplog):
    trained(tmp_path, changed())
    prepared(tmp_path, changed())
    assert not caplog.records


def test_a_start_that_has_failed_before_its_first_checkpoint_binds_nobody(tmp_path, caplog):
    """Such as one with the wrong folder of data, after which more is set right."""
    prepared(tmp_path, changed())
    prepared(tmp_path, changed(data__image_shape=(96, 320)))
    assert not caplog.records


def test_a_change_that_was_confirmed_and_came_to_nothing_is_no_change(tmp_path, caplog):
    """The checkpoint says what the parameters mean, and not what was tried since."""
    other = changed(data__back_context=0)
    trained(tmp_path, changed())
    prepared(tmp_path, other, allow_changes=True)
    with pytest.raises(ConfigError, match=r"data\.back_context: 1 there, 0 given"):
        prepared(tmp_path, other)
    caplog.clear()
    prepared(tmp_path, changed())
    assert not caplog.records


def test_of_damaged_checkpoints_the_one_before_says_what_was_trained_with(tmp_path):
    trained(tmp_path, changed(), step=1)
    trained(tmp_path, changed(seed=7), step=2)
    (stored,) = (tmp_path / "checkpoints" / "00000002" / "config").glob("metadata")
    assert checkpoint.resumed_config(tmp_path)["seed"] == 7
    stored.write_bytes(stored.read_bytes()[:-9])
    assert checkpoint.resumed_config(tmp_path)["seed"] == 42


def test_harmless_changes_are_listed(tmp_path, caplog):
    trained(tmp_path, changed())
    prepared(tmp_path, changed(train__batch_size=8, data__root="elsewhere"))
    assert "config.train.batch_size = 8 (was 4)" in caplog.text
    assert "config.data.root = 'elsewhere' (was 'somewhere')" in caplog.text


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model__depth_net__version": "34"}, "model.depth_net.version: '18' there, '34' given"),
        ({"objective": "velocity"}, "objective: 'self_supervised' there, 'velocity' given"),
        ({"data__image_shape": (96, 320)}, r"image_shape: \[192, 640\] there, \[96, 320\] given"),
        ({"data__back_context": 0}, "data.back_context: 1 there, 0 given"),
        ({"data__strides": (1, 2)}, r"data.strides: \[1\] there, \[1, 2\] given"),
        ({"optim__depth__weight_decay": 0.1}, "optim.depth.weight_decay: 0.0 there, 0.1 given"),
    ],
)
def test_what_gives_parameters_another_meaning_needs_to_be_confirmed(
    tmp_path, caplog, fields, told
):
    trained(tmp_path, changed())
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ConfigError, match=told) as refused:
        prepared(tmp_path, changed(**fields, seed=7))
    assert "--allow_changes" in str(refused.value)
    assert "config.seed: 42 there, 7 given" in str(refused.value)
    assert (tmp_path / "config.json").read_bytes() == before
    prepared(tmp_path, changed(**fields, seed=7), allow_changes=True)
    assert "Resuming with config.seed = 7 (was 42)" in caplog.text
    assert (tmp_path / "config.json").read_bytes() != before


def test_fields_that_an_earlier_version_lacked_had_their_defaults():
    raw = json.loads(json.dumps(config_lib.to_json_dict(changed())))
    del raw["data"]["strides"]
    assert changes_between(raw, changed()) == []
    (change,) = changes_between(raw, dataclasses.replace(changed(), seed=1))
    assert (change.field, change.before, change.after) == ("seed", 42, 1)
