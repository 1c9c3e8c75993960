"""`main` with the tiny networks, in a process of its own, to be killed: `start(*flags, cwd=...)`.

It says "step 3" when three steps are done, and takes its time.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import cli

SECONDS_A_STEP = 0.03
DATA = (
    "--config.data.image_shape=32,64",
    "--config.data.tfds_dir=tfds",
    "--config.data.synthetic.num_streets=2",
    "--config.data.synthetic.num_test_streets=1",
    "--config.data.synthetic.frames_per_street=6",
    "--config.train.batch_size=4",
    "--config.eval.crop=",
    "--config.eval.median_baseline=False",
    "--config.loss.num_scales=1",  # which compiles faster
)


def flags(workdir: str, *more: str) -> list[str]:
    return [cli.config_file("demo"), *DATA, f"--workdir={workdir}", *more]


def start(*flags: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, *flags],
        cwd=cwd,
        env=cli.environment() | {"PYTHONPATH": f"{cli.ROOT}{os.pathsep}{cli.ROOT / 'tests'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(*flags: str, cwd: Path, status: int = 0) -> str:
    process = start(*flags, cwd=cwd)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == status, f"status {process.returncode}:\n{output}"
    return output


def main() -> None:
    import tiny

    from packnet_jax import main, trained
    from packnet_jax.sfm import Networks
    from packnet_jax.train import loop

    real_make = loop.make_train_step

    def make_slow_step(*args, **kwargs):
        step = real_make(*args, **kwargs)

        def take_step(state, batch):
            state, output = step(state, batch)
            print(f"\nstep {int(state.step)}", flush=True)
            time.sleep(SECONDS_A_STEP)
            return state, output

        return take_step

    loop.make_train_step = make_slow_step
    Networks.from_config = lambda *_: tiny.NETWORKS
    trained.make_depth_net = lambda *_, **__: tiny.NETWORKS.depth_net
    main.run()


if __name__ == "__main__":
    main()
