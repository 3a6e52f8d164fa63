"""docs/faults.md names a test in every row, and each of them exists."""

import ast
import re

import pytest

from tests import ROOT

ROWS = [
    line
    for line in (ROOT / "docs" / "faults.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| fault ", "| --- "))
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_every_row_has_a_fault_its_injection_its_result_and_an_existing_test(row: str) -> None:
    fault, injected, seen, tests = (cell.strip() for cell in row.strip("|").split("|"))
    assert all((fault, injected, seen))
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
    assert named
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text())
        functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in functions, f"{path} has no {name}"
