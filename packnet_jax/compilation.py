"""Compiled programs: kept between runs, and the seconds that they take counted.

XLA compiles for seconds to minutes what runs in milliseconds. jax can keep the results on disk
(`jax_compilation_cache_dir`); here it is told where. A result that is read back gives the same
numbers, bit for bit, as the same program compiled anew.
"""

import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from absl import logging

from packnet_jax.machine import num_cores

MAX_BYTES = 2 * 2**30
"""For each kind of machine. The programs of the demo take 2.4 MB on a CPU."""

MIN_COMPILE_SECONDS = 0.2
"""What compiles faster is not worth a file."""

CPU_FIELDS = ("vendor_id", "cpu family", "model", "flags")
CPU_FIELDS_OF_ARM = ("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features")
CPU_INFO = Path("/proc/cpuinfo")

INFERENCE_ON_CPU: dict[str, str | bool] = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT"
}
"""Products alone go to YNNPACK."""


def keep_compiled() -> Path | None:
    """Keeps compiled programs in the user's cache folder, for this process and those after it.

    The folder is `packnet_jax/xla/<machine>` in `$XDG_CACHE_HOME` or `~/.cache`. What was used
    longest ago goes when it holds more than `MAX_BYTES`. Whoever has chosen a folder
    (`JAX_COMPILATION_CACHE_DIR`), or to have none (`JAX_ENABLE_COMPILATION_CACHE=false`), keeps it.
    A folder that can not be written is a warning, and nothing is kept.

    Of several hosts jax lets the first alone write, and all must find the same: only the user
    knows a folder that they share, and nothing is kept unless `JAX_COMPILATION_CACHE_DIR` names it.

    Returns:
        The folder; None if it is not ours to choose, or can not be written.
    """
    settings: Any = jax.config  # its attributes are made at run time
    is_chosen = settings.jax_compilation_cache_dir or not settings.jax_enable_compilation_cache
    if is_chosen or jax.distributed.is_initialized():
        return None
    try:
        folder = cache_home() / "packnet_jax" / "xla" / machine_type()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # others' files would run as ours
        (folder / ".writable").touch()
        remove_oldest(folder, max_bytes=MAX_BYTES)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        logging.warning(
            "Compiled programs are not kept, so that every start compiles anew (%s); "
            "JAX_COMPILATION_CACHE_DIR=DIR gives another folder",
            error,
        )
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)
    return folder


def cache_home() -> Path:
    """The folder of the user's caches, as the XDG Base Directory Specification has it.

    Raises:
        RuntimeError: the user has no home.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".cache"


def machine_type(cpu_info: Path = CPU_INFO) -> str:
    """A name that only machines share which may run each other's programs.

    XLA compiles for the CPU that it finds, its instructions and its cores. jax 0.10 does not look
    at either before it runs what another machine has left in a shared home: it logs an error and
    goes on, to an illegal instruction at worst. So each kind of CPU and number of cores has a
    folder; where the system does not tell the kind (macOS, Windows), each host.
    """
    try:
        lines = cpu_info.read_text().partition("\n\n")[0].splitlines()  # of the first core
    except OSError:
        lines = []
    parts = (line.partition(":") for line in lines)
    fields = {name.strip(): value.strip() for name, _, value in parts}
    cpu = [fields[name] for name in (*CPU_FIELDS, *CPU_FIELDS_OF_ARM) if name in fields]
    described = [platform.system(), platform.machine(), *(cpu or [platform.node()])]
    digest = hashlib.sha256("\n".join(described).encode()).hexdigest()[:12]
    return f"{platform.machine()}-{num_cores()}-{digest}"


def inference_options() -> dict[str, str | bool]:
    """XLA's options for programs of a network that only predicts; for `compiler_options` of jax.

    On CPU XLA hands sums to YNNPACK, around which loops fuse worse: without that a residual network
    takes a fifth less time, and inverse depth moves by 2e-6 of itself. Training keeps XLA's
    defaults: its rounding stays that of the golden trajectories.

    Options of that kind come and go. One that this XLA lacks is a warning, and is left out.
    """
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x).lower(0.0).compile(compiler_options=INFERENCE_ON_CPU)
    except jax.errors.JaxRuntimeError as error:
        logging.warning(
            "Inference may be slower than it could be under jax %s: %s", jax.__version__, error
        )
        return {}
    return INFERENCE_ON_CPU


def remove_oldest(folder: Path, *, max_bytes: int) -> None:
    """Removes the files of a folder that were used longest ago, until the others fit.

    jax can do so itself (`jax_compilation_cache_max_size`), but under a lock, which needs one more
    package and which network file systems may lack.
    """
    status = {path: path.stat() for path in folder.iterdir() if path.is_file()}
    left = sum(s.st_size for s in status.values())
    for path in sorted(status, key=lambda p: max(status[p].st_atime, status[p].st_mtime)):
        if left <= max_bytes:
            return
        path.unlink(missing_ok=True)  # another process may clear up, too
        left -= status[path].st_size


class CompileClock:
    """What has been compiled, and in how much time."""

    def __init__(self):
        self.num_programs = 0
        """Compiled or read back."""
        self.num_read = 0
        """Of these, read back from the disk."""
        self.seconds = 0.0
        """Of both; without tracing, which every start does."""

    def __str__(self) -> str:
        new, s = self.num_programs - self.num_read, self.seconds
        return f"compiling took {s:.1f} s ({new} programs anew, {self.num_read} from the cache)"

    def count_event(self, event: str, **_: str | int) -> None:
        """Takes jax's word for a program that was read."""
        self.num_read += event == "/jax/compilation_cache/cache_hits"

    def count_seconds(self, event: str, duration_secs: float, **_: str | int) -> None:
        """Takes jax's word for a program that can run."""
        if event == "/jax/core/compile/backend_compile_duration":  # reading counts here, too
            self.num_programs += 1
            self.seconds += duration_secs


@contextmanager
def compile_clock() -> Iterator[CompileClock]:
    """A clock that runs while jax compiles, as long as the context lasts."""
    clock = CompileClock()
    jax.monitoring.register_event_listener(clock.count_event)
    jax.monitoring.register_event_duration_secs_listener(clock.count_seconds)
    try:
        yield clock
    finally:
        jax.monitoring.unregister_event_listener(clock.count_event)
        jax.monitoring.unregister_event_duration_listener(clock.count_seconds)
