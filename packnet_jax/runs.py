"""What `main` dispatches to: a whole training run, a whole evaluation."""

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import logging
from flax import linen as nn
from flax.traverse_util import flatten_dict

from packnet_jax import checkpoint, sharding
from packnet_jax import config as config_lib
from packnet_jax.baseline import median_inv_depth
from packnet_jax.config import Config, NetworkConfig, SaveConfig
from packnet_jax.convert.initial import with_initial_weights
from packnet_jax.data.drives import open_drives
from packnet_jax.data.open import DataSets, EvalSet, open_data_sets, open_evaluations
from packnet_jax.errors import CheckpointError, ConfigError
from packnet_jax.eval_config import Given, for_evaluation
from packnet_jax.eval_files import DepthFiles
from packnet_jax.evaluate import evaluate_constant, evaluate_sets
from packnet_jax.evaluate_pose import evaluate_pose
from packnet_jax.pose_report import PoseReport
from packnet_jax.ray_template import RUN_TEMPLATE, save_template
from packnet_jax.report import Report
from packnet_jax.sfm import Networks, takes_input_depth
from packnet_jax.train.loop import train
from packnet_jax.trained import TrainedNetwork, load_depth_network, load_pose_network
from packnet_jax.visualize import write_atomically

LIBRARIES = ("packnet_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def train_run(config: Config, *, workdir: Path, debug: bool = False) -> None:
    """Trains (or resumes), evaluates, and says where everything is.

    Args:
        debug: stop at the first step that is not finite, and name the operation that made it so.

    Raises:
        PacknetError: something in the configuration, data or workdir does not fit; before any
            compilation.
    """
    if debug and jax.process_count() > 1:
        raise ConfigError("--debug: looks into the steps of one process; start a single one")
    mesh = sharding.make_mesh()
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
    prepare_workdir(workdir, config)
    if not checkpoint.has_checkpoint(workdir):
        check_initial_weights(config, networks)
    data = open_data_sets(config)
    if data.ray_template is not None:  # without it nobody knows where pixels look
        save_template(workdir / RUN_TEMPLATE, data.ray_template)
    print(_overview(config, data, workdir, mesh), flush=True)
    outcome = train(config, networks, data, workdir=workdir, mesh=mesh, debug=debug)
    if outcome.stopped_by is not None:
        print(f"Stopped by {outcome.stopped_by.name}; the same command resumes --workdir={workdir}")
        raise SystemExit(128 + outcome.stopped_by)
    if outcome.num_steps == 0:
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
    check_input_depth(config, trained.network)
    check_ground_truth(config)
    prepare_workdir(workdir, None)
    folder = workdir / "eval"
    reports = []
    for report in evaluate_sets(
        trained.network,
        trained.variables,
        open_evaluations(config),
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
    trained = load_pose_network(checkpoint_path)
    config, origin = for_evaluation(trained.config, given, unsaid=trained.unsaid, kind="pose_net")
    print(f"packnet_jax: odometry of {checkpoint_path}, step {trained.step}\n{origin}", flush=True)
    check_context(config, trained)
    prepare_workdir(workdir, None)
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
            dataset=f"{evaluation.name}.median_depth_map",
            step=report.step,
            config=config.eval,
        )
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


def prepare_workdir(workdir: Path, config: Config | None) -> None:
    """Makes the workdir and, for a training run, writes `config.json` and `versions.json`.

    Raises:
        ConfigError: it can not be written, or holds a run of other networks.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if config is None:
            write_atomically(workdir / ".writable", b"")
            (workdir / ".writable").unlink()
            return
        _compare_with_earlier(workdir / "config.json", config)
        raw = config_lib.to_json_dict(config)
        write_atomically(workdir / "config.json", json.dumps(raw, indent=1).encode() + b"\n")
        versions = {name: _version(name) for name in LIBRARIES}
        versions |= {"python": platform.python_version(), "platform": platform.platform()}
        versions["devices"] = ", ".join(sorted({d.device_kind for d in jax.devices()}))
        write_atomically(workdir / "versions.json", json.dumps(versions, indent=1).encode() + b"\n")
    except OSError as error:
        raise ConfigError(f"--workdir: {workdir} can not be written ({error})") from error


def _compare_with_earlier(path: Path, config: Config) -> None:
    """Refuses to resume other networks; names any other change."""
    if not path.exists():
        return
    try:
        earlier = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}); move it away to go on") from error
    defaults, now = (json.loads(json.dumps(config_lib.to_json_dict(c))) for c in (Config(), config))
    before = flatten_dict(defaults, sep=".") | flatten_dict(earlier, sep=".")
    after = flatten_dict(now, sep=".")
    changed = [k for k in after if after[k] != before.get(k)]
    networks = [
        f"config.{k}: {before.get(k)!r} there, {after[k]!r} given"
        for k in changed
        if k.startswith("model.") and k.endswith((".name", ".version"))
    ]
    if networks:
        raise ConfigError(
            f"--workdir: {path.parent} holds a run of other networks ({'; '.join(networks)}); "
            "choose another workdir"
        )
    for key in changed:
        logging.warning("Resuming with config.%s = %r (was %r)", key, after[key], before.get(key))


def _overview(config: Config, data: DataSets, workdir: Path, mesh: jax.sharding.Mesh) -> str:
    networks = [config.model.depth_net, *([config.model.pose_net] if config.needs.motion else [])]
    names = " + ".join(f"{network.name}{network.version}" for network in networks)
    height, width = config.data.image_shape
    devices = f"{mesh.size} x {mesh.devices.flat[0].device_kind}"
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


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed (run from its folder)"
