"""Laws of trajectories, and the numbers of the package evo."""

import numpy as np
import pytest
import real_data
from evo.core import metrics as evo_metrics
from evo.core.trajectory import PosePath3D
from trajectories import drive, move, read_kitti, scaled, straight, turn, with_drift

from packnet_jax.metrics import odometry

ELSEWHERE = move(30, -4, 12) @ turn(1, 70) @ turn(0, -20)
"""Another world."""


def synthetic() -> np.ndarray:
    return drive()


def sequence_06() -> np.ndarray:
    """58 m, nearly straight, slow enough for no segment of 100 m."""
    return read_kitti(real_data.kitti_odometry() / "poses" / "06.txt")


def drive_0023() -> np.ndarray:
    """474 frames, 414 m."""
    date = "2011_09_26"
    drive_folder = real_data.kitti_tiny() / date / f"{date}_drive_0023_sync"
    return read_kitti(drive_folder / "image_02" / "poses.txt")


TRAJECTORIES = [synthetic, sequence_06, drive_0023]


@pytest.fixture(params=TRAJECTORIES, ids=lambda make: make.__name__)
def truth(request):
    return request.param()


def rmse(errors):
    return float(np.sqrt(np.mean(errors**2)))


def evo_path(poses):
    return PosePath3D(poses_se3=list(poses))


def evo_rmse(metric, truth, estimated):
    metric.process_data((evo_path(truth), evo_path(estimated)))
    return metric.get_statistic(evo_metrics.StatisticsType.rmse)


@pytest.mark.parametrize("with_scale", [True, False])
def test_absolute_errors_equal_those_of_evo(truth, with_scale):
    estimated = with_drift(truth)
    aligned = odometry.align(estimated, truth, with_scale=with_scale).apply(estimated)
    theirs = evo_path(estimated)
    theirs.align(evo_path(truth), correct_scale=with_scale)
    np.testing.assert_allclose(aligned, theirs.poses_se3, atol=1e-9)
    metric = evo_metrics.APE(evo_metrics.PoseRelation.translation_part)
    expected = evo_rmse(metric, truth, np.stack(theirs.poses_se3))
    assert rmse(odometry.position_errors(aligned, truth)) == pytest.approx(expected, rel=1e-9)
    assert expected > 0.05


def test_motion_errors_equal_those_of_evo(truth):
    estimated = scaled(with_drift(truth), 1 / 0.37)
    found = odometry.motion_errors(estimated, truth)
    relations = evo_metrics.PoseRelation
    for ours, relation in (
        (found.translation, relations.translation_part),
        (found.rotation, relations.rotation_angle_deg),
    ):
        metric = evo_metrics.RPE(relation, 1, evo_metrics.Unit.frames, all_pairs=True)
        assert rmse(ours) == pytest.approx(evo_rmse(metric, truth, estimated), rel=1e-7)
        np.testing.assert_allclose(ours, metric.error, rtol=1e-6, atol=1e-9)


def test_nothing_is_left_of_another_world_and_scale(truth):
    estimated = scaled(ELSEWHERE @ truth, 0.2)
    found = odometry.align(estimated, truth, with_scale=True)
    assert found.scale == pytest.approx(5, rel=1e-9)
    aligned = found.apply(estimated)
    np.testing.assert_allclose(aligned[:, :3, 3], truth[:, :3, 3], atol=1e-8)
    aligned = odometry.align(ELSEWHERE @ truth, truth, with_scale=False).apply(ELSEWHERE @ truth)
    assert rmse(odometry.position_errors(aligned, truth)) < 1e-8


def test_a_scale_error_remains_without_scale(truth):
    """Both centred on their means, 5 % of the spread is left."""
    aligned = odometry.align(scaled(truth, 1.05), truth, with_scale=False)
    errors = odometry.position_errors(aligned.apply(scaled(truth, 1.05)), truth)
    positions = truth[:, :3, 3]
    spread = np.sqrt(np.mean(np.sum((positions - positions.mean(0)) ** 2, axis=1)))
    assert aligned.scale == 1
    assert rmse(errors) == pytest.approx(0.05 * spread, rel=1e-6)


def test_a_similarity_scales_and_turns_and_moves_but_scales_no_orientation():
    similarity = odometry.Similarity(3.0, turn(1, 90)[:3, :3], np.array([1.0, 2.0, 3.0]))
    (moved,) = similarity.apply(move(0, 0, 2)[None])
    np.testing.assert_allclose(moved[:3, 3], np.array([1, 2, 3]) + 6 * turn(1, 90)[:3, 2])
    np.testing.assert_allclose(moved[:3, :3], turn(1, 90)[:3, :3])


def test_a_mirrored_path_is_not_mirrored_back():
    truth = drive()
    mirrored = truth.copy()
    mirrored[:, 0, 3] *= -1
    rotation = odometry.align(mirrored, truth, with_scale=True).rotation
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def test_standing_still_is_aligned_with_scale_1():
    standing = np.tile(ELSEWHERE, (6, 1, 1))
    found = odometry.align(standing, drive(6), with_scale=True)
    assert found.scale == 1
    assert np.isfinite(odometry.snippet_errors(standing, drive(6))).all()


def test_chaining_undoes_relative_motions(truth):
    motions = odometry.relative_motions(truth)
    first = odometry.from_first_camera(truth)
    np.testing.assert_allclose(odometry.chain_motions(motions), first, atol=1e-9)
    np.testing.assert_allclose(odometry.from_first_camera(ELSEWHERE @ truth), first, atol=1e-9)
    inverse = odometry.invert_rigid(truth)
    np.testing.assert_allclose(inverse @ truth, np.tile(np.eye(4), (len(truth), 1, 1)), atol=1e-9)


def test_rotations_stay_rotations_along_a_chain_of_float32():
    motion = (turn(1, 0.7) @ turn(0, 0.2) @ move(0, 0, 1)).astype(np.float32)
    end = odometry.chain_motions(np.tile(motion, (5000, 1, 1)))[-1, :3, :3]
    np.testing.assert_allclose(end @ end.T, np.eye(3), atol=1e-11)


def naive_snippet_error(estimated, truth):
    """As the papers' code goes, one snippet at a time."""
    guessed = np.stack([(np.linalg.inv(estimated[0]) @ pose)[:3, 3] for pose in estimated])
    true = np.stack([(np.linalg.inv(truth[0]) @ pose)[:3, 3] for pose in truth])
    scale = np.sum(true * guessed) / np.sum(guessed**2)
    return np.sqrt(np.sum((scale * guessed - true) ** 2)) / len(truth)


@pytest.mark.parametrize("length", [3, 5])
def test_snippets_are_scaled_one_by_one(truth, length):
    estimated = with_drift(truth)
    found = odometry.snippet_errors(estimated, truth, length=length)
    assert len(found) == len(truth) - length + 1
    for start in (0, len(found) // 2, len(found) - 1):
        window = slice(start, start + length)
        expected = naive_snippet_error(estimated[window], truth[window])
        assert found[start] == pytest.approx(expected, rel=1e-6)
    rescaled = odometry.snippet_errors(scaled(estimated, 7), truth, length=length)
    np.testing.assert_allclose(rescaled, found, atol=1e-9)


def test_a_path_shorter_than_a_snippet_has_none():
    assert odometry.snippet_errors(drive(4), drive(4)).shape == (0,)
    with pytest.raises(ValueError, match="length is 1"):
        odometry.snippet_errors(drive(4), drive(4), length=1)


def test_a_scale_error_of_5_percent_is_a_drift_of_5_percent_along_a_straight_road():
    """Segments end at the first frame beyond their length: here 0.25 m beyond each."""
    truth = straight(1200, 0.75)
    found = odometry.segment_errors(scaled(truth, 1.05), truth)
    assert set(found.length) == set(odometry.SEGMENT_LENGTHS)
    ends = np.floor(found.length / 0.75 + 1) * 0.75
    np.testing.assert_allclose(found.translation, 5 * ends / found.length, rtol=1e-9)
    assert found.translation.mean() == pytest.approx(5, rel=0.005)
    np.testing.assert_allclose(found.rotation, 0, atol=1e-6)


def test_a_scale_error_of_5_percent_on_winding_roads(truth):
    """The error is that of the way between both ends, as the crow flies."""
    found = odometry.segment_errors(scaled(truth, 1.05), truth)
    distances = odometry.path_distances(truth)
    expected = [
        5 * np.linalg.norm(truth[last, :3, 3] - truth[first, :3, 3]) / length
        for first in range(0, len(truth), 10)
        for length in odometry.SEGMENT_LENGTHS
        if (last := int(np.argmax(distances > distances[first] + length)))
    ]
    np.testing.assert_allclose(found.translation, expected, rtol=1e-6)
    np.testing.assert_allclose(found.rotation, 0, atol=1e-5)
    if distances[-1] > 400:
        assert set(found.length) == {100, 200, 300, 400}
        assert found.translation.mean() == pytest.approx(5, rel=0.02)
    else:
        assert distances[-1] < 100
        assert not len(found.length)


def test_a_turn_in_every_frame_is_a_drift_in_degrees_per_100_metres():
    truth, degrees = straight(600, 0.8), 0.01
    bent = odometry.chain_motions(np.tile(move(0, 0, 0.8) @ turn(1, degrees), (599, 1, 1)))
    found = odometry.segment_errors(bent, truth)
    frames = np.floor(found.length / 0.8 + 1e-9) + 1
    np.testing.assert_allclose(found.rotation, 100 * degrees * frames / found.length, rtol=1e-6)
    assert found.rotation.mean() == pytest.approx(100 * degrees / 0.8, rel=0.01)


@pytest.mark.parametrize("make", [synthetic, drive_0023], ids=lambda make: make.__name__)
def test_one_wrong_turn_counts_in_the_segments_that_hold_it(make):
    truth = make()
    wrong = truth.copy()
    middle = len(truth) // 2
    pivot = truth[middle]
    wrong[middle:] = pivot @ turn(1, 2) @ np.linalg.inv(pivot) @ truth[middle:]
    found = odometry.segment_errors(wrong, truth, lengths=[100])
    distances = odometry.path_distances(truth)
    firsts = [i for i in range(0, len(truth), 10) if distances[i] + 100 < distances[-1]]
    lasts = [int(np.argmax(distances > distances[i] + 100)) for i in firsts]
    held = [i < middle <= last for i, last in zip(firsts, lasts, strict=True)]
    assert 0 < sum(held) < len(held)
    np.testing.assert_allclose(found.rotation, np.where(held, 2.0, 0.0), atol=1e-5)


def test_the_truth_of_all_is_without_error(truth):
    estimated = ELSEWHERE @ truth
    assert rmse(odometry.snippet_errors(estimated, truth)) < 1e-9
    for errors in (
        odometry.motion_errors(estimated, truth),
        odometry.segment_errors(estimated, truth),
    ):
        np.testing.assert_allclose(errors.translation, 0, atol=1e-8)
        np.testing.assert_allclose(errors.rotation, 0, atol=1e-5)


@pytest.mark.parametrize(
    "compare",
    [
        lambda a, b: odometry.align(a, b, with_scale=True),
        odometry.position_errors,
        odometry.snippet_errors,
        odometry.motion_errors,
        odometry.segment_errors,
    ],
)
def test_trajectories_of_other_lengths_are_refused(compare):
    with pytest.raises(ValueError, match="has 5 frames and the true one 6"):
        compare(drive(5), drive(6))
