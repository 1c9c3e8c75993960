"""docs/models.md agrees with the recipe cards, and its commands name flags and files that exist."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "models.md").read_text()
RECIPES = 10
"""Two ResNet18, five PackNet01, two PackNetSAN01, one for OmniCam."""


def rows(heading: str) -> dict[str, list[str]]:
    """Cells of a section's table by the name of the config."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `configs/")]
    cells = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    return {Path(first).stem: others for first, *others in cells}


FIGURES, COMMANDS = rows("Figures"), rows("Commands")


def card(name: str) -> str:
    return " ".join((importlib.import_module(f"configs.{name}").__doc__ or "").split())


def test_there_is_a_row_for_each_of_the_originals():
    assert len(FIGURES) == RECIPES
    assert FIGURES.keys() == COMMANDS.keys()
    networks = [
        importlib.import_module(f"configs.{name}").get_config().model.depth_net.name
        for name in FIGURES
    ]
    expected = {"DepthResNet": 2, "PackNet01": 5, "PackNetSAN01": 2, "RaySurfaceResNet": 1}
    assert {name: networks.count(name) for name in networks} == expected


@pytest.mark.parametrize("name", FIGURES)
def test_the_figures_are_those_of_the_recipe_card(name):
    checkpoint, published, mode = FIGURES[name][:3]
    if name == "omnicam":
        assert (published, mode) == ("none", "")
        assert "no published figures" in card(name)
        return
    assert checkpoint.removesuffix(".ckpt") in card(name)
    figures = re.findall(r"\d+\.\d+", published)
    assert len(figures) in (5, 10)
    for figure in figures:
        assert re.search(rf"\b{re.escape(figure)}\b", card(name)), figure
    assert f"Expect {mode} abs_rel {figures[0]}," in card(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_commands_name_their_checkpoint_folder_and_recipe(name):
    convert, evaluate = COMMANDS[name]
    checkpoint = FIGURES[name][0] if name != "omnicam" else "CHECKPOINT"
    assert convert == f"python -m packnet_jax.convert --input={checkpoint} --output={name}"
    start = "python -m packnet_jax.main --mode=eval"
    root = {"kitti": " --config.data.root=KITTI_RAW", "ddad": " --config.data.root=DDAD"}
    data = root.get(name.partition("_")[0], "")
    assert evaluate == f"{start} --checkpoint={name} --config=configs/{name}.py{data}"


def test_the_page_says_that_nobody_has_run_them():
    assert {row[-1] for row in FIGURES.values()} == {""}
    assert "the last column is empty until" in PAGE
