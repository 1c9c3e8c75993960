"""The scaling model: its laws, numbers worked out by hand, and its command line."""

import itertools
import json
import subprocess
import sys

import pytest
from cli import ROOT, environment

from benchmarks.grids import V5E_SHAPES, V5P_SHAPES, parse_grid
from benchmarks.scaling_model import INPUT_RATES, WORK, Work, parse_prices, predict
from packnet_jax.errors import ConfigError

GRIDS = (
    *(f"v5e-{chips}" for chips in V5E_SHAPES),
    *(f"v5p-{cores}" for cores in V5P_SHAPES),
    *(f"h100-{gpus}" for gpus in (1, 2, 4, 8, 16, 32, 64, 128)),
)
EASY = Work(flops=1e12, parameters=250_000_000, activation_bytes=2e9)
"""Gradients of 1 GB."""


def easy(name, **changes):
    options = {"batch_per_device": 4, "efficiency": 0.5} | changes
    return predict(parse_grid(name), EASY, **options)


@pytest.mark.parametrize("name", ["v5e-1", "h100-1"])
def test_one_device_exchanges_nothing(name):
    alone = easy(name)
    assert alone.exchange == 0 and alone.exchange_share == 0
    assert alone.step == alone.best_step == alone.compute + alone.update


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("efficiency", [0.01, 0.3, 1.0])
def test_overlap_hides_at_most_the_exchange(name, efficiency):
    found = easy(name, efficiency=efficiency)
    assert found.step == pytest.approx(found.compute + found.update + found.exchange)
    assert found.compute + found.update <= found.best_step <= found.step
    assert found.best_step >= found.exchange
    assert 0 <= found.best_exchange_share <= found.exchange_share < 1
    assert found.best_samples_per_s >= found.samples_per_s


@pytest.mark.parametrize("kind", ["v5e", "v5p", "h100"])
def test_more_devices_keep_compute_and_do_more_samples_below_ideal_scaling(kind):
    found = [easy(name) for name in GRIDS if name.startswith(kind)]
    alone = found[0].compute + found[0].update
    for few, many in itertools.pairwise(found):
        assert many.chips > few.chips
        assert (many.compute, many.update) == (few.compute, few.update)
        assert many.samples_per_s > few.samples_per_s
        assert many.best_samples_per_s <= many.samples / alone * (1 + 1e-12)


def test_larger_batches_pay_the_exchange_less_often():
    few, many = easy("v5e-64"), easy("v5e-64", batch_per_device=8)
    assert many.exchange == few.exchange and many.compute == 2 * few.compute
    assert many.exchange_share < few.exchange_share
    assert many.samples_per_s > few.samples_per_s


def test_v5e_64_by_hand():
    """8x8 without joined ends: a corner has two links of 50 GB/s."""
    found = easy("v5e-64")
    assert (found.chips, found.machines, found.samples) == (64, 16, 256)
    assert found.compute == pytest.approx(4e12 / 98.5e12)
    assert found.update == pytest.approx(7 / 819)
    assert found.exchange == pytest.approx(2 * 63 / 64 / 100)
    assert found.memory_bytes == pytest.approx(12e9) and found.fits


def test_v5p_128_by_hand():
    """128 TensorCores are 64 chips, 4x4x4 with joined ends: six links of 100 GB/s."""
    found = easy("v5p-128")
    assert (found.chips, found.machines) == (64, 16)
    assert found.exchange == pytest.approx(2 * 63 / 64 / 600)


def test_64_h100_by_hand():
    """1 GB within eight GPUs at 450 GB/s, an eighth of it among eight machines at 50 GB/s."""
    found = easy("h100-64")
    assert (found.chips, found.machines) == (64, 8)
    assert found.exchange == pytest.approx(2 * 7 / 8 / 450 + 2 * 7 / 8 / 8 / 50)
    assert easy("h100-8").exchange == pytest.approx(2 * 7 / 8 / 450)


@pytest.mark.parametrize(
    ("name", "links"),
    [("v5e-4", 2), ("v5e-128", 3), ("v5e-256", 4), ("v5p-8", 2), ("v5p-16", 3), ("v5p-64", 3)],
)
def test_an_axis_has_two_links_only_where_its_ends_are_joined(name, links):
    assert parse_grid(name).links == links


def test_what_no_chip_can_hold_does_not_fit():
    assert not easy("v5e-64", batch_per_device=7).fits  # 4 GB, and 14 GB of samples
    assert easy("v5p-128", batch_per_device=7).fits


def test_the_default_work_fits_every_chip_with_the_recipe_s_batch():
    for name in ("v5e-64", "v5p-128", "h100-64"):
        assert predict(parse_grid(name), WORK, batch_per_device=4, efficiency=0.3).fits


def test_cores_prepare_what_a_machine_s_chips_take():
    found = easy("h100-64")
    per_machine = found.best_samples_per_s / 8
    assert {kind: cores * INPUT_RATES[kind] for kind, cores in found.cores.items()} == (
        pytest.approx(dict.fromkeys(INPUT_RATES, per_machine))
    )
    assert found.machine_cpus == 224


def test_cost_is_that_of_all_chips_for_the_time():
    found = easy("h100-64", price=2.5)
    hours = 1e6 / found.samples_per_s / 3600
    assert found.cost == pytest.approx(2.5 * 64 * hours)
    assert easy("h100-64").cost is None


@pytest.mark.parametrize(
    "name", ["", "v5e", "v5e-9", "v5p-4", "h100-0", "h100-12", "tpu-8", "v5e--4"]
)
def test_a_grid_that_nobody_rents_is_an_error(name):
    with pytest.raises(ConfigError, match=r"--grids: given .*; expected v5e-N"):
        parse_grid(name)


@pytest.mark.parametrize("word", ["v5e-64", "v5e-64=", "v5e-64=-1", "v5e-64=nan", "h100-8=2", "=1"])
def test_a_price_of_nothing_is_an_error(word):
    with pytest.raises(ConfigError, match="--prices: given"):
        parse_prices([word], [parse_grid("v5e-64")])


def start(*flags):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling_model", *flags],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_program_prints_and_writes_table_and_numbers(tmp_path):
    files = f"--markdown={tmp_path / 'table.md'}", f"--json={tmp_path / 'numbers.json'}"
    ended = start("--grids=v5e-64,h100-8", "--batch_per_device=2", "--prices=h100-8=2", *files)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "table.md").read_text() == ended.stdout
    first, second = json.loads((tmp_path / "numbers.json").read_text())
    assert (first["grid"], first["samples"], second["samples"]) == ("v5e-64", 128, 16)
    assert first["cost"] is None and second["cost"] > 0
    rows = {
        cells[0]: cells[1:]
        for line in ended.stdout.splitlines()[2:]
        for cells in [[cell.strip() for cell in line.split("|")[1:-1]]]
    }
    assert rows[""] == ["v5e-64", "h100-8"]
    assert rows["of which exchange"] == [f"{p['exchange_share']:.1%}" for p in (first, second)]
    assert rows["cost of a million samples"] == ["", f"{second['cost']:.2f}"]


@pytest.mark.parametrize(
    "flag",
    ["--grids=v5e-65", "--grids=", "--efficiency=1.5", "--batch_per_device=0", "--prices=v5e-64"],
)
def test_what_does_not_fit_is_one_message(flag):
    ended = start(flag)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and ended.stderr.startswith("ConfigError: ")
