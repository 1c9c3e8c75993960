"""docs/scale.md: what it predicts is what the model prints, and its commands are well formed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from flax.traverse_util import flatten_dict

from benchmarks.grids import parse_grid
from benchmarks.scaling_model import markdown, predict
from packnet_jax import config as config_lib

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
SHELL = [text for language, text in BLOCKS if language in ("", "bash")]
(MANIFEST,) = (yaml.safe_load(text) for language, text in BLOCKS if language == "yaml")


def test_the_table_is_what_the_model_predicts():
    names = "v5e-64", "v5p-128", "h100-64"
    found = [predict(parse_grid(name), batch_per_device=4, efficiency=0.3) for name in names]
    assert markdown(found, efficiency=0.3) in PAGE.read_text()


@pytest.mark.parametrize("text", SHELL, ids=lambda text: text.split("\n")[0][:40])
def test_commands_are_well_formed(text):
    bash = shutil.which("bash")
    assert bash is not None
    checked = subprocess.run([bash, "-n"], input=text, text=True, capture_output=True, timeout=60)
    assert checked.returncode == 0 and not checked.stderr


def test_fields_of_the_configuration_exist():
    known = flatten_dict(config_lib.default().to_dict(), sep=".")
    named = set(re.findall(r"--config\.([\w.]+)=", PAGE.read_text()))
    assert named and named <= known.keys()


def test_the_job_set_starts_one_process_for_each_of_its_machines():
    (job,) = MANIFEST["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    arguments = dict(argument.split("=", 1) for argument in container["args"])
    assert spec["parallelism"] == spec["completions"] == int(arguments["--num_processes"])
    pod = f"{MANIFEST['metadata']['name']}-{job['name']}-0-0"
    assert arguments["--coordinator"].startswith(f"{pod}.{MANIFEST['metadata']['name']}:")
    gpus = spec["parallelism"] * container["resources"]["limits"]["nvidia.com/gpu"]
    assert int(arguments["--config.train.batch_size"]) % gpus == 0
    volumes = {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
