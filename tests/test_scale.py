"""One run on 1 process x 8 devices, 2 x 4 and 4 x 2: the same batches, gradients, parameters and
metrics; and a run that was stopped on eight devices goes on, on any others, as if it had not been.
"""

import itertools
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import processes
import pytest
import scale_worker

from packnet_jax import sharding

pytestmark = pytest.mark.slow

TOPOLOGIES = {"2x4": (2, 4), "4x2": (4, 2)}
RESUMED_FSDP = {"2x4": 1, "4x2": 4}


class Found(NamedTuple):
    """What each process of a topology has found."""

    folder: Path
    arrays: list[dict[str, np.ndarray]]
    runs: list[dict]


def launch(folder: Path, num_processes: int, num_devices: int, *resumed: str) -> Found:
    folder.mkdir()
    address = f"localhost:{processes.free_port()}"
    worker = str(Path(scale_worker.__file__))
    started = [
        processes.start(
            [worker, str(folder), address, str(num_processes), str(number), *resumed],
            num_devices,
            folder,
        )
        for number in range(num_processes)
    ]
    processes.finish(started)
    arrays = [dict(np.load(folder / f"{i}.npz")) for i in range(num_processes)]
    runs = [json.loads((folder / f"{i}.json").read_text()) for i in range(num_processes)]
    assert all(run["devices"] == 8 for run in runs)
    return Found(folder, arrays, runs)


def stopped(run: Path, copy: Path) -> Path:
    """A copy of the run as it was half-way."""
    shutil.copytree(run, copy)
    last = copy / "checkpoints" / f"{scale_worker.NUM_STEPS:08d}"
    assert last.is_dir()
    shutil.rmtree(last)
    shutil.rmtree(copy / "eval")
    return copy


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Found:
    return launch(tmp_path_factory.mktemp("scale") / "1x8", 1, 8)


@pytest.fixture(scope="module", params=["2x4", pytest.param("4x2", marks=pytest.mark.soak)])
def split(whole, request, tmp_path_factory) -> Found:
    base, name = tmp_path_factory.mktemp("scale"), request.param
    workdir = stopped(whole.folder / "run", base / "resumed")
    return launch(base / name, *TOPOLOGIES[name], str(workdir), str(RESUMED_FSDP[name]))


def assert_same_run(found: list[dict], expected: dict, first_step: int = 0) -> None:
    """Every process tells of the same run, and that is the expected one's from a step on."""
    for run in found:
        np.testing.assert_allclose(run["losses"], expected["losses"][first_step:], rtol=1e-9)
        np.testing.assert_allclose(run["parameters"], expected["parameters"], rtol=0, atol=1e-9)
        assert run["images"] == expected["images"]
        assert run["metrics"].keys() == expected["metrics"].keys()
        for name, value in expected["metrics"].items():
            assert run["metrics"][name] == pytest.approx(value, rel=1e-9, abs=1e-9), name
    steps = zip(*(run["seen"] for run in found), strict=True)
    seen = [list(itertools.chain(*parts)) for parts in steps]
    assert seen == expected["seen"][first_step:]


def test_the_run_has_learnt_something_and_measured_all_images(whole):
    (run,) = whole.runs
    assert len(run["run"]["losses"]) == scale_worker.NUM_STEPS
    assert run["run"]["losses"][-1] < run["run"]["losses"][0]
    assert len(run["run"]["images"]) == 5


def test_batches_are_identical_element_for_element(whole, split):
    names = [name for name in whole.arrays[0] if name.startswith("batch")]
    assert len(names) > 15
    for arrays in split.arrays:
        for name in names:
            np.testing.assert_array_equal(arrays[name], whole.arrays[0][name], err_msg=name)


def test_loss_and_gradients_agree_in_float32(whole, split):
    names = [name for name in whole.arrays[0] if name.startswith("learnt")]
    for arrays in split.arrays:
        for name in names:
            expected = whole.arrays[0][name]
            assert expected.dtype == np.float32
            error = np.abs(arrays[name] - expected).max()
            assert error <= 1e-5 * max(np.abs(expected).max(), 1e-12), name


def test_parameters_losses_and_metrics_agree_after_twenty_steps_in_float64(whole, split):
    assert_same_run([run["run"] for run in split.runs], whole.runs[0]["run"])


def test_a_run_stopped_on_eight_devices_goes_on_in_several_processes(whole, split):
    """Of which the four share parameters and the optimiser's state, too."""
    found = [run["resumed"] for run in split.runs]
    assert_same_run(found, whole.runs[0]["run"], scale_worker.STOPPED_AT)


@pytest.mark.parametrize("num_devices", [1, 4])
def test_a_run_stopped_on_eight_devices_goes_on_on_fewer(whole, tmp_path, num_devices):
    workdir = stopped(whole.folder / "run", tmp_path / "resumed")
    found = scale_worker.train(workdir, num_devices=num_devices)
    assert_same_run([found], whole.runs[0]["run"], scale_worker.STOPPED_AT)


def test_devices_that_share_the_state_compute_the_same_and_resume_without_sharing(
    whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(sharding, "MIN_SHARDED_SIZE", 1)
    found = scale_worker.train(tmp_path / "shared", fsdp=2, num_devices=4)
    expected = whole.runs[0]["run"]
    assert found["bytes_per_device"] < 0.6 * expected["bytes_per_device"]
    assert_same_run([found], expected)
    workdir = stopped(tmp_path / "shared", tmp_path / "resumed")
    alone = scale_worker.train(workdir, num_devices=1)
    assert alone["bytes_per_device"] == expected["bytes_per_device"]
    assert_same_run([alone], expected, scale_worker.STOPPED_AT)


def test_only_the_first_process_leaves_files_of_its_own(whole, split):
    """Reports and pictures; a checkpoint's arrays are everybody's."""
    left = {path.name for path in (split.folder / "run" / "eval").rglob("*.*")}
    first, *others = (set(run["run"]["wrote"]) for run in split.runs)
    assert left and left <= first
    assert not any(left & wrote for wrote in others)
    assert left == {path.name for path in (whole.folder / "run" / "eval").rglob("*.*")}
