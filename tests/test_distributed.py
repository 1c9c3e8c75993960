"""Several processes find each other, or say in time what is missing; and one of them speaks."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Sequence

import cli
import jax
import processes
import pytest
import tiny_program
from jax.experimental import multihost_utils

from packnet_jax import distributed
from packnet_jax.distributed import ALONE, Cluster
from packnet_jax.errors import ConfigError, DataError

GIVEN = {"coordinator": "10.0.0.2:1234", "num_processes": 2, "process_id": 1}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coordinator": "10.0.0.2:1234"}, "given without --num_processes, --process_id"),
        ({"process_id": 0}, "--process_id given without --coordinator, --num_processes"),
        (GIVEN | {"mode": "off"}, "--distributed=off and --coordinator"),
        (GIVEN | {"coordinator": "10.0.0.2"}, "expected HOST:PORT"),
        (GIVEN | {"coordinator": "host:99999"}, "expected HOST:PORT"),
        (GIVEN | {"process_id": 2}, "given 2 and 2"),
        (GIVEN | {"connect_timeout": 0.0}, "expected seconds above 0"),
    ],
)
def test_flags_that_do_not_fit_each_other_are_refused(fields, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        Cluster(**fields).check()


def test_flags_that_fit_are_taken():
    for cluster in (Cluster(), ALONE, Cluster(**GIVEN), Cluster("on", **GIVEN)):
        cluster.check()


def test_who_is_alone_speaks_goes_ahead_and_gathers_from_itself(capsys):
    distributed.connect(Cluster())
    assert distributed.is_first()
    with distributed.one_voice(), distributed.first_goes_ahead("nothing"):
        print("heard")
    assert capsys.readouterr().out == "heard\n"
    assert distributed.gathered([{"value": 0.1}]) == [{"value": 0.1}]


def test_what_one_process_alone_runs_is_the_same():
    distributed.check_same({"config.seed": 0, "data": {"train": ["a"]}})


class Left(BaseException):
    """Instead of the process's end."""


def test_of_several_the_second_ctrl_c_and_errors_of_the_first_do_not_wait_for_others(
    monkeypatch, capfd
):
    def leave(status):
        raise Left(status)

    def wait(_):
        pytest.fail("the others are called, or waited for")

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(multihost_utils, "sync_global_devices", wait)
    with pytest.raises(Left, match="130"), distributed.one_voice():
        raise KeyboardInterrupt
    assert "Process 0: interrupted" in capfd.readouterr().err
    with pytest.raises(DataError), distributed.first_goes_ahead("data"):
        raise DataError("a shard is gone")


CONNECT = """
import functools
import jax
from packnet_jax import distributed
from packnet_jax.command_line import run_program

def main(_):
    jax.distributed.initialize = functools.partial(
        jax.distributed.initialize, heartbeat_timeout_seconds=5  # by which a loss is noticed
    )
    distributed.connect(distributed.Cluster(*{arguments!r}))
    with distributed.one_voice():
        {body}

run_program(main)
"""


def program(body: str, *arguments) -> list[str]:
    return ["-c", CONNECT.format(arguments=arguments, body=body)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_missing_peer_is_told_of_in_time(tmp_path, number):
    address = f"localhost:{processes.free_port()}"
    alone = processes.start(program("pass", "auto", address, 2, number, 2.0), 1, tmp_path)
    (output,) = processes.finish([alone], status=2, timeout=60)
    (message,) = (line for line in output.splitlines() if line.startswith("DistributedError"))
    assert f"process {number} of 2 waited 2 s for the others" in message
    assert address in message
    found = "this is the coordinator" if number == 0 else "nothing answers at the coordinator"
    assert found in message
    assert "--connect_timeout" in message
    assert "Traceback" not in output


def test_where_there_is_no_cluster_on_is_refused_and_auto_goes_on_alone(tmp_path):
    body = "print('processes', jax.process_count())"
    started = [processes.start(program(body, mode), 1, tmp_path) for mode in ("on", "auto", "off")]
    (refused,) = processes.finish(started[:1], status=2, timeout=60)
    assert "jax finds no cluster here" in refused
    for output in processes.finish(started[1:], timeout=60):
        assert "processes 1" in output


PREEMPTED = """
import os, signal, sys, threading, time
import jax
from packnet_jax import main, runs

def preempt(seconds=0.0):
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM)).start()

def initialize(*arguments, **fields):
    preempt(0.5)
    meet(*arguments, **fields)

def evaluate(*_, **__):
    if jax.process_index() == 1:
        preempt()
    time.sleep(1000)

runs.evaluate_run = evaluate
meet = jax.distributed.initialize
if os.environ["MOMENT"] == "meeting":
    jax.distributed.initialize = initialize
main.run()
"""


@pytest.mark.slow
def test_sigterm_ends_an_evaluation_also_while_others_are_waited_for(tmp_path):
    """Outside of the loop, which saves first. jax has a handler of its own, which ignores it."""

    def start(number: int, moment: str, address: str):
        flags = [f"--coordinator={address}", "--num_processes=2", f"--process_id={number}"]
        program = ["-c", PREEMPTED, "--mode=eval", "--checkpoint=none", "--workdir=here", *flags]
        return processes.start(program, 1, tmp_path, MOMENT=moment)

    waiting = start(1, "meeting", f"localhost:{processes.free_port()}")
    address = f"localhost:{processes.free_port()}"
    first, second = (start(number, "evaluation", address) for number in range(2))
    try:
        processes.finish([waiting, second], status=128 + signal.SIGTERM, timeout=120)
    finally:
        first.kill()
        first.wait()


TOGETHER = """
        from absl import logging
        from packnet_jax.errors import ConfigError, DataError
        import os
        number = jax.process_index()
        print("said by", number, flush=True)
        mine = [[number, 0.1 + number, float("inf")]] * number
        assert distributed.gathered(mine) == [[1, 1.1, float("inf")]]
        logging.warning("to be careful")
        logging.error("broken %d", number)
        distributed.check_same({"seed": 7, "only_here": number} if number else {"seed": 7})
        try:
            distributed.check_same({"config.seed": number, "config.objective": "same"})
        except ConfigError as error:
            open(f"differs{number}", "w").write(str(error))
        with distributed.first_goes_ahead("building"):
            assert number == 0 or os.path.exists("built")
            open("built", "w").close()
        if number == 1:
            raise DataError("lost a shard")
        distributed.gathered([])
"""


def test_processes_with_unequal_devices_are_refused(tmp_path):
    """Such as where a GPU of one machine is broken: jax's own messages would not get through."""
    address = f"localhost:{processes.free_port()}"
    started = [
        processes.start(program("pass", "auto", address, 2, number), 1 + number, tmp_path)
        for number in range(2)
    ]
    for output in processes.finish(started, status=2, timeout=120):
        assert "have not all as many devices: 1 in process 0, 2 in process 1" in output


def test_processes_detected_through_slurm_work_together_until_one_fails(tmp_path):
    """The variables that srun sets; the failure of one ends the other, too, which waits for it."""
    port = processes.free_port()
    slurm = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "JAX_COORDINATOR_PORT": str(port),
        "SLURM_LOCALID": "0",
    }
    started = [
        processes.start(program(TOGETHER), 1, tmp_path, **slurm, SLURM_PROCID=str(number))
        for number in range(2)
    ]
    first, second = (process.communicate(timeout=120)[0] for process in started)
    assert "said by 0" in first
    assert "said by 1" not in second
    assert "to be careful" in first
    assert "to be careful" not in second
    assert "broken 1" in second
    for number in range(2):
        told = (tmp_path / f"differs{number}").read_text()
        assert "config.seed: 0 in process 0, 1 in process 1\nStart" in told
    assert "Process 1: DataError: lost a shard" in second
    assert started[1].returncode == 2
    assert started[0].returncode != 0


@pytest.mark.parametrize(
    ("variables", "alone"),
    [
        ({"SLURM_NTASKS": "1"}, True),
        ({"SLURM_NTASKS": "1", "OMPI_COMM_WORLD_SIZE": "1"}, True),
        ({"SLURM_NTASKS": "1", "OMPI_COMM_WORLD_SIZE": "2"}, False),  # mpirun within an allocation
        ({"SLURM_NTASKS": "2"}, False),
        ({}, False),
    ],
)
def test_the_only_task_of_a_step_is_no_cluster(variables, alone, monkeypatch):
    """Where jax is not asked to join, it gives all of a machine's devices to the one process."""
    for name in distributed.TASKS_OF_A_STEP:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    joined = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **given: joined.append(given))
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: False)
    distributed.connect(Cluster("auto"))
    assert len(joined) == (not alone)
    distributed.connect(Cluster("on"))
    assert len(joined) == 1 + (not alone)


def test_flags_of_several_processes_are_checked_before_anything_is_imported(tmp_path):
    output = cli.run("main", cli.config_file("demo"), "--num_processes=2", cwd=tmp_path, status=2)
    assert "--num_processes given without --coordinator, --process_id" in output


def flags(config: str, workdir: str, *more: str) -> list[str]:
    return [
        config,
        f"--workdir={workdir}",
        "--config.train.batch_size=4",
        "--config.train.num_steps=2",
        "--config.eval.median_baseline=False",
        "--config.loss.num_scales=1",  # which compiles in a third of the time
        "--config.data.image_shape=32,64",
        "--config.data.synthetic.num_streets=2",
        "--config.data.synthetic.num_test_streets=1",
        "--config.data.synthetic.frames_per_street=5",
        *more,
    ]


@pytest.mark.soak
def test_the_program_trains_and_evaluates_in_two_processes(tmp_path):
    """What the set lacks is built once; the first process alone prints and writes."""

    def start(*arguments: str, second: Sequence[str] = ()) -> list[subprocess.Popen[str]]:
        program = [tiny_program.__file__, *arguments]
        address = f"localhost:{processes.free_port()}"
        cluster = [f"--coordinator={address}", "--num_processes=2"]
        return [
            processes.start([*program, *cluster, f"--process_id={number}", *own], 2, tmp_path)
            for number, own in enumerate(((), second))
        ]

    def run(*arguments: str) -> list[str]:
        return processes.finish(start(*arguments))

    given = flags(cli.config_file("demo"), "run", "--config.data.tfds_dir=sets")
    first, second = start(*given, second=["--config.seed=1"])
    (refused,) = processes.finish([first], status=2)
    assert second.wait(processes.TIMEOUT_SECONDS) != 0
    assert "config.seed: 42 in process 0, 1 in process 1" in refused
    assert not (tmp_path / "sets").exists()
    first, second = run(*given)
    assert "batch 4 on 4 x cpu of 2 processes" in first
    assert "Evaluation   run/eval/synthetic_drive-test.json" in first
    assert "Training on" not in second
    assert "Evaluation" not in second
    assert len(list((tmp_path / "run").glob("events.out.tfevents*"))) == 1
    trained = json.loads((tmp_path / "run/eval/synthetic_drive-test.json").read_text())
    assert trained["step"] == 2
    indices = [row["index"] for row in trained["per_image"]]
    assert indices == sorted(set(indices))
    saved = ["--config.save.folder=saved", "--config.data.tfds_dir=sets"]
    run("--mode=eval", "--checkpoint=run", "--workdir=again", *saved)
    again = json.loads((tmp_path / "again/eval/synthetic_drive-test.json").read_text())
    for mode, metrics in trained["metrics"].items():
        assert again["metrics"][mode] == pytest.approx(metrics, rel=1e-6)
    assert len(list((tmp_path / "saved").rglob("*_depth.npz"))) == len(indices)
