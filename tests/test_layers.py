"""The arrows of ARCHITECTURE.md hold: imports point to layers below, or stay in the folder."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {
    "packnet_jax.errors": 0,
    "packnet_jax.batch": 0,
    "packnet_jax.bounds": 0,
    "packnet_jax.camera_limits": 0,
    "packnet_jax.compilation": 0.3,
    "packnet_jax.quiet": 0,
    "packnet_jax.typed_config": 0,
    "packnet_jax.untrusted": 0,
    "packnet_jax.locks": 0,
    "packnet_jax.signals": 0,
    "packnet_jax.machine": 0,
    "packnet_jax.memory": 0,
    "packnet_jax.data_config": 0.3,
    "packnet_jax.loss_config": 0.3,
    "packnet_jax.data_rules": 0.4,
    "packnet_jax.config": 0.5,  # raises the errors
    "packnet_jax.sharding": 0.5,
    "packnet_jax.distributed": 0.5,
    "packnet_jax.agreement": 0.7,
    "packnet_jax.eval_config": 0.7,
    "packnet_jax.defaults": 0.7,
    "packnet_jax.command_line": 0.7,
    "packnet_jax.image": 1,
    "packnet_jax.depth_maps": 1,
    "packnet_jax.visualize": 1,
    "packnet_jax.augment": 1.5,
    "packnet_jax.geometry": 1.5,
    "packnet_jax.losses": 2,
    "packnet_jax.metrics": 2,
    "packnet_jax.networks": 2,
    "packnet_jax.ray_template": 2,
    "packnet_jax.checkpoint": 2,
    "packnet_jax.checkpointer": 2.5,
    "packnet_jax.digests": 1,
    "packnet_jax.events": 0.5,
    "packnet_jax.workdir": 1.5,
    "packnet_jax.provenance": 6.5,
    "packnet_jax.run_changes": 0.7,
    "packnet_jax.point_cloud": 2,
    "packnet_jax.convert": 3,
    "packnet_jax.sfm": 3,
    "packnet_jax.objectives": 3.3,
    "tfds_builders": 3,
    "packnet_jax.data": 3.5,
    "packnet_jax.trained": 4,
    "packnet_jax.depth_pair": 4,
    "packnet_jax.predictor": 4.5,  # serves a trained network
    "packnet_jax.report": 4,
    "packnet_jax.eval_files": 4,
    "packnet_jax.pose_report": 4.5,  # a report, whose trajectories are written
    "packnet_jax.trajectory_files": 4.7,
    "packnet_jax.evaluate": 5,
    "packnet_jax.evaluate_depth_maps": 5,
    "packnet_jax.evaluate_pose": 5,
    "packnet_jax.baseline": 5,
    "packnet_jax.infer": 5.5,  # evaluates as evaluate does
    "packnet_jax.data_check": 5,
    "packnet_jax.train": 6,
    "packnet_jax.runs": 7,
    "packnet_jax.main": 8,
}
MATHS = ("bounds", "geometry", "losses", "metrics", "networks", "image", "depth_maps")
FILES = [
    p
    for folder in ("packnet_jax", "tfds_builders", "configs")
    for p in sorted((ROOT / folder).rglob("*.py"))
]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def unit_of(module: str) -> str | None:
    """The entry of LAYERS that a module belongs to."""
    fitting = [name for name in LAYERS if module == name or module.startswith(name + ".")]
    return max(fitting, key=len, default=None)


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_downwards(path):
    own = unit_of(module_of(path))
    for imported in imports_of(path):
        target = unit_of(imported)
        if target is None or target == own:
            continue
        if module_of(path).startswith("configs"):
            assert target == "packnet_jax.config", f"{path} imports {imported}"
            continue
        assert own is not None, f"{path} is in no layer; add it to LAYERS and ARCHITECTURE.md"
        assert LAYERS[target] < LAYERS[own], f"{path} imports {imported} from above"
        if own == "tfds_builders":
            allowed = ("packnet_jax.camera_limits", "packnet_jax.errors", "packnet_jax.untrusted")
            assert target in allowed, f"{path} imports {imported}"
        if own.split(".")[-1] in MATHS:
            assert target != "packnet_jax.config", f"{path} sees the configuration"


def test_every_module_has_a_layer_in_architecture_md():
    page = (ROOT / "ARCHITECTURE.md").read_text()
    for unit in LAYERS:
        assert f"`{unit.removeprefix('packnet_jax.')}" in page, unit
