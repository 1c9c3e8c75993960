"""Odometry: from pictures to motions, trajectories, files; with perfect and with tiny networks."""

import io
import json

import cli
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import original_files
import pytest
import tiny
from fake_kitti import make_kitti
from fake_odometry import SECONDS_PER_FRAME, make_odometry
from frame_stores import metadata, record
from PIL import Image
from scipy.spatial.transform import Rotation
from trajectories import drive, scaled, straight, with_drift

from packnet_jax import checkpoint, runs, trained
from packnet_jax import config as config_lib
from packnet_jax.data.drives import DriveSet
from packnet_jax.data.store import FrameStore, Framing
from packnet_jax.errors import CheckpointError, ConfigError, DataError
from packnet_jax.eval_config import Given
from packnet_jax.evaluate_pose import follow, neighbouring_motions, predict_motion
from packnet_jax.metrics.odometry import from_first_camera, relative_motions
from packnet_jax.pose_report import COLUMNS, PoseReport, compare
from packnet_jax.trajectory_files import plot, write_trajectory

CONTEXTS = [(1, 1), (1, 0), (0, 1), (2, 0), (0, 2), (2, 1)]
"""Backward and forward."""


def perfect_motions(world_T_camera, back, forward):
    """context_T_target of every frame that has all contexts, as a perfect network says them."""
    offsets = [*range(-back, 0), *range(1, forward + 1)]
    targets = range(back, len(world_T_camera) - forward)
    return np.stack(
        [
            [np.linalg.inv(world_T_camera[t + o]) @ world_T_camera[t] for o in offsets]
            for t in targets
        ]
    )


@pytest.mark.parametrize(("back", "forward"), CONTEXTS)
@pytest.mark.parametrize("num_frames", [4, 9])
def test_perfect_motions_give_the_true_ones_whatever_the_contexts(back, forward, num_frames):
    truth = drive(num_frames, bend=8.0)
    found = neighbouring_motions(
        perfect_motions(truth, back, forward), back_context=back, forward_context=forward
    )
    np.testing.assert_allclose(found, relative_motions(truth), atol=1e-9)


def test_each_motion_is_what_the_later_frame_says_and_the_last_is_from_before():
    """Two contexts that contradict each other: 1 m to the frame before, 7 m to the next."""
    said = np.tile(np.eye(4), (3, 2, 1, 1))
    said[:, 0, 2, 3], said[:, 1, 2, 3] = [1, 2, 3], [-10, -20, -30]
    found = neighbouring_motions(said, back_context=1, forward_context=1)
    np.testing.assert_allclose(found[:, 2, 3], [1, 2, 3, 30])


class NumberedPoses(nn.Module):
    """Says of each context its brightness less the target's, as a motion along x."""

    @nn.compact
    def __call__(self, rgb, rgb_context, *, train):
        brightness = rgb_context.mean((2, 3, 4)) - rgb.mean((1, 2, 3))[:, None]
        return jnp.pad(brightness[..., None], ((0, 0), (0, 0), (0, 5)))


@pytest.mark.parametrize(("back", "forward"), CONTEXTS)
def test_the_network_sees_backward_contexts_oldest_first_then_forward_ones(back, forward):
    frames = jnp.broadcast_to(jnp.arange(6.0)[:, None, None, None], (6, 4, 4, 3))
    variables = {"params": {"pose_net": {}}}
    found = predict_motion(
        NumberedPoses(), variables, frames, back_context=back, forward_context=forward
    )
    offsets = [*range(-back, 0), *range(1, forward + 1)]
    assert found.shape == (6 - back - forward, back + forward, 4, 4)
    np.testing.assert_allclose(found[:, :, 0, 3], [offsets] * len(found), atol=1e-6)


def numbered_drive(num_frames):
    """A drive whose pictures are as bright as their number, its set, and its true poses."""
    grey = [np.full((4, 4, 3), i, np.uint8) for i in range(num_frames)]
    records = [
        record(f"frame/{i}", i, image=_png(image), has_depth=False) for i, image in enumerate(grey)
    ]
    store = FrameStore(records, metadata([num_frames], []), name="memory")
    drives = DriveSet(store, name="set", framing=Framing((4, 4)), min_length=4, num_threads=0)
    truth = np.stack([store[i].world_T_camera for i in range(num_frames)])
    return drives, truth


def _png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
@pytest.mark.parametrize(("back", "forward"), [(1, 1), (0, 1), (2, 1)])
def test_a_perfect_network_follows_the_truth_at_any_batch_size(batch_size, back, forward):
    drives, truth = numbered_drive(9)
    shapes = set()

    def predict(frames):
        shapes.add(frames.shape)
        numbers = np.round(frames[:, 0, 0, 0] * 255).astype(int)
        return perfect_motions(truth[numbers], back, forward)

    found = follow(
        predict,
        drives,
        drives.drives[0],
        back_context=back,
        forward_context=forward,
        batch_size=batch_size,
    )
    assert shapes == {(batch_size + back + forward, 4, 4, 3)}
    np.testing.assert_allclose(found.predicted["raw"], from_first_camera(truth), atol=1e-9)
    np.testing.assert_allclose(found.truth, from_first_camera(truth), atol=1e-9)
    assert found.snippets.max() < 1e-9
    assert found.scale == pytest.approx(1)


def a_trajectory(name="town/drive", num_frames=400, factor=1.0, **fields):
    truth = drive(num_frames)
    return compare(scaled(with_drift(truth), factor), truth, name=name, **fields)


def test_a_report_names_protocol_counts_and_metrics():
    longer, shorter = a_trajectory(), a_trajectory("short", 60)
    report = PoseReport("set", 12, 5, {"truth": "poses"}, [longer, shorter])
    document = json.loads(json.dumps(report.document()))
    assert (document["dataset"], document["step"], document["frames"]) == ("set", 12, 460)
    assert document["protocol"]["truth"] == "poses"
    assert document["protocol"]["segment_lengths_not_reached"] == [500, 600, 700, 800]
    first, second = document["drives"]
    assert (first["name"], first["frames"], first["metrics"]["snippets"]["count"]) == (
        "town/drive",
        400,
        396,
    )
    assert first["scale"] == pytest.approx(1 / 0.37, rel=0.2)
    assert first["metres"] == pytest.approx(399 * 1.1)
    assert second["metrics"]["sim3"]["t_rel"] is None
    assert second["metrics"]["sim3"]["by_length"] == {}
    metrics = document["metrics"]
    assert set(metrics["sim3"]) == {*COLUMNS, "by_length"}
    assert set(metrics["sim3"]["by_length"]) == {"100", "200", "300", "400"}
    assert metrics["sim3"]["t_rel"] == first["metrics"]["sim3"]["t_rel"]
    assert metrics["sim3"]["ate"] < metrics["se3"]["ate"] < metrics["raw"]["ate"]
    squares = [d["frames"] * d["metrics"]["sim3"]["ate"] ** 2 for d in (first, second)]
    assert metrics["sim3"]["ate"] == pytest.approx((sum(squares) / 460) ** 0.5)
    for alignment in ("raw", "se3"):  # no rigid motion changes what happens along the way
        for name in ("t_rel", "r_rel", "rpe_translation", "rpe_rotation"):
            assert metrics[alignment][name] == pytest.approx(metrics["raw"][name])
    table = report.table()
    assert "set, step 12: 460 frames" in table
    assert "No drive reaches segments of 500, 600, 700, 800 m" in table
    assert f"{metrics['sim3']['ate']:.4f}" in table
    assert "town/drive: Sim(3) ATE" in table


def test_a_scale_error_of_5_percent_is_reported_as_5_percent_and_gone_after_sim3():
    truth = straight(1100, 0.8)
    report = PoseReport("set", 0, 5, {}, [compare(scaled(truth, 1.05), truth, name="road")])
    metrics = report.document()["metrics"]
    assert metrics["raw"]["t_rel"] == pytest.approx(5, rel=0.005)
    assert metrics["sim3"]["t_rel"] == pytest.approx(0, abs=1e-6)
    assert metrics["snippets"]["mean"] == pytest.approx(0, abs=1e-9)


def test_trajectories_are_written_in_both_formats(tmp_path):
    times = 1_317_000_000 + np.arange(60) / 10  # as clocks count
    trajectory = a_trajectory(num_frames=60, timestamps=times)
    write_trajectory(tmp_path / "drive", trajectory)
    names = {f"{a}_{b}.txt" for a in ("truth", "raw", "se3", "sim3") for b in ("kitti", "tum")}
    assert {path.name for path in (tmp_path / "drive").iterdir()} == {*names, "plot.png"}
    for name, poses in {"truth": trajectory.truth, **trajectory.predicted}.items():
        kitti = np.loadtxt(tmp_path / "drive" / f"{name}_kitti.txt")
        np.testing.assert_allclose(kitti.reshape(-1, 3, 4), poses[:, :3], atol=1e-6)
        tum = np.loadtxt(tmp_path / "drive" / f"{name}_tum.txt")
        np.testing.assert_allclose(tum[:, 0], times, rtol=0, atol=1e-6)
        np.testing.assert_allclose(tum[:, 1:4], poses[:, :3, 3], atol=1e-6)
        rotations = Rotation.from_quat(tum[:, 4:]).as_matrix()
        np.testing.assert_allclose(rotations, poses[:, :3, :3], atol=1e-6)
    numbered = a_trajectory(num_frames=60, first_number=7)
    write_trajectory(tmp_path / "numbered", numbered)
    tum = np.loadtxt(tmp_path / "numbered" / "truth_tum.txt")
    np.testing.assert_array_equal(tum[:, 0], np.arange(7, 67))


@pytest.mark.parametrize(("num_frames", "num_axes"), [(60, 2), (400, 4)])
def test_the_plot_has_metres_equal_axes_and_a_legend(num_frames, num_axes):
    trajectory = a_trajectory(num_frames=num_frames, factor=1 / 0.4)
    figure = plot(trajectory)
    assert len(figure.axes) == num_axes
    path = figure.axes[0]
    assert path.get_aspect() == 1
    assert "(m)" in path.get_xlabel()
    assert "(m)" in path.get_ylabel()
    labels = [text.get_text() for text in path.get_legend().get_texts()]
    assert labels == ["truth", "SE(3) aligned", "Sim(3) aligned", "start"]
    truth = path.get_lines()[0]
    np.testing.assert_array_equal(truth.get_xdata(), trajectory.truth[:, 0, 3])
    np.testing.assert_array_equal(truth.get_ydata(), trajectory.truth[:, 2, 3])
    without_metres = plot(a_trajectory(num_frames=num_frames, factor=0.1)).axes[0]
    labels = [text.get_text() for text in without_metres.get_legend().get_texts()]
    assert labels == ["truth", "Sim(3) aligned", "start"]
    low, high = path.get_ylim()
    assert low < trajectory.truth[:, 2, 3].min() < trajectory.truth[:, 2, 3].max() < high


def write_checkpoint(folder, *, kinds=("depth_net", "pose_net"), **data):
    """Fresh tiny networks as a checkpoint."""
    raw = config_lib.to_json_dict(tiny.config())
    raw["data"] |= data
    variables = tiny.NETWORKS.init(jax.random.key(0), tiny.SHAPE, 2)
    chosen = {c: {k: v for k, v in both.items() if k in kinds} for c, both in variables.items()}
    for kind in ("depth_net", "pose_net"):
        if kind not in kinds:
            raw["model"][kind]["name"] = raw["model"][kind]["version"] = ""
    checkpoint.write_weights(folder, variables=chosen, config=raw, origin={})
    return folder


@pytest.fixture
def tiny_networks(monkeypatch):
    monkeypatch.setattr(trained, "make_pose_net", lambda *_: tiny.NETWORKS.pose_net)


def given(**explicit):
    explicit = {name.replace("__", "."): value for name, value in explicit.items()}
    raw = config_lib.default()
    raw.update_from_flattened_dict(explicit)
    return Given(None, raw, explicit)


def given_odometry(root, **more):
    fields = {"data__name": "kitti_odometry", "data__root": str(root), "data__depth_type": ""}
    fields |= {"data__split": "00", "data__eval_split": "00", "data__tfds_dir": f"{root}/tfds"}
    return given(**(fields | more))


@pytest.mark.slow
def test_rendered_streets_are_followed(tiny_networks, tmp_path, capsys):
    streets = {"num_streets": 1, "num_test_streets": 2, "frames_per_street": 6}
    synthetic = config_lib.to_json_dict(tiny.config())["data"]["synthetic"] | streets
    folder = write_checkpoint(tmp_path / "tiny", tfds_dir=str(tmp_path), synthetic=synthetic)
    (report,) = runs.evaluate_pose_run(given(), folder, workdir=tmp_path / "run")
    document = json.loads((tmp_path / "run" / "pose" / "synthetic_drive-test.json").read_text())
    assert document == json.loads(json.dumps(report.document()))
    assert [d["frames"] for d in document["drives"]] == [6, 6]
    assert document["protocol"]["timestamps"] == "frame numbers"
    assert "previous frame" in document["protocol"]["chaining"]
    assert "synthetic_drive-test, step 0: 12 frames" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_tiny_network_moves_as_it_says_frame_by_frame(tiny_networks, tmp_path, batch_size):
    root = make_odometry(tmp_path / "odometry", {"00": 7})
    folder = write_checkpoint(tmp_path / "tiny")
    options = given_odometry(root, eval__batch_size=batch_size, eval__snippet_frames=3)
    (report,) = runs.evaluate_pose_run(options, folder, workdir=tmp_path / "run")
    (trajectory,) = report.trajectories
    np.testing.assert_allclose(trajectory.timestamps, np.arange(7) * SECONDS_PER_FRAME)
    assert len(trajectory.snippets) == 5
    network = trained.load_pose_network(folder)
    drives = runs.open_drives(
        runs.for_evaluation(network.config, options, kind="pose_net").config, min_length=3
    )[0]
    rgb = np.stack([frame.rgb for frame in drives.frames(drives.drives[0])])
    own = {name: both["pose_net"] for name, both in network.variables.items()}
    context = np.stack([rgb[:-2], rgb[2:]], axis=1)
    vectors = network.network.apply(own, rgb[1:-1], context, train=False)
    steps = trajectory.predicted["raw"][1:6, :3, 3] - trajectory.predicted["raw"][:5, :3, 3]
    np.testing.assert_allclose(
        np.linalg.norm(steps, axis=1), np.linalg.norm(vectors[:, 0, :3], axis=1), rtol=1e-4
    )


def test_what_does_not_fit_is_an_error_before_anything_is_compiled(tiny_networks, tmp_path):
    root = make_odometry(tmp_path / "odometry", {"00": 7, "11": 7, "12": 4})
    (root / "poses" / "11.txt").unlink()
    folder = write_checkpoint(tmp_path / "tiny")

    def evaluate(checkpoint_path=folder, **more):
        options = given_odometry(root, **more)
        runs.evaluate_pose_run(options, checkpoint_path, workdir=tmp_path / "run")

    with pytest.raises(DataError, match=r"kitti_odometry/11-\w+ has no camera poses"):
        evaluate(data__eval_split="11")
    with pytest.raises(DataError, match="no 5 frames in a row, only 4"):
        evaluate(data__eval_split="12")
    with pytest.raises(DataError, match="names no sequences"):
        evaluate(data__eval_split="eigen_test")
    with pytest.raises(
        ConfigError, match=r"given 2 and 1, but the pose network of .* sees 1 and 1"
    ):
        evaluate(data__back_context=2)
    without = write_checkpoint(tmp_path / "depth_alone", kinds=("depth_net",))
    with pytest.raises(CheckpointError, match="holds no pose network"):
        evaluate(without)
    assert not (tmp_path / "run" / "pose").exists()


def test_a_drive_of_kitti_raw_needs_its_oxts_packets(tiny_networks, tmp_path):
    root = make_kitti(tmp_path / "kitti", {1: 6}, [(1, i) for i in range(1, 5)])
    folder = write_checkpoint(tmp_path / "tiny")
    fields = {"data__name": "kitti_raw", "data__root": str(root), "data__eval_split": "fake"}
    fields |= {"data__tfds_dir": str(tmp_path), "data__split": "fake", "data__depth_type": ""}
    (report,) = runs.evaluate_pose_run(given(**fields), folder, workdir=tmp_path / "run")
    assert [len(t.truth) for t in report.trajectories] == [6]  # targets and their neighbours
    for packets in root.rglob("oxts"):
        packets.rename(packets.with_name("gone"))
    fields["data__tfds_dir"] = str(tmp_path / "again")
    with pytest.raises(DataError, match="has no camera poses"):
        runs.evaluate_pose_run(given(**fields), folder, workdir=tmp_path / "run")


@pytest.mark.slow
def test_the_program_follows_a_sequence_with_a_checkpoint_of_the_original(tmp_path):
    make_odometry(tmp_path / "odometry", {"09": 7})
    content = original_files.content_of("", "PoseNet")
    original_files.write(tmp_path / "some.ckpt", content)
    output = cli.run(
        "main",
        "--mode=eval_pose",
        "--checkpoint=some.ckpt",
        "--workdir=run",
        "--config.data.name=kitti_odometry",
        "--config.data.root=odometry",
        "--config.data.split=09",
        "--config.data.eval_split=09",
        "--config.data.depth_type=",
        "--config.data.image_shape=32,64",
        "--config.eval.batch_size=4",
        cwd=tmp_path,
    )
    assert "odometry of some.ckpt, step 0" in output
    assert "model.pose_net.name = 'PoseNet'" in output
    assert "kitti_odometry-09, step 0: 7 frames" in output
    document = json.loads((tmp_path / "run" / "pose" / "kitti_odometry-09.json").read_text())
    assert np.isfinite(document["metrics"]["sim3"]["ate"])
    folder = tmp_path / "run" / "pose" / "kitti_odometry-09" / "09_image_2"
    assert len(np.loadtxt(folder / "sim3_tum.txt")) == 7
    assert Image.open(folder / "plot.png").size[0] > 1000
