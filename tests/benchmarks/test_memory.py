"""Planned memory, and the table of what fits."""

import subprocess
import sys

import jax
import pytest
import tiny
from cli import ROOT, environment

from benchmarks import programs
from benchmarks.measure import plan_memory

pytestmark = pytest.mark.slow


def bytes_of(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_inference_holds_weights_images_and_its_answer():
    program = programs.forward(tiny.TinyDepthNet(), tiny.SHAPE, 2, "float32")
    answer = jax.eval_shape(program.function, *program.shapes)
    planned = plan_memory(program)
    used = bytes_of(program.shapes)
    assert planned.held_bytes == pytest.approx(used + bytes_of(answer), rel=0.01)


def test_a_training_step_holds_its_state_once():
    """The new state takes the place of the old one."""
    program = programs.train_step(tiny.NETWORKS, tiny.SHAPE, 2)
    _, output = jax.eval_shape(program.function, *program.shapes)
    held = bytes_of(program.shapes) + bytes_of(output)
    assert plan_memory(program).held_bytes == pytest.approx(held, rel=0.02)


def test_larger_batches_plan_more():
    one, four = (
        plan_memory(programs.forward(tiny.TinyDepthNet(), tiny.SHAPE, batch, "float32"))
        for batch in (1, 4)
    )
    assert 2 < four.temporaries_bytes / one.temporaries_bytes < 5


def test_the_program_prints_and_writes_a_row_for_each(tmp_path):
    file = tmp_path / "memory.md"
    flags = "--networks=DepthResNet18", "--sizes=64x64", "--batch_sizes=1,64", f"--markdown={file}"
    printed = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "--only=forward", *flags],
        cwd=ROOT,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert file.read_text() == printed
    one, many = ([c.strip() for c in line.split("|")[1:-1]] for line in printed.splitlines()[-2:])
    assert one[:5] == ["forward", "DepthResNet18", "64x64", "1", "float32"] and many[3] == "64"
    held, temporaries, together = (float(cell.removesuffix(" GiB")) for cell in many[6:])
    assert together == pytest.approx(held + temporaries, abs=0.011)
    assert together > float(one[8].removesuffix(" GiB")) > 0.04
