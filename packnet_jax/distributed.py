"""Several processes as one run: they meet through jax's own runtime, and the first one speaks.

All of them run the same command. jax finds the cluster (`jax.distributed.initialize`), carries what
they tell each other, and ends all of them when one is lost; here are the command line's view of it,
messages, and a time limit that can be caught.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from packnet_jax.errors import ConfigError, DistributedError, PacknetError
from packnet_jax.quiet import without_warnings
from packnet_jax.signals import Preempted

GRACE_SECONDS = 60
"""jax's own limit comes so much later than ours: it aborts the process, with a stack trace."""

PROBE_SECONDS = 2.0

TASKS_OF_A_STEP = ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
"""Where Slurm and Open MPI say how many processes they have started."""

NO_CLUSTER = ("coordinator_address should be defined", "must be called before any JAX calls")
"""What jax says where it detects none, or where a program has begun alone already."""


@dataclass(frozen=True)
class Cluster:
    """What the command line says of the processes that run together."""

    mode: Literal["auto", "on", "off"] = "auto"
    """Whether to look for a cluster (Slurm, Open MPI, Cloud TPU, Kubernetes), and to insist on it.
    """
    coordinator: str | None = None
    """HOST:PORT of the first process, where nothing tells jax."""
    num_processes: int | None = None
    process_id: int | None = None
    connect_timeout: float = 300.0
    """Seconds that a process waits for the others."""

    @property
    def given(self) -> dict[str, Any]:
        """What is said outright, by the names of `jax.distributed.initialize`."""
        return {
            "coordinator_address": self.coordinator,
            "num_processes": self.num_processes,
            "process_id": self.process_id,
        }

    def check(self) -> None:
        """Raises ConfigError unless the flags fit each other; costs nothing."""
        flags = {
            "--coordinator": self.coordinator,
            "--num_processes": self.num_processes,
            "--process_id": self.process_id,
        }
        missing = [flag for flag, value in flags.items() if value is None]
        present = [flag for flag in flags if flag not in missing]
        if present and self.mode == "off":
            raise ConfigError(
                f"--distributed=off and {', '.join(present)} were given; leave either out"
            )
        if present and missing:
            raise ConfigError(
                f"{', '.join(present)} given without {', '.join(missing)}; give all three, or none "
                "where jax finds the cluster by itself"
            )
        if self.coordinator is not None and not _is_address(self.coordinator):
            raise ConfigError(
                f"--coordinator: given {self.coordinator!r}, expected HOST:PORT of process 0, such "
                "as 10.0.0.2:12345"
            )
        count, number = self.num_processes, self.process_id
        if count is not None and number is not None and not 0 <= number < count:
            raise ConfigError(
                f"--num_processes, --process_id: given {count} and {number}, but processes are "
                "numbered from 0 to --num_processes - 1"
            )
        if not self.connect_timeout > 0:
            raise ConfigError(
                f"--connect_timeout: given {self.connect_timeout}, expected seconds above 0"
            )


ALONE = Cluster("off")


def connect(cluster: Cluster) -> None:
    """Meets the other processes, if there are any; before jax is used for anything else.

    Raises:
        ConfigError: `mode` is "on", and there is no cluster; or the processes have not all as many
            devices.
        DistributedError: not all processes came in time, or jax can not join them.
    """
    import jax

    cluster.check()
    is_told = cluster.coordinator is not None or "JAX_COORDINATOR_ADDRESS" in os.environ
    if cluster.mode == "off" or jax.distributed.is_initialized():
        return
    if cluster.mode == "auto" and not is_told and _is_only_task():
        return
    # Its handler would take SIGTERM from ours, and do nothing until a loop asks jax.
    jax.config.update("jax_enable_preemption_service", False)
    limit = cluster.connect_timeout
    began = time.monotonic()
    finished, error = _within(
        limit,
        lambda: jax.distributed.initialize(
            **cluster.given, initialization_timeout=int(limit) + GRACE_SECONDS
        ),
    )
    if not finished:
        raise DistributedError(_missing_peer(cluster, time.monotonic() - began))
    if error is None:
        _check_devices()
        return
    if not is_told and any(words in str(error) for words in NO_CLUSTER):
        if cluster.mode == "on":
            raise ConfigError(
                "--distributed=on, but jax finds no cluster here (a Slurm step started by srun, "
                "Open MPI, Cloud TPU, Kubernetes with jax[k8s]); give --coordinator=HOST:PORT, "
                "--num_processes=N and --process_id=I"
            ) from error
        return
    address = _meeting_point(cluster)
    raise DistributedError(
        f"jax can not join the processes (coordinator {address or 'unknown'}): {error}. Check that "
        "the port is free on the coordinator's host and that every process was started with the "
        "same --coordinator and --num_processes; to run this process alone: --distributed=off"
    ) from error


def _check_devices() -> None:
    """jax's messages between processes, and its shares of a batch, need as many on each."""
    import jax

    found = Counter(device.process_index for device in jax.devices())
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{found[number]} in process {number}" for number in sorted(found))
        raise ConfigError(
            f"the processes of this run have not all as many devices: {listed}. Look what each "
            "machine shows (nvidia-smi, CUDA_VISIBLE_DEVICES), and give all the same number"
        )


def check_alone(problem: str, why: str) -> None:
    """Raises ConfigError if there are several processes, for whom something is a problem."""
    import jax

    if jax.process_count() > 1:
        raise ConfigError(f"{problem}, but {jax.process_count()} processes run together: {why}")


def is_first() -> bool:
    """Whether this process is the one that writes logs, reports and pictures."""
    import jax

    return jax.process_index() == 0


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """Only the first process prints to stdout and logs warnings; a failure of any ends all.

    What fails says so on stderr, and leaves at once: jax's orderly end would wait for the others,
    who wait for this one. They notice when the connection breaks. So does one that is preempted
    while there is nothing to save, and one whose Ctrl-C may not wait.
    """
    import jax

    if jax.process_count() == 1:
        yield
        return
    with contextlib.ExitStack() as stack:
        if not is_first():
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(without_warnings())
        try:
            yield
        except Preempted as left:
            sys.stdout.flush()
            os._exit(left.status)
        except KeyboardInterrupt:
            print(f"Process {jax.process_index()}: interrupted", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(128 + signal.SIGINT)
        except Exception as error:
            known = isinstance(error, PacknetError)
            told = f"{type(error).__name__}: {error}" if known else traceback.format_exc()
            print(f"Process {jax.process_index()}: {told}", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(2 if known else 1)


@contextlib.contextmanager
def first_goes_ahead(what: str) -> Iterator[None]:
    """The first process does what is inside before the others: they find it done.

    If it fails, the others are not called: what ends it ends them.
    """
    import jax
    from jax.experimental import multihost_utils

    if jax.process_count() == 1:
        yield
        return
    if not is_first():
        multihost_utils.sync_global_devices(what)
    yield
    if is_first():
        multihost_utils.sync_global_devices(what)


def meet(what: str) -> None:
    """Returns when all processes have come here."""
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(what)


def from_first(numbers: Sequence[int]) -> list[int]:
    """What the first process gives, on each of them; all give equally many, below 2**31."""
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(np.array(numbers, np.int32)).tolist()


def gathered(mine: list[Any]) -> list[Any]:
    """The lists of all processes in their order, joined, on each of them.

    Args:
        mine: what JSON can hold; its floats return as they were.
    """
    import jax
    from jax.experimental import multihost_utils

    if jax.process_count() == 1:
        return mine
    text = np.frombuffer(json.dumps(mine).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.array(len(text)))
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: len(text)] = text
    texts = multihost_utils.process_allgather(padded)
    parts = zip(texts, lengths.tolist(), strict=True)
    return [value for part, length in parts for value in json.loads(bytes(part[:length]))]


def check_same(mine: dict[str, Any]) -> None:
    """Compares what the processes are about to do; each of them has to call it.

    Args:
        mine: what JSON can hold, by name. What a process leaves out is not compared.

    Raises:
        ConfigError: something differs; on all processes, with what each of them has.
    """
    everyone = gathered([mine])
    differing = []
    for name in sorted({name for given in everyone for name in given}):
        holders: dict[str, list[str]] = {}
        for number, given in enumerate(everyone):
            if name in given:
                holders.setdefault(json.dumps(given[name]), []).append(str(number))
        if len(holders) > 1:
            listed = (f"{value} in {_processes(numbers)}" for value, numbers in holders.items())
            differing.append(f"{name}: {', '.join(listed)}")
    if differing:
        raise ConfigError(
            "the processes of this run do not run the same:\n  "
            + "\n  ".join(differing)
            + "\nStart each with the same command, code and data"
        )


def _processes(numbers: Sequence[str]) -> str:
    if len(numbers) == 1:
        return f"process {numbers[0]}"
    more = f" and {len(numbers) - 4} more" if numbers[4:] else ""
    return f"processes {', '.join(numbers[:4])}{more}"


def _is_only_task() -> bool:
    """Whether Slurm or Open MPI has started this process alone, such as in a shell of `srun --pty`:
    jax would give it one of the machine's GPUs, as it does where each has a process."""
    return {os.environ[name] for name in TASKS_OF_A_STEP if name in os.environ} == {"1"}


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16


def _within(seconds: float, act: Callable[[], None]) -> tuple[bool, Exception | None]:
    """Whether it ended in time, and how; what does not end goes on in a thread."""
    caught: list[Exception] = []

    def guarded() -> None:
        try:
            act()
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive(), caught[0] if caught else None


def _missing_peer(cluster: Cluster, waited: float) -> str:
    """Says who waited for whom, and what can be wrong."""
    state = _runtime()
    number = cluster.process_id if cluster.process_id is not None else state.process_id
    count = cluster.num_processes
    address = _meeting_point(cluster)
    this = f"process {number}" + (f" of {count}" if count else "")
    if address is None:
        found = "jax could not find out from the cluster where the coordinator is"
    elif number == 0:
        found = f"this is the coordinator, {address}, and not all of the others came"
    elif _answers(address):
        found = f"the coordinator {address} answers, but not all of the others came"
    else:
        found = f"nothing answers at the coordinator {address}"
    return (
        f"{this} waited {waited:.0f} s for the others: {found}. Check that every process was "
        "started, each with its own --process_id and all with the same --coordinator and "
        "--num_processes; that no log of theirs tells of an error; that the coordinator's host and "
        "port can be reached from every host (firewall, proxy variables). "
        "--connect_timeout=SECONDS waits longer; --distributed=off runs this process alone"
    )


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False


def _meeting_point(cluster: Cluster) -> str | None:
    return cluster.coordinator or _runtime().coordinator_address


def _runtime() -> Any:
    """What jax has found out; only messages rest on it."""
    from jax._src import distributed

    return distributed.global_state
