"""The loop: batch, step, log if due, evaluate if due, save if due."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import logging
from jax.sharding import Mesh
from tqdm import tqdm

from packnet_jax import config as config_lib
from packnet_jax import distributed, sharding
from packnet_jax.agreement import AgreedStop
from packnet_jax.baseline import baseline_name
from packnet_jax.checkpointer import Checkpointer
from packnet_jax.compilation import CompileClock, compile_clock
from packnet_jax.config import Config
from packnet_jax.convert.initial import with_initial_weights
from packnet_jax.data.meter import BatchIterator
from packnet_jax.data.open import DataSets
from packnet_jax.data.packed import unpack
from packnet_jax.evaluate import evaluate_sets, show_sets
from packnet_jax.events import EventLog
from packnet_jax.objectives import make_objective
from packnet_jax.report import Report, reported_step
from packnet_jax.sfm import Networks
from packnet_jax.signals import stop_signal
from packnet_jax.train.dashboard import Dashboard, Rates, memory_gib
from packnet_jax.train.debug import stop_at_nonfinite
from packnet_jax.train.health import HealthWatch
from packnet_jax.train.nonfinite_watch import NonFiniteWatch
from packnet_jax.train.optim import make_learning_rates, make_optimizer
from packnet_jax.train.state import TrainState
from packnet_jax.train.step import StepOutput, make_train_step


class _StopRequested(Exception):
    """Somebody wants to stop while a set is evaluated."""


class Outcome(NamedTuple):
    """How a run ended."""

    state: TrainState
    reports: tuple[Report, ...]
    """The last evaluation of every set that has depth; () if the run was stopped before one."""
    stopped_by: signal.Signals | None
    """The signal that asked to stop, or None after the last step."""
    num_steps: int
    """How many steps it took; 0 if the last had been reached before."""


def train(
    config: Config,
    networks: Networks,
    data: DataSets,
    *,
    workdir: Path,
    mesh: Mesh,
    events: EventLog | None = None,
    debug: bool = False,
) -> Outcome:
    """Trains from the newest checkpoint in the workdir, or from the beginning, to the last step.

    SIGINT and SIGTERM finish the step, save and return: what is lost is at most an evaluation,
    which is made up for at the next start if it was the last one.

    Args:
        events: told what happens; None tells the terminal alone.
        debug: stop at the first step that is not finite; see `train.debug`.

    Raises:
        CheckpointError: none can be read, or one can not be written.
        TrainingError: `config.optim.max_nonfinite_steps` steps in a row had no finite loss; with
            `debug` one.
    """
    events = events or EventLog()
    begun = time.monotonic()
    steps_per_epoch = data.train.steps_per_epoch
    num_steps = config.train.num_steps or config.train.num_epochs * steps_per_epoch
    eval_every = config.train.eval_every_steps or steps_per_epoch
    optimizer = make_optimizer(config.optim)
    create = _creator(config, networks, data, optimizer)
    train_step = make_train_step(
        networks,
        make_objective(config.objective, config.loss, ray_template=data.ray_template),
        optimizer,
        make_learning_rates(config.optim, steps_per_epoch),
        seed=config.seed,
        num_steps=num_steps,
        mesh=mesh,
        accumulate=config.train.accumulate,
        placement=_placement(create, mesh) if config.train.fsdp > 1 else None,
    )
    raw_config = config_lib.to_json_dict(config)
    reports: tuple[Report, ...] = ()
    with (
        stop_signal("saving after this step") as own_stop,  # also while a save is completed
        Checkpointer(
            workdir,
            keep_latest=config.train.keep_latest,
            keep_best=config.train.keep_best,
            monitor=f"{config.train.monitor_mode}/{config.train.monitor_metric}",
        ) as checkpointer,
        Dashboard(workdir) as dashboard,
        compile_clock() as clock,
    ):
        stop = AgreedStop(own_stop, mesh)
        state = _start(config, networks, data, optimizer, checkpointer, mesh)
        first_step = int(state.step)
        if first_step == 0:
            dashboard.start(raw_config, state.variables["params"])
        else:
            folder = checkpointer.step_folder(first_step)
            events.tell("resume", f"resuming from {folder}", step=first_step, folder=str(folder))

        def evaluate(done: int, state: TrainState) -> tuple[Report, ...]:
            """() if somebody wants to stop before all is evaluated."""
            try:
                reports = _evaluate(done, state, config, networks, data, workdir, mesh, stop)
            except _StopRequested:
                return ()
            for report in reports:
                dashboard.report(done, report)
                _tell_evaluation(done, report, config, events)
            return reports

        batches = data.train.iterate(config.seed, first_step)
        placed = sharding.placed_ahead(batches, mesh)
        # Said, as a compiler may replicate what is empty: the contexts of pictures alone.
        to_floats = jax.jit(unpack, out_shardings=sharding.batch_sharding(mesh))
        watch = NonFiniteWatch(config.optim.max_nonfinite_steps, events)
        health = HealthWatch()
        rates = Rates(config.train.batch_size)
        bar = tqdm(
            initial=first_step,
            total=num_steps,
            desc="train",
            unit="step",
            dynamic_ncols=True,
            disable=not distributed.is_first(),
        )
        if first_step == num_steps and _lacks_reports(config, data, workdir, num_steps):
            reports = evaluate(num_steps, state)
        for step in range(first_step, num_steps):
            stop.ask()
            if stop.received is not None and step == first_step:
                break  # nothing is new
            batch = to_floats(next(placed))
            state, output = train_step(state, batch)
            if debug:
                stop_at_nonfinite(train_step, state, batch, output)
            del batch
            done = step + 1
            watch.check(output, done)
            rates.count_step()
            bar.update()
            if step == first_step:
                jax.block_until_ready(output)
                _report_start(done, time.monotonic() - begun, clock, dashboard, events)
            _tell_saves(checkpointer, events)
            is_last = done == num_steps or stop.received is not None

            if done % config.train.log_every_steps == 0 or is_last:
                scalars = _log(done, output, rates, batches, dashboard, bar)
                for warning in health.read(done, scalars):
                    logging.warning("%s", warning)
            if done % config.train.image_every_steps == 0 or is_last:
                dashboard.pictures(done, output.pictures)
            metrics = None
            if (done % eval_every == 0 or done == num_steps) and stop.received is None:
                reports = evaluate(done, state)
                metrics = reports[0].scalars() if reports else None
                is_last = is_last or stop.received is not None
            if done % config.train.checkpoint_every_steps == 0 or metrics or is_last:
                checkpointer.save(
                    done,
                    variables=state.variables,
                    training=state.training,
                    config=raw_config,
                    metrics=metrics,
                )
            if is_last:
                break
        watch.finish()
        bar.close()
        checkpointer.wait()
        _tell_saves(checkpointer, events)
        if stop.received is not None:
            message = f"{stop.received.name}: everything is saved"
            events.tell("stop", message, step=int(state.step), signal=stop.received.name)
    return Outcome(state, reports, stop.received, int(state.step) - first_step)


def _creator(
    config: Config, networks: Networks, data: DataSets, optimizer: Any
) -> Callable[[jax.Array], TrainState]:
    """From a key to the state before the first step."""

    def create(key: jax.Array) -> TrainState:
        variables = networks.init(key, config.data.image_shape, data.num_context)
        return TrainState.create(variables, optimizer)

    return create


def _placement(create: Callable[[jax.Array], TrainState], mesh: Mesh) -> Any:
    """The shardings of such a state."""
    return sharding.state_sharding(jax.eval_shape(create, jax.random.key(0)), mesh)


def _start(
    config: Config,
    networks: Networks,
    data: DataSets,
    optimizer: Any,
    checkpointer: Checkpointer,
    mesh: Mesh,
) -> TrainState:
    """The newest checkpoint's state, else a fresh one, placed over the mesh."""
    create, key = _creator(config, networks, data, optimizer), jax.random.key(config.seed)
    placement = _placement(create, mesh)
    expected = sharding.abstract(jax.eval_shape(create, key), placement)
    restored = checkpointer.restore_latest(expected.variables, expected.training)
    if restored is None:
        state = jax.jit(create, out_shardings=placement)(key)  # Adam starts from zeros in any case
        variables = with_initial_weights(state.variables, config)
        return state.replace(variables=sharding.spread(variables, placement.variables))
    variables, training = restored
    return TrainState(variables=variables, **training)


def _tell_saves(checkpointer: Checkpointer, events: EventLog) -> None:
    for step in checkpointer.confirmed():
        folder = checkpointer.step_folder(step)
        events.tell("save", f"saved {folder}", step=step, folder=str(folder))


def _tell_evaluation(step: int, report: Report, config: Config, events: EventLog) -> None:
    mode, metric = config.train.monitor_mode, config.train.monitor_metric
    events.tell(
        "evaluation",
        f"{report.dataset}: {mode} {metric} {report.metrics[mode][metric]:.4f}",
        step=step,
        dataset=report.dataset,
        metrics=report.metrics,
    )


def _lacks_reports(config: Config, data: DataSets, workdir: Path, step: int) -> bool:
    """Whether a stop or a kill has come before all was evaluated that is at a run's last step.

    The first process alone looks, and all evaluate or none.
    """
    names = [e.name for e in data.scored]
    if config.eval.median_baseline:
        names += [baseline_name(name) for name in names]
    lacks = any(reported_step(workdir / "eval", name) != step for name in names)
    return bool(distributed.from_first([lacks])[0])


def _report_start(
    step: int, seconds: float, clock: CompileClock, dashboard: Dashboard, events: EventLog
) -> None:
    """Says how long the first step was waited for; compiling is most of it."""
    scalars = {
        "seconds_to_first_step": seconds,
        "compile_seconds": clock.seconds,
        "programs_read_from_cache": float(clock.num_read),
    }
    dashboard.scalars(step, scalars, "start")
    events.tell("first_step", f"First step after {seconds:.1f} s: {clock}", step=step, **scalars)


def _log(
    step: int,
    output: StepOutput,
    rates: Rates,
    batches: BatchIterator,
    dashboard: Dashboard,
    bar: tqdm,
) -> dict[str, float]:
    """Shows what the step measured, and returns it."""
    scalars = {k: float(v) for k, v in output.scalars.items()}
    speed = rates.read() | {
        "input_samples_per_second_per_core": batches.samples_per_second,
        "input_wait_fraction": batches.wait_fraction,
    }
    dashboard.scalars(step, scalars | speed | memory_gib(), "train")
    bar.set_postfix_str(
        f"loss {scalars['loss']:.4f}, {speed['samples_per_second']:.1f} samples/s "
        f"(input {batches.samples_per_second:.0f}/s a core, waited for {batches.wait_fraction:.0%})"
    )
    return scalars


def _evaluate(
    step: int,
    state: TrainState,
    config: Config,
    networks: Networks,
    data: DataSets,
    workdir: Path,
    mesh: Mesh,
    stop: AgreedStop,
) -> tuple[Report, ...]:
    """Evaluates each set, writes reports and pictures, shows tables above the progress bar.

    Of sets without depth, pictures are all there is.

    Raises:
        _StopRequested: between two batches of pictures.
    """

    def raise_if_stopped() -> None:
        stop.ask()
        if stop.received is not None:
            raise _StopRequested

    folder = workdir / "eval"
    show_sets(
        networks.depth_net,
        state.variables,
        data.shown,
        config=config.eval,
        mesh=mesh,
        folder=folder,
    )
    reports = []
    for report in evaluate_sets(
        networks.depth_net,
        state.variables,
        data.scored,
        step=step,
        config=config.eval,
        mesh=mesh,
        folder=folder,
        before_batch=raise_if_stopped,
    ):
        tqdm.write(report.table())
        sys.stdout.flush()  # a log file shows it now, too
        reports.append(report)
    return tuple(reports)
