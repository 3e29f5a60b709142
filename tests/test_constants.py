"""constants.py: literals only, each of use to a script."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ["process_data.py", "train.py", "test.py"]


def parsed(file):
    return ast.parse((ROOT / file).read_text())


def test_literals_only():
    for statement in parsed("constants.py").body[1:]:  # [0] is the docstring
        assert isinstance(statement, ast.Assign), ast.unparse(statement)
        ast.literal_eval(statement.value)


def test_every_name_is_used_by_a_script():
    names = [ast.unparse(statement.targets) for statement in parsed("constants.py").body[1:]]
    used = {
        node.attr
        for script in SCRIPTS
        for node in ast.walk(parsed(script))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "constants"
    }
    assert [name for name in names if name not in used] == []
