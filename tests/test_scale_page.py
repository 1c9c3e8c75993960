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
from configs import kitti
from packnet_jax import config as config_lib

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
SHELL = [text for language, text in BLOCKS if language in ("", "bash")]
VOLUME, CLAIM, PREPARE, MANIFEST = (
    document
    for language, text in BLOCKS
    if language == "yaml"
    for document in yaml.safe_load_all(text)
)
LINES = [
    *(line for text in SHELL for line in text.replace("\\\n", " ").split("\n")),
    " ".join(
        MANIFEST["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][
            0
        ]["args"]
    ),
    " ".join(PREPARE["spec"]["template"]["spec"]["containers"][0]["args"]),
]
"""Commands and arguments of manifests, each on one line."""
RECIPE = kitti.get_config()


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


def test_rates_follow_the_batch_as_the_page_says():
    """The square root of how much larger than the recipe's, with a warm-up."""
    large = [
        fields for fields in map(fields_of, LINES) if int(fields.get("train.batch_size", 0)) > 32
    ]
    assert len(large) == 3  # Slurm, Kubernetes, TPU
    for fields in large:
        ratio = int(fields["train.batch_size"]) / RECIPE.train.batch_size
        for network in ("depth", "pose"):
            rate = RECIPE.optim[network].lr * ratio**0.5
            assert float(fields[f"optim.{network}.lr"]) == pytest.approx(rate, rel=0.02)
            assert 100 <= int(fields[f"optim.{network}.warmup_steps"]) < 1000


def test_every_data_set_that_is_trained_on_is_prepared_first():
    prepared = [fields_of(line) for line in LINES if "--max_frames" in line]
    trained = [fields_of(line) for line in LINES if "--config.train.batch_size=256" in line]
    assert len(prepared) == len(trained) == 3
    own = ("data.root", "data.tfds_dir", "data.store_resized")
    assert sorted([f[k] for k in own] for f in prepared) == sorted(
        [f[k] for k in own] for f in trained
    )


def fields_of(line: str) -> dict[str, str]:
    return dict(re.findall(r"--config\.([\w.]+)=([^\s\"]+)", line))


def test_a_pod_that_is_told_to_stop_is_started_again():
    (job,) = MANIFEST["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    (status,) = (a.split("=")[1] for a in container["args"] if a.startswith("--stopped_status="))
    assert int(status) and MANIFEST["spec"]["failurePolicy"]["maxRestarts"]


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


def test_pods_mount_the_volume_that_the_page_makes():
    assert CLAIM["spec"]["volumeName"] == VOLUME["metadata"]["name"]
    assert CLAIM["spec"]["storageClassName"] == VOLUME["spec"]["storageClassName"]
    assert CLAIM["spec"]["accessModes"] == VOLUME["spec"]["accessModes"] == ["ReadWriteMany"]
    (job,) = MANIFEST["spec"]["replicatedJobs"]
    for pod in (PREPARE["spec"]["template"], job["template"]["spec"]["template"]):
        claims = [
            v["persistentVolumeClaim"] for v in pod["spec"]["volumes"] if v["name"] == "shared"
        ]
        assert claims == [{"claimName": CLAIM["metadata"]["name"]}]


def test_no_recipe_goes_on_without_its_accelerators():
    """Where they are hundreds of dollars an hour, training on their CPUs is no help."""
    (job,) = MANIFEST["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "JAX_PLATFORMS", "value": "cuda,cpu"} in container["env"]
    large = [text for text in SHELL if "--config.train.batch_size=256" in text]
    assert len(large) == 2  # Slurm, TPU
    assert all(re.search("JAX_PLATFORMS=(cuda|tpu),cpu", text) for text in large)
