"""A run: records, table, failures, and the program itself."""

import json
import subprocess
import sys

import pytest
from cli import ROOT, environment

from benchmarks import table
from benchmarks.measure_all import measure_all, measure_apart
from benchmarks.plan import MACHINE_CASES, Case, Choice
from benchmarks.records import MEASURED, make_record, with_peak_shares
from packnet_jax.errors import PacknetError

pytestmark = pytest.mark.slow

CASE = Case("forward", "", "PackNet01", 192, 640, 2, "float32", "fused")
FACTS = {
    "platform": "cpu",
    "device": "cpu",
    "date": "2026-01-01",
    "processor": "x",
    "cores": 2,
    "python": "3.11",
    "versions": {"jax": "0.10"},
}


def found(*seconds, **fields):
    """What a worker writes."""
    return {"seconds": seconds, "unit": "images", "per_round": 2, **fields}


def fake_measure(failing=()):
    """Every case takes 2 s, every matmul does 100 GFLOP/s, a program 100 GFLOP."""

    def measure(case):
        if case in failing:
            return {"error": "MemoryError: a|b"}
        if case.benchmark == "machine":
            device = {"platform": "cpu", "device": "cpu"}
            return found(2.0, device=device) | {"per_round": 200e9, "unit": "FLOP"}
        return found(2.0, flops=100e9, peak_memory_bytes=2**30)

    return measure


def run(*arguments, status=0):
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert process.returncode == status, process.stdout + process.stderr
    return process


def test_a_record_says_what_was_measured_and_where():
    record = make_record(CASE, found(3.0, 1.0, 2.5, flops=7.0, compile_s=0.5), FACTS)
    assert record["median_s"] == 2.5 and record["min_s"] == 1.0 and record["rounds"] == 3
    assert record["rate"] == 2 / 2.5 and record["flops"] == 7 and record["compile_s"] == 0.5
    assert record["network"] == "PackNet01" and record["packing"] == "fused"
    assert record["error"] is None and record["peak_memory_bytes"] is None
    assert set(MEASURED) | set(FACTS) <= set(record)


def test_a_failure_has_the_same_fields():
    failed = make_record(CASE, {"error": "no memory"}, FACTS)
    assert set(failed) == set(make_record(CASE, found(1.0), FACTS))
    assert failed["error"] == "no memory" and failed["median_s"] is None


def test_the_share_of_the_peak_is_that_of_the_same_type():
    records = [
        make_record(MACHINE_CASES[0], {"seconds": [1.0], "per_round": 400.0}, FACTS),
        make_record(MACHINE_CASES[1], {"seconds": [1.0], "per_round": 800.0}, FACTS),
        make_record(CASE, found(2.0, flops=100.0), FACTS),
    ]
    shared = with_peak_shares(records)
    assert shared[2]["peak_share"] == 100 / 2 / 400 and shared[2]["peak_flops_per_s"] == 400
    assert [r["peak_share"] for r in shared[:2]] == [None, None]
    assert with_peak_shares(records[1:])[1]["peak_share"] is None


def test_a_run_publishes_after_each_case_and_goes_on_after_a_failure():
    published = []
    choice = Choice.parse(only=["forward"], networks=["PackNet01", "DepthResNet18"])
    failing = Case("forward", "", "PackNet01", 192, 640, 1, "float32", "reference")
    records = measure_all(choice, measure=fake_measure([failing]), publish=published.append)
    assert [len(p) for p in published] == [1, 2, 3, 3]
    assert [r["error"] for r in records] == ["MemoryError: a|b", None, None]
    assert {r["benchmark"] for r in records} == {"forward"}
    assert records[1]["peak_share"] == 0.5
    assert json.loads(json.dumps(records)) == records


def test_the_machine_is_shown_where_it_is_asked_for():
    records = measure_all(
        Choice.parse(only=["machine"]), measure=fake_measure(), publish=lambda _: None
    )
    assert [(r["variant"], r["dtype"]) for r in records] == [
        ("matmul", "float32"),
        ("matmul", "bfloat16"),
        ("copy", None),
    ]


def test_a_machine_that_can_not_be_measured_is_an_error():
    with pytest.raises(PacknetError, match="no device"):
        measure_all(Choice.parse(), measure=lambda _: {"error": "no device"}, publish=print)


def test_the_table_has_a_row_for_each_record_with_as_many_cells():
    records = with_peak_shares(
        [
            make_record(
                MACHINE_CASES[0], {"seconds": [1.0], "per_round": 4e11, "unit": "FLOP"}, FACTS
            ),
            make_record(CASE, found(0.5, flops=1e11, peak_memory_bytes=2**31), FACTS),
            make_record(CASE, {"error": "a|b"}, FACTS),
        ]
    )
    title, empty, *lines = table.markdown(records).splitlines()
    assert "2 cores" in title and "jax 0.10" in title and not empty
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(row) for row in rows} == {len(table.HEADER)} and len(rows) == 5
    measured = dict(zip(table.HEADER, rows[3], strict=True))
    assert measured["network"] == "PackNet01" and measured["size"] == "192x640"
    assert measured["median"] == "500 ms" and measured["rate"] == "4 images/s"
    assert measured["peak memory"] == "2.00 GiB" and measured["GFLOP"] == "100.0"
    assert measured["of peak"] == "50%"
    assert "400 GFLOP/s" in rows[2] and "failed: a/b" in rows[4]


@pytest.mark.parametrize(
    ("case", "timeout", "reason"),
    [
        (Case("forward", "", "PackNet02", 32, 32, 1, "float32"), 60, "KeyError: 'PackNet02'"),
        (CASE, 0.01, "took longer than 0.01 s"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_a_reason(case, timeout, reason, capfd):
    assert measure_apart(case, rounds=1, timeout=timeout) == {"error": reason}


def test_the_program_measures_prints_and_writes(tmp_path):
    files = tmp_path / "records.json", tmp_path / "table.md"
    flags = f"--json={files[0]}", f"--markdown={files[1]}", "--rounds=2", "--sizes=32x64"
    printed = run("--only=forward,metrics", "--networks=DepthResNet18", *flags).stdout
    forward, metrics = json.loads(files[0].read_text())
    assert printed == files[1].read_text()
    assert forward["benchmark"] == "forward" and forward["network"] == "DepthResNet18"
    assert (forward["height"], forward["width"], forward["batch"]) == (32, 64, 1)
    assert forward["dtype"] == "float32" and forward["packing"] is None
    assert 0 < forward["min_s"] <= forward["median_s"]
    assert 2**27 < forward["peak_memory_bytes"] < 2**33
    assert 1e8 < forward["flops"] < 1e9 and 0 < forward["peak_share"] < 2
    assert metrics["benchmark"] == "metrics" and metrics["height"] == 375


def test_a_failed_case_is_a_row_and_exit_status_1_and_others_are_measured():
    """A batch of a petabyte."""
    flags = "--networks=DepthResNet18", "--sizes=32x32", "--rounds=1"
    process = run("--only=forward", *flags, "--batch_sizes=100000000,1", status=1)
    failed, measured = process.stdout.splitlines()[-2:]
    assert "failed: " in failed and "MemoryError" in failed
    assert "failed" not in measured and "images/s" in measured
    assert "Traceback" in process.stderr


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--only=backward", "--only: given 'backward'; expected some of machine, forward"),
        ("--networks=PackNet02", "--networks: given 'PackNet02'; expected some of PackNet01"),
        ("--rounds=0", "rounds"),
        ("--colour=red", "Unknown command line flag 'colour'"),
        ("--json=nowhere/records.json", "--json: nowhere/records.json can not be written"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(argument, expected):
    process = run(argument, status=2)
    assert process.stdout == "" and expected in process.stderr
    assert len(process.stderr.splitlines()) == 1
