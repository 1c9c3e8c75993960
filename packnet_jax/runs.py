"""What `main` dispatches to: a whole training run, a whole evaluation."""

import dataclasses
import json
import signal
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import jax
from absl import logging
from flax import linen as nn

from packnet_jax import checkpoint, distributed, sharding
from packnet_jax import config as config_lib
from packnet_jax.baseline import baseline_name, median_inv_depth
from packnet_jax.config import Config, NetworkConfig, SaveConfig
from packnet_jax.convert.initial import with_initial_weights
from packnet_jax.data.drives import open_drives
from packnet_jax.data.open import DataSets, EvalSet, open_data_sets, open_evaluations
from packnet_jax.errors import ConfigError
from packnet_jax.eval_config import Given, for_evaluation
from packnet_jax.eval_files import DepthFiles
from packnet_jax.evaluate import evaluate_constant, evaluate_sets
from packnet_jax.evaluate_pose import evaluate_pose
from packnet_jax.events import EventLog, event_log, read_events
from packnet_jax.pose_report import PoseReport
from packnet_jax.provenance import shared_conditions, start_conditions, versions
from packnet_jax.ray_template import RUN_TEMPLATE, save_template
from packnet_jax.report import Report
from packnet_jax.run_changes import check_changes
from packnet_jax.sfm import Networks, takes_input_depth
from packnet_jax.signals import leave_on_sigterm
from packnet_jax.train.loop import train
from packnet_jax.trained import TrainedNetwork, load_depth_network, load_pose_network
from packnet_jax.visualize import write_atomically
from packnet_jax.workdir import make_workdir, only_run, system_errors_named


def train_run(
    config: Config, *, workdir: Path, allow_changes: bool = False, debug: bool = False
) -> signal.Signals | None:
    """Trains (or resumes), evaluates, and says where everything is.

    What happens is also in `events.jsonl` in the workdir.

    Args:
        allow_changes: whether a run is resumed with a configuration that gives its parameters
            another meaning.
        debug: stop at the first step that is not finite, and name the operation that made it so.

    Returns:
        None after the last step, or SIGTERM, if that has asked to stop; everything is saved.

    Raises:
        PacknetError: something in the configuration, data or workdir does not fit; before any
            compilation.
        SystemExit: Ctrl-C has asked to stop; everything is saved.
    """
    if debug:
        distributed.check_alone(
            "--debug: given", "it looks into the steps of one; start a single one"
        )
    distributed.check_same(shared_conditions(config))
    mesh = sharding.make_mesh(fsdp=config.train.fsdp)
    sharding.check_batch_size(config.train.batch_size, mesh, accumulate=config.train.accumulate)
    if config.needs.motion and not config.model.pose_net.name:
        raise ConfigError(
            "config.model.pose_net.name: empty, but training learns from video and needs one, "
            "such as --config.model.pose_net.name=PoseNet"
        )
    if not config.needs.motion:  # no checkpoint may promise a pose network that it lacks
        model = dataclasses.replace(config.model, pose_net=NetworkConfig())
        config = dataclasses.replace(config, model=model)
    networks = Networks.from_config(config.model, config.needs)
    check_input_depth(config, networks.depth_net)
    make_workdir(workdir)
    process = jax.process_index()
    with (
        only_run(workdir) if distributed.is_first() else nullcontext(),
        event_log(workdir, process=process) as events,
        system_errors_named(workdir),
        leave_on_sigterm(),
    ):
        prepare_run(workdir, config, allow_changes=allow_changes)
        if not checkpoint.has_checkpoint(workdir):
            check_initial_weights(config, networks)
        stopped_by = _train(config, networks, workdir, mesh, events, debug=debug)
    if stopped_by == signal.SIGINT:
        raise SystemExit(128 + stopped_by)
    return stopped_by


def _train(
    config: Config,
    networks: Networks,
    workdir: Path,
    mesh: jax.sharding.Mesh,
    events: EventLog,
    *,
    debug: bool,
) -> signal.Signals | None:
    """Returns which signal has stopped the run before its end, if one has."""
    rows = sharding.local_rows(mesh, config.train.batch_size)
    with distributed.first_goes_ahead("data sets"):  # which builds what there is not yet
        data = open_data_sets(config, rows=rows)
    distributed.check_same({"data": data.fingerprints()})
    if data.ray_template is not None and distributed.is_first():  # it says where pixels look
        save_template(workdir / RUN_TEMPLATE, data.ray_template)
    print(_overview(config, data, workdir, mesh), flush=True)
    _tell_start(config, data, workdir, events)
    outcome = train(config, networks, data, workdir=workdir, mesh=mesh, events=events, debug=debug)
    if outcome.stopped_by is not None:
        message = f"stopped by {outcome.stopped_by.name}; the same command resumes"
        events.tell("end", f"{message} --workdir={workdir}", reason=outcome.stopped_by.name)
        return outcome.stopped_by
    if outcome.num_steps == 0 and not outcome.reports:
        print("Nothing to do: the run has reached its last step already.")
    elif config.eval.median_baseline and outcome.reports:
        score_baseline(config, data, outcome.reports, workdir)
    print(f"Checkpoints  {workdir / checkpoint.CHECKPOINTS}")
    for evaluation in data.evaluations:
        pictures = workdir / "eval" / evaluation.name
        if evaluation.has_depth:
            print(f"Evaluation   {pictures}.json")
        print(f"Pictures     {pictures}")
    print(f"Dashboard    tensorboard --logdir {workdir}")
    events.tell("end", "the last step is done", reason="last step", step=int(outcome.state.step))
    return None


def evaluate_run(given: Given, checkpoint_path: Path, *, workdir: Path) -> tuple[Report, ...]:
    """Evaluates a checkpoint on each of `data.eval_sources`; writes reports, pictures and depth.

    Args:
        given: data, and what else the command line says; `eval_config.for_evaluation` adds the
            checkpoint's network, shape and protocol.

    Raises:
        PacknetError: something in the checkpoint, configuration, data or workdir does not fit;
            before any compilation.
    """
    trained = load_depth_network(checkpoint_path)
    config, origin = for_evaluation(trained.config, given, unsaid=trained.unsaid)
    print(f"packnet_jax: evaluating {checkpoint_path}, step {trained.step}\n{origin}", flush=True)
    distributed.check_same(shared_conditions(config) | {"step of the checkpoint": trained.step})
    check_input_depth(config, trained.network)
    check_ground_truth(config)
    make_workdir(workdir)
    folder = workdir / "eval"
    reports = []
    with distributed.first_goes_ahead("data sets"):
        evaluations = open_evaluations(config)
    distributed.check_same({f"data of {e.name}": e.examples.fingerprint() for e in evaluations})
    for report in evaluate_sets(
        trained.network,
        trained.variables,
        evaluations,
        step=trained.step,
        config=config.eval,
        mesh=sharding.make_mesh(),
        folder=folder,
        save=_depth_files(config.save, checkpoint_path),
    ):
        path = folder / f"{report.dataset}.json"
        print(f"{report.table()}\nWritten to {path}, pictures beside it", flush=True)
        reports.append(report)
    if config.save.folder:
        print(f"Depth of every picture in {config.save.folder}")
    return tuple(reports)


def evaluate_pose_run(given: Given, checkpoint_path: Path, *, workdir: Path) -> list[PoseReport]:
    """Follows the camera along the drives of each of `data.eval_sources`; writes what it finds.

    Args:
        given: as for `evaluate_run`.

    Raises:
        PacknetError: something in the checkpoint, configuration, data or workdir does not fit;
            before any compilation.
    """
    distributed.check_alone("--mode=eval_pose", "run it once, with --distributed=off")
    trained = load_pose_network(checkpoint_path)
    config, origin = for_evaluation(trained.config, given, unsaid=trained.unsaid, kind="pose_net")
    print(f"packnet_jax: odometry of {checkpoint_path}, step {trained.step}\n{origin}", flush=True)
    check_context(config, trained)
    make_workdir(workdir)
    folder = workdir / "pose"
    shortest = config.data.back_context + config.data.forward_context + 1
    reports = []
    for drives in open_drives(config, min_length=max(shortest, config.eval.snippet_frames)):
        report = evaluate_pose(
            trained.network,
            trained.variables,
            drives,
            step=trained.step,
            config=config,
            folder=folder,
        )
        beside = f"trajectories and plots in {folder / report.dataset}"
        print(f"{report.table()}\nWritten to {folder / report.dataset}.json, {beside}", flush=True)
        reports.append(report)
    return reports


def check_context(config: Config, trained: TrainedNetwork) -> None:
    """Raises ConfigError where a pose network would see other contexts than it learned from."""
    (back, forward), (known_back, known_forward) = (
        (c.data.back_context, c.data.forward_context) for c in (config, trained.config)
    )
    if back + forward != known_back + known_forward:
        raise ConfigError(
            f"config.data.back_context, config.data.forward_context: given {back} and {forward}, "
            f"but the pose network of {trained.folder} sees {known_back} and {known_forward} "
            "frames beside the target; leave the flags out"
        )


def _depth_files(save: SaveConfig, checkpoint_path: Path) -> DepthFiles | None:
    if not save.folder:
        return None
    name = checkpoint_path.resolve().name.partition(".")[0]
    return DepthFiles(Path(save.folder).expanduser(), name, save.depth)


def check_input_depth(config: Config, depth_net: nn.Module) -> None:
    """Raises ConfigError where depth is to be given to a network that takes pictures alone."""
    wanted = [source.title for source in config.data.eval_sources if source.input_depth_type]
    if wanted and not takes_input_depth(depth_net):
        network = config.model.depth_net
        raise ConfigError(
            f"config.data.input_depth_type: given for {', '.join(wanted)}, but "
            f"{network.name}{network.version} takes pictures alone; leave it empty, or evaluate "
            "a PackNetSAN01"
        )


def check_ground_truth(config: Config) -> None:
    """Raises ConfigError where there is nothing to compare with."""
    without = [source.title for source in config.data.eval_sources if not source.depth_type]
    if without:
        raise ConfigError(
            f"config.data.depth_type: empty, so {', '.join(without)} can not be evaluated; give "
            "the type of its ground truth, or look at depth with python -m packnet_jax.infer"
        )


def score_baseline(
    config: Config, data: DataSets, reports: Sequence[Report], workdir: Path
) -> None:
    """Scores the training sets' per-pixel median depth map beside the network, and prints both."""
    inv_depth = median_inv_depth(data.train_examples, config.data.image_shape)
    for evaluation, report in zip(data.scored, reports, strict=True):
        baseline = evaluate_constant(
            inv_depth,
            evaluation.examples,
            dataset=baseline_name(evaluation.name),
            step=report.step,
            config=config.eval,
        )
        if distributed.is_first():
            baseline.write(workdir / "eval")
        ours, constant = (r.metrics["depth_pp_gt"]["abs_rel"] for r in (report, baseline))
        print(
            f"{baseline.table()}\n"
            f"depth_pp_gt abs_rel: {ours:.4f}, against {constant:.4f} for the training set's "
            f"per-pixel median depth map ({ours / constant:.2f} of it)"
        )


def check_initial_weights(config: Config, networks: Networks) -> None:
    """Raises CheckpointError unless each file that the run starts from fits its network."""
    model, data = config.model, config.data
    encoders = model.depth_net.imagenet_weights, model.pose_net.imagenet_weights
    if not any(encoders) and not config.init.paths:
        return
    num_context = data.back_context + data.forward_context
    shapes = jax.eval_shape(
        lambda key: networks.init(key, data.image_shape, num_context), jax.random.key(0)
    )
    with_initial_weights(shapes, config)


def prepare_run(workdir: Path, config: Config, *, allow_changes: bool) -> None:
    """Compares with what the run in the workdir was trained with, if there is something to resume;
    writes `config.json` and `versions.json`.

    Raises:
        ConfigError: the workdir holds a run whose parameters would get another shape or meaning.
    """
    earlier = checkpoint.resumed_config(workdir)
    if earlier is not None:
        check_changes(workdir, earlier, config, allow_changes=allow_changes)
    if not distributed.is_first():
        return
    raw = config_lib.to_json_dict(config)
    write_atomically(workdir / "config.json", json.dumps(raw, indent=1).encode() + b"\n")
    described = json.dumps(versions(), indent=1).encode() + b"\n"
    write_atomically(workdir / "versions.json", described)


def _tell_start(config: Config, data: DataSets, workdir: Path, events: EventLog) -> None:
    """Says under which conditions, and whether the data are those of the last start."""
    before = [event for event in read_events(workdir) if event["kind"] == "start"]
    conditions = start_conditions(config, data)
    consequences = {"train": "the same steps see other samples", "eval": "scores are of other data"}
    for use, consequence in consequences.items() if before else ():
        earlier, now = ((event.get("data") or {}).get(use) for event in (before[-1], conditions))
        if earlier != now:
            logging.warning(
                "The data sets (%s) are not those of the last start (%s there, %s now): %s",
                use,
                earlier,
                now,
                consequence,
            )
    code = conditions["commit"] or conditions["versions"]["packnet_jax"]
    message = f"code {code}, configuration {conditions['config_hash']}, data "
    trained_on = ", ".join(conditions["data"]["train"])
    events.tell("start", message + trained_on, workdir=str(workdir), **conditions)


def _overview(config: Config, data: DataSets, workdir: Path, mesh: jax.sharding.Mesh) -> str:
    networks = [config.model.depth_net, *([config.model.pose_net] if config.needs.motion else [])]
    names = " + ".join(f"{network.name}{network.version}" for network in networks)
    height, width = config.data.image_shape
    devices = f"{mesh.size} x {mesh.devices.flat[0].device_kind}"
    if jax.process_count() > 1:
        devices += f" of {jax.process_count()} processes"
    return (
        f"packnet_jax: {names} at {height}x{width}, {config.objective}, batch "
        f"{config.train.batch_size} on {devices}\n"
        f"Training on {len(data.train)} samples of {data.train_name}, {_evaluated(data)}\n"
        + "".join(f"  {note}\n" for note in data.notes)
        + f"Workdir {workdir}"
    )


def _evaluated(data: DataSets) -> str:
    def listed(sets: Sequence[EvalSet]) -> str:
        return " and ".join(f"{len(e.examples)} of {e.name}" for e in sets)

    if not data.scored:
        return (
            f"showing pictures of {listed(data.shown)}: without depth (data.depth_type) there is "
            "no evaluation, and the latest checkpoints stay"
        )
    shown = f", showing pictures of {listed(data.shown)}" if data.shown else ""
    return f"evaluating on {listed(data.scored)}{shown}"
