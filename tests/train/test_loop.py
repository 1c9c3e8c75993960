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
from packnet_jax.checkpointer import Checkpointer
from packnet_jax.errors import TrainingError
from packnet_jax.events import EventLog, read_events
from packnet_jax.signals import leave_on_sigterm
from packnet_jax.train import loop


def train(workdir, config, data=None):
    return loop.train(
        config,
        tiny.NETWORKS,
        data or tiny.data_sets(config),
        workdir=workdir,
        mesh=sharding.make_mesh(1),
        events=EventLog(workdir),
    )


def kinds(workdir):
    return [(event["kind"], event["step"]) for event in read_events(workdir)]


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


def test_the_events_tell_the_same_story(unbroken):
    workdir, _, outcome = unbroken
    assert sorted(kinds(workdir), key=lambda event: (event[1], event[0])) == [
        ("first_step", 1),
        ("save", 2),
        ("evaluation", 3),
        ("save", 3),
        ("save", 4),
        ("evaluation", 6),
        ("save", 6),
    ]
    last = [event for event in read_events(workdir) if event["kind"] == "evaluation"][-1]
    assert last["dataset"] == "memory-test"
    assert last["metrics"] == outcome.reports[0].metrics
    for event in read_events(workdir):
        assert event["kind"] != "save" or event["folder"].endswith(f"{event['step']:08d}")


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


@pytest.mark.slow
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
    assert ("resume", 4) in kinds(tmp_path)


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
    assert kinds(tmp_path)[-2:] == [("save", 3), ("stop", 3)]


class Stopping:
    """Examples of an evaluation, during which SIGTERM comes."""

    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        if index == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.examples[index]


@pytest.mark.slow
@pytest.mark.parametrize("num_steps", [2, 4])
def test_sigterm_ends_an_evaluation_which_the_next_start_makes_up_for(tmp_path, num_steps):
    config = tiny.config(num_steps=num_steps, eval_every_steps=2, checkpoint_every_steps=50)
    data = tiny.data_sets(config)
    (evaluated,) = data.evaluations
    stopping = evaluated._replace(examples=Stopping(evaluated.examples))
    outcome = train(tmp_path, config, data._replace(evaluations=(stopping,)))
    assert outcome.stopped_by == signal.SIGTERM
    assert outcome.reports == ()
    assert int(outcome.state.step) == 2
    assert not (tmp_path / "eval" / "memory-test.json").exists()
    again = train(tmp_path, config, data)
    assert again.num_steps == num_steps - 2
    assert [report.step for report in again.reports] == [num_steps]
    assert json.loads((tmp_path / "eval" / "memory-test.json").read_text())["step"] == num_steps


def test_sigterm_before_the_first_step_leaves_at_once(tmp_path, monkeypatch):
    config = tiny.config(num_steps=2)
    start = loop._start

    def start_late(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return start(*args)

    monkeypatch.setattr(loop, "_start", start_late)
    outcome = train(tmp_path, config)
    assert (outcome.stopped_by, outcome.num_steps) == (signal.SIGTERM, 0)
    monkeypatch.undo()
    assert train(tmp_path, config).num_steps == 2


def test_sigterm_while_a_failed_run_completes_its_saves_does_not_hide_the_failure(
    tmp_path, monkeypatch
):
    def fail(*_):
        raise TrainingError("hopeless")

    leave = Checkpointer.__exit__

    def leave_late(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return leave(*args)

    monkeypatch.setattr(loop, "_start", fail)
    monkeypatch.setattr(Checkpointer, "__exit__", leave_late)
    with leave_on_sigterm(), pytest.raises(TrainingError, match="hopeless"):
        train(tmp_path, tiny.config(num_steps=2))


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
    skipped = [event for event in read_events(tmp_path) if event["kind"] == "skipped"]
    assert [(event["step"], event["in_a_row"]) for event in skipped] == [
        (step, step) for step in range(1, 11)
    ]


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
