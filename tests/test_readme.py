"""The README and the maps of packages say what is there."""

import re
from pathlib import Path

import pytest

import models
import utils.stack
from tests.processes import ROOT, run_python
from utils.losses import LOSSES

README = (ROOT / "README.md").read_text()


def help_of(script):
    """What a script prints for --help."""
    return run_python(script, "--help").stdout


@pytest.mark.parametrize("arch", sorted(models.builders()))
def test_every_architecture_is_in_the_table(arch):
    assert re.search(rf"^\| {arch} \|", README, re.MULTILINE)


def test_every_loss_is_named():
    told = help_of(ROOT / "train.py")
    for text, place in ((README, r"weighs the losses \((.*?)\)"), (told, r"weights of (.*?) \(")):
        named = re.search(place, " ".join(text.split()))[1]
        assert named.split(", ") == [*LOSSES, "adversarial"]


@pytest.mark.parametrize("package", [utils, utils.stack])
def test_every_module_is_in_the_map_of_its_package(package):
    modules = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    assert modules <= set(re.findall(r"\w+", package.__doc__))


def test_every_link_leads_to_a_file_or_a_heading():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {f"#{heading.lower().replace(' ', '-')}" for heading in headings}
    assert links
    assert [to for to in links if to not in anchors and not (ROOT / to).exists()] == []


def test_every_option_it_shows_exists():
    scripts = [*ROOT.glob("*.py"), *ROOT.glob("data/*.py")]
    told = "".join(help_of(script) for script in scripts if script.stem != "constants")
    known = set(re.findall(r"--[a-z][a-z-]+", told))
    code = re.findall(r"`([^`]+)`|^    (python .+)", README, re.MULTILINE)
    shown = set(re.findall(r"--[a-z][a-z-]+", " ".join(map("".join, code))))
    assert len(shown) > 20
    assert shown <= known


def test_ci_calls_its_test_command():
    command = re.search(r"`(make \w+)` tests", README)[1]
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_requirements_have_one_cupy_of_one_cuda():
    """Two of its packages in one place overwrite each other: no GPU can be used then."""
    files = [*ROOT.glob("requirements*.txt"), ROOT / "requirements.lock"]
    packages = re.findall(
        r"^(cupy|nvidia)-\S*?cu(?:da)?(\d+)", "\n".join(map(Path.read_text, files)), re.M
    )
    assert {name for name, _ in packages} == {"cupy", "nvidia"}
    assert len({cuda for _, cuda in packages}) == 1
    assert "cupy" not in (ROOT / "requirements.txt").read_text()  # a machine may have its own
