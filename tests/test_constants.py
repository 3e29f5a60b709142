"""constants.py: literals only, each of use to a script."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ["process_data.py", "train.py", "test.py"]


def assignments():
    """The statements of constants.py but for its docstring."""
    docstring, *statements = ast.parse((ROOT / "constants.py").read_text()).body
    assert isinstance(ast.literal_eval(docstring.value), str)
    return statements


def test_literals_only():
    for statement in assignments():
        assert isinstance(statement, ast.Assign), ast.unparse(statement)
        ast.literal_eval(statement.value)


def test_names_are_capitals_given_once():
    names = [ast.unparse(statement.targets) for statement in assignments()]
    assert all(name.isupper() for name in names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [ast.unparse(s.targets) for s in assignments()])
def test_every_name_is_used(name):
    used = {
        node.attr
        for script in SCRIPTS
        for node in ast.walk(ast.parse((ROOT / script).read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "constants"
    }
    assert name in used
