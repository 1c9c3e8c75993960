"""Compiled programs come back from disk as they were, from the right folder or not at all."""

import os
import subprocess
import sys

import cli
import jax
import jax.numpy as jnp
import pytest

from packnet_jax import compilation

TRAIN = """
import functools, hashlib, jax, numpy as np
from packnet_jax import compilation

compilation.keep_compiled()

@functools.partial(jax.jit, donate_argnums=0)
def step(weights, images):
    def loss(weights):
        maps = jax.lax.conv_general_dilated(
            images, weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return (jax.nn.elu(maps) ** 2).mean()
    value, gradient = jax.value_and_grad(loss)(weights)
    return weights - gradient, value

rng = np.random.default_rng(0)
weights = jax.device_put(rng.normal(size=(3, 3, 4, 4)).astype(np.float32))
images = rng.normal(size=(2, 16, 24, 4)).astype(np.float32)
with compilation.compile_clock() as clock:
    for _ in range(5):
        donated, (weights, value) = weights, step(weights, images)
        assert donated.is_deleted()
result = np.asarray(weights).tobytes() + np.asarray(value).tobytes()
print(hashlib.sha256(result).hexdigest(), clock.num_programs, clock.num_read)
"""


def train(home, **more):
    """The result of five steps, and how many programs were compiled or read, and read."""
    environment = cli.environment() | {"XDG_CACHE_HOME": str(home)} | more
    del environment["JAX_COMPILATION_CACHE_DIR"]
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    command = [sys.executable, "-c", TRAIN]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    digest, num_programs, num_read = finished.stdout.split()
    return digest, int(num_programs), int(num_read), finished.stderr


@pytest.mark.slow
def test_a_second_start_reads_what_the_first_compiled_and_computes_the_same(tmp_path):
    expected = train(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false")
    assert not list(tmp_path.iterdir())
    first, second = train(tmp_path), train(tmp_path)
    assert first[0] == second[0] == expected[0]
    assert first[1:3] == (1, 0)
    assert second[1:3] == (1, 1)
    (entry,) = tmp_path.glob("packnet_jax/xla/*/jit_step-*")
    assert entry.parent.name == compilation.machine_type()
    os.truncate(entry, entry.stat().st_size // 2)  # its writer was killed
    damaged = train(tmp_path)
    assert damaged[0] == expected[0]
    assert damaged[1:3] == (1, 0)
    assert "Error reading persistent compilation cache entry for 'jit_step'" in damaged[3]


@pytest.fixture
def settings():
    """jax's settings, which are again what they were after the test."""
    names = (
        "jax_compilation_cache_dir",
        "jax_enable_compilation_cache",
        "jax_persistent_cache_min_compile_time_secs",
    )
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield jax.config
    for name, value in before.items():
        jax.config.update(name, value)


def test_a_place_that_can_not_be_written_is_a_warning(tmp_path, monkeypatch, settings, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compilation.keep_compiled() is None
    assert settings.jax_compilation_cache_dir is None
    assert "Compiled programs are not kept" in caplog.text
    assert str(tmp_path / "file") in caplog.text


def test_a_choice_of_the_user_stays(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings.update("jax_compilation_cache_dir", "elsewhere")
    assert compilation.keep_compiled() is None
    assert settings.jax_compilation_cache_dir == "elsewhere"
    settings.update("jax_compilation_cache_dir", None)
    settings.update("jax_enable_compilation_cache", False)
    assert compilation.keep_compiled() is None
    assert not list(tmp_path.iterdir())


def test_several_hosts_need_a_folder_that_they_share(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    assert compilation.keep_compiled() is None
    assert settings.jax_compilation_cache_dir is None


def test_without_a_choice_it_is_in_the_user_s_home(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("", "relative"):  # which the specification tells to ignore
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        folder = compilation.keep_compiled()
        settings.update("jax_compilation_cache_dir", None)
        assert folder == tmp_path / ".cache" / "packnet_jax" / "xla" / compilation.machine_type()
        assert folder.stat().st_mode & 0o777 == 0o700


X86 = "processor : 0\nvendor_id : A\nmodel : 2\ncpu MHz : {}\nflags : fpu {}\n\nprocessor : 1\n"
ARM = "processor : 0\nBogoMIPS : {}\nFeatures : fp {}\nCPU part : 0xd0c\n\nprocessor : 1\n"


@pytest.mark.parametrize("description", [X86, ARM])
def test_machines_that_differ_in_instructions_or_cores_do_not_share(
    tmp_path, monkeypatch, description
):
    def named(speed, instructions):
        (tmp_path / "cpuinfo").write_text(description.format(speed, instructions))
        return compilation.machine_type(tmp_path / "cpuinfo")

    assert named(1000, "avx") == named(2000, "avx")
    assert named(1000, "avx") != named(1000, "avx avx2")
    before = named(1000, "avx")
    monkeypatch.setattr(compilation, "num_cores", lambda: 1000)
    assert named(1000, "avx") != before


def test_where_the_kind_of_cpu_is_unknown_hosts_do_not_share(tmp_path, monkeypatch):
    names = set()
    for host in ("one", "two"):
        monkeypatch.setattr(compilation.platform, "node", lambda host=host: host)
        names.add(compilation.machine_type(tmp_path / "absent"))
    assert len(names) == 2


def test_what_was_used_longest_ago_goes(tmp_path):
    for age, name in enumerate("dcba"):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    os.utime(tmp_path / "a", (2000, 0))  # written first, read last
    compilation.remove_oldest(tmp_path, max_bytes=40)
    assert len(list(tmp_path.iterdir())) == 4
    compilation.remove_oldest(tmp_path, max_bytes=25)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d"]


def test_the_clock_counts_each_program_once_and_stops():
    @jax.jit
    def program(x):
        return jnp.sin(x).sum()

    def other(x):
        return program(x) + 1

    values = jnp.arange(3.0)
    with compilation.compile_clock() as clock:
        program(values)
        program(values)
    assert (clock.num_programs, clock.num_read) == (1, 0)
    assert clock.seconds > 0
    assert "1 programs anew, 0 from the cache" in str(clock)
    jax.jit(other)(values)
    assert clock.num_programs == 1


def test_this_jax_knows_the_options_of_inference():
    options = compilation.inference_options()
    assert options == compilation.INFERENCE_ON_CPU
    doubled = jax.jit(lambda x: 2 * x, compiler_options=options)
    assert doubled(3) == 6


def test_an_option_that_this_jax_lacks_is_left_out_with_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(compilation, "INFERENCE_ON_CPU", {"xla_cpu_no_such_option": "a"})
    assert not compilation.inference_options()
    assert "xla_cpu_no_such_option" in caplog.text


def test_other_devices_have_no_options(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not compilation.inference_options()
