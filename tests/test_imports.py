"""Who may import whom, who must wait."""

import ast

import pytest

from tests.processes import ROOT, run_python

SCRIPTS = sorted(path.name for path in ROOT.glob("*.py") if path.name != "constants.py")
COMMANDS = [name.removesuffix(".py") for name in SCRIPTS]
FOLDERS = {  # and which of the project's own packages its files may import
    ".": ("constants", "models", "utils"),
    "models": ("models", "utils.stack"),
    "utils": ("utils",),
    "utils/stack": ("utils",),
    "data": ("utils",),
    "tests": ("benchmarks", "data", "models", "tests", "utils", *COMMANDS),
    "tests/driver": ("tests", "utils.stack"),
    "benchmarks": ("benchmarks", "models", "utils", *COMMANDS),
}
OWN = {package.partition(".")[0] for packages in FOLDERS.values() for package in packages}
FILES = [
    (str(path.relative_to(ROOT)), folder)
    for folder in FOLDERS
    for path in sorted((ROOT / folder).glob("*.py"))
]
HEAVY = ["av", "chainer", "cupy", "imageio", "matplotlib", "numpy", "PIL", "scipy", "tensorstore"]


def within(name, packages):
    """Whether the dotted name is one of these packages or lies in one."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def nodes(tree, late):
    """The nodes below this one; those of functions only where `late` imports count too."""
    for node in ast.iter_child_nodes(tree):
        if late or not isinstance(node, ast.FunctionDef):
            yield node
            yield from nodes(node, late)


def imports(path, late=True):
    """The dotted names of all that a file imports; `from a import b` counts as a.b."""
    for node in nodes(ast.parse((ROOT / path).read_text()), late):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "the project imports by full names"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path, folder", FILES)
def test_arrows(path, folder):
    own = [name for name in imports(path) if within(name, OWN)]
    assert [name for name in own if not within(name, FOLDERS[folder])] == []


@pytest.mark.parametrize("path, folder", FILES)
def test_chainer_is_imported_mended(path, folder):
    bare = [name for name in imports(path, late=False) if within(name, ["chainer", "cupy"])]
    assert bare == [] or folder == "utils/stack", "take chainer, F, L from utils.stack"


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_imports_nothing_heavy(script):
    code = f"""
import runpy, sys
sys.argv[0] = {script!r}
try:
    runpy.run_path({script!r}, run_name="__main__")
finally:
    print("imported:", *sys.modules.keys() & {HEAVY})
"""
    done = run_python("-W", "default", "-c", code, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("imported:\n")
