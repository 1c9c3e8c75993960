"""`--help` and mistakes are answered before anything is imported that takes long."""

import subprocess
import sys

import cli
import pytest

HEAVY = (
    "jax jaxlib flax optax orbax tensorflow tensorflow_datasets grain clu cv2 matplotlib scipy "
    "array_record"
)
RUN = f"""
import runpy, sys
del sys.argv[0]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    imported = {{name.partition(".")[0] for name in sys.modules}}
    print("imported:", *sorted(imported & set({HEAVY!r}.split())))
"""
CHECKPOINT = ("--mode=eval", "--checkpoint=run")


def answer(program, *arguments, cwd):
    """What the program prints, and what of `HEAVY` it has imported by then."""
    command = [sys.executable, "-c", RUN, f"packnet_jax.{program}"]
    finished = subprocess.run(
        [*command, *arguments], cwd=cwd, env=cli.environment(), capture_output=True, text=True
    )
    said, _, imported = finished.stdout.rpartition("imported:")
    return said + finished.stderr, imported.split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        ("main", ("--help",), "--workdir"),
        ("main", (), "--config is missing"),
        ("main", (cli.config_file("demo"), "--config.train.batchsize=2"), "batch_size"),
        ("main", (cli.config_file("demo"), "--config.data.image_shape=30,64"), "nearest: (32, 64)"),
        ("main", ("--mode=eval",), "--mode=eval needs --checkpoint"),
        ("main", (*CHECKPOINT, "--config.eval.max_depth=-1"), "expected at least 0"),
        ("infer", ("--help",), "--ray_residual_weight"),
        ("infer", ("--checkpoint=run",), "--input is missing"),
        ("infer", ("--checkpoint=a", "--input=b", "--output=c", "--save=exr"), "given exr"),
        ("infer", ("--checkpoint=a", "--input=b", "--output=c", "--scale=big"), "given 'big'"),
        ("convert", ("--help",), "--only"),
        ("convert", ("--only=depth",), "--only=depth"),
        ("data_check", ("--help",), "--max_frames"),
        ("data_check", (cli.config_file("demo"), "--config.data.strides=0"), "data.strides"),
        ("evaluate_depth_maps", ("--help",), "--gt_folder"),
        ("evaluate_depth_maps", ("--pred_folder=a", "--gt_folder=b"), "a is no folder"),
        ("ray_template", ("--help",), "--calibration_shape"),
        ("ray_template", ("--unknown",), "unknown"),
    ],
)
def test_nothing_that_takes_long_is_imported_first(tmp_path, program, arguments, words):
    said, imported = answer(program, *arguments, cwd=tmp_path)
    assert words in said
    assert "Traceback" not in said
    assert not imported
