"""Runs from start to end: resume is exact, stopping is safe, and a hopeless run says so."""

import json
import os
import signal
from collections.abc import Iterator

import jax
import numpy as np
import pytest
import tiny
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from packnet_jax import sharding
from packnet_jax.checkpoint import Checkpointer
from packnet_jax.errors import TrainingError
from packnet_jax.train import loop


def train(workdir, config, data=None):
    return loop.train(
        config,
        tiny.NETWORKS,
        data or tiny.data_sets(config),
        workdir=workdir,
        mesh=sharding.make_mesh(1),
    )


def assert_equal_states(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unbroken")
    config = tiny.config(
        num_steps=6,
        eval_every_steps=3,
        checkpoint_every_steps=2,
        log_every_steps=2,
        image_every_steps=3,
        keep_latest=10,
    )
    return workdir, config, train(workdir, config)


def test_a_run_leaves_checkpoints_reports_and_pictures(unbroken):
    workdir, config, outcome = unbroken
    assert int(outcome.state.step) == 6
    assert outcome.stopped_by is None
    with Checkpointer(workdir, keep_latest=10, keep_best=1, monitor="depth/abs_rel") as saved:
        assert saved.steps() == [2, 3, 4, 6]
    report = json.loads((workdir / "eval" / "memory-test.json").read_text())
    assert report["step"] == 6
    assert set(report) >= {"protocol", "metrics", "per_image"}
    assert len(list((workdir / "eval" / "memory-test").glob("*.png"))) == config.eval.num_pictures


def test_the_dashboard_has_scalars_images_parameters_and_the_configuration(unbroken):
    workdir, _, _ = unbroken
    events = EventAccumulator(str(workdir)).Reload()
    tags = set(events.Tags()["tensors"])
    assert {
        "train/loss",
        "train/photometric_loss",
        "train/smoothness_loss",
        "train/learning_rate/depth_net",
        "train/learning_rate/pose_net",
        "train/steps_per_second",
        "train/samples_per_second",
        "train/input_samples_per_second_per_core",
        "train/input_wait_fraction",
        "train/host_memory_gib",
        "start/seconds_to_first_step",
        "start/compile_seconds",
        "start/programs_read_from_cache",
        "train/input",
        "train/inverse_depth",
        "train/warped_context_0",
        "train/photometric_error",
        "train/automask",
        "parameters",
        "eval_memory-test/depth_pp_gt/abs_rel",
    } <= tags
    assert [event.step for event in events.Tensors("train/loss")] == [2, 4, 6]
    assert [event.step for event in events.Tensors("start/compile_seconds")] == [1]
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_resume_is_bit_equal_to_an_unbroken_run(unbroken, tmp_path, monkeypatch):
    _, config, whole = unbroken
    real_step = loop.make_train_step

    def dying_step(*args, **kwargs):
        step = real_step(*args, **kwargs)

        def die_at_five(state, batch):
            if int(state.step) == 4:
                raise KeyboardInterrupt
            return step(state, batch)

        return die_at_five

    monkeypatch.setattr(loop, "make_train_step", dying_step)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, config)
    monkeypatch.undo()
    resumed = train(tmp_path, config)
    assert_equal_states(resumed.state, whole.state)


def test_a_finished_run_does_nothing_more(unbroken):
    workdir, config, whole = unbroken
    again = train(workdir, config)
    assert not again.reports
    assert_equal_states(again.state, whole.state)


def test_sigterm_saves_and_returns(tmp_path, monkeypatch):
    config = tiny.config(num_steps=50, checkpoint_every_steps=50, eval_every_steps=50)
    data = tiny.data_sets(config)
    real_iterate = data.train.iterate

    def iterate_with_signal(seed, start_step=0):
        batches = real_iterate(seed, start_step)

        class Signalling(Iterator):
            samples_per_second = wait_fraction = 0.0
            count = start_step

            def __next__(self):
                self.count += 1
                if self.count == 4:  # while the third step's is waiting
                    os.kill(os.getpid(), signal.SIGTERM)
                return next(batches)

        return Signalling()

    monkeypatch.setattr(data.train, "iterate", iterate_with_signal)
    before = signal.getsignal(signal.SIGTERM)
    outcome = train(tmp_path, config, data)
    assert outcome.stopped_by == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
    with Checkpointer(tmp_path, keep_latest=1, keep_best=0, monitor="depth/a1") as saved:
        assert saved.steps() == [3]


def test_too_many_non_finite_steps_end_the_run_and_leave_its_checkpoints(tmp_path, monkeypatch):
    config = tiny.config(num_steps=100, checkpoint_every_steps=2, eval_every_steps=100)
    data = tiny.data_sets(config)

    class Poisoned(Iterator):
        samples_per_second = wait_fraction = 0.0

        def __next__(self):
            good = data.train.packed(0, 0)
            nowhere = np.full_like(good.others["intrinsics"], np.nan)
            return good._replace(others=good.others | {"intrinsics": nowhere})

    monkeypatch.setattr(data.train, "iterate", lambda *_: Poisoned())
    with pytest.raises(TrainingError, match=r"10 steps in a row .*max_nonfinite_steps=10"):
        train(tmp_path, config, data)
    monkeypatch.undo()
    with Checkpointer(tmp_path, keep_latest=2, keep_best=0, monitor="depth/a1") as saved:
        assert saved.steps()


def test_without_depth_a_run_leaves_pictures_and_its_latest_checkpoints(tmp_path):
    config = tiny.config(checkpoint_every_steps=1, keep_latest=2, keep_best=1)
    data = tiny.data_sets(config)
    shown = data.evaluations[0]._replace(has_depth=False)
    outcome = train(tmp_path, config, data._replace(evaluations=(shown,)))
    assert outcome.reports == ()
    assert outcome.num_steps == 4
    folders = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert folders == ["00000003", "00000004"]
    assert len(list((tmp_path / "eval" / shown.name).glob("*.png"))) == 5
    assert not list((tmp_path / "eval").glob("*.json"))


def test_of_sets_with_and_without_depth_the_first_with_it_chooses(tmp_path):
    config = tiny.config()
    data = tiny.data_sets(config)
    scored = data.evaluations[0]
    shown = scored._replace(has_depth=False, name="shown")
    outcome = train(tmp_path, config, data._replace(evaluations=(shown, scored)))
    assert [report.dataset for report in outcome.reports] == [scored.name]
    assert list((tmp_path / "eval" / "shown").glob("*.png"))
