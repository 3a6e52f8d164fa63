"""The decision records: each has its parts, names assertions that exist, and is in the index."""

import re
from pathlib import Path

import pytest

from tests import ROOT
from tests.spec_coverage import known_ids

DECISIONS = ROOT / "docs" / "decisions"
RECORDS = sorted(DECISIONS.glob("[0-9]*.md"))
PARTS = ["Context", "Decision", "Consequence", "Assertions"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_record_has_its_parts_and_names_existing_assertions(record: Path) -> None:
    text = record.read_text("utf-8")
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == PARTS
    named = set(re.findall(r"\b(?:IGD|PMP|PCP|CAS|SR)-\d+\b", text))
    assert named
    assert named <= known_ids()
    assert int(record.name[:4]) == int(text.split(".")[0].removeprefix("# "))


def test_the_index_lists_every_record_with_its_title_once() -> None:
    rows = re.findall(r"^\| \[(\d+)\]\(([^)]+)\) \| (.+?) \|", (DECISIONS / "README.md").read_text("utf-8"), re.M)
    titles = [record.read_text("utf-8").partition("\n")[0].partition(". ")[2] for record in RECORDS]
    assert rows == [(str(n), record.name, titles[n - 1]) for n, record in enumerate(RECORDS, 1)]
    assert rows
