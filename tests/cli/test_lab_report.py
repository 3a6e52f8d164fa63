"""The report of ``upnp-gw lab`` as text, JSON and JUnit XML."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from lxml import etree

from tests import ROOT
from upnp_gw.cli.lab_report import as_text, junit_xml, report_json
from upnp_gw.lab.program.report import (
    ACCEPTED,
    REFUSED,
    SILENT,
    UNPROBED,
    Exchange,
    LeftMapping,
    LeftProcess,
    Opening,
    ProgramReport,
    endpoint_text,
)

OPENING = Opening("m1", "tcp", "11.22.33.44:80", "192.168.77.10:80", True, ACCEPTED)
SEARCH = Exchange(0.5, "SSDP", "search for ssdp:all", "http://a", True, times=2)
ADD = Exchange(1.25, "IGD", "AddPortMapping", "error 718 \x1b[31m", False, {"NewExternalPort": "80", "New": ""})
REPORT = ProgramReport(
    ("sh", "-c", "a b\x1b"),
    3,
    1.5,
    [SEARCH, replace(SEARCH, at_s=0.7), ADD, replace(ADD, answer="")],
    [OPENING],
    [LeftMapping("m1", "tcp", "11.22.33.44:80", "192.168.77.10:80", 3600)],
    [LeftProcess(77, "sl\x1beep")],
    2,
)
EMPTY = ProgramReport(("true",), 0, 0.1, [], [], [], [], 0)


def test_the_text_says_what_was_asked_opened_and_left() -> None:
    assert as_text(REPORT) == [
        "upnp-gw lab: sh -c 'a b\\x1b' ended with exit code 3 after 1.5 s",
        "asked",
        "     0.50 s  SSDP     search for ssdp:all (4 times): http://a",
        "     1.25 s  IGD      AddPortMapping NewExternalPort=80: error 718 \\x1b[31m",
        "     1.25 s  IGD      AddPortMapping NewExternalPort=80: no answer",
        "  2 packets were not kept: messages can be missing here",
        "opened",
        "  m1  tcp 11.22.33.44:80 -> 192.168.77.10:80: a packet from the internet arrived and the connection was"
        " accepted",
        "left behind",
        "  m1  tcp 11.22.33.44:80 -> 192.168.77.10:80, lease 1h",
        "  process 77 sl\\x1beep, ended now",
    ]


def test_nothing_is_said_too() -> None:
    assert as_text(EMPTY)[1:] == ["asked", "  nothing", "opened", "  nothing", "left behind", "  nothing"]


def test_json_has_everything_unescaped() -> None:
    report = json.loads(report_json(REPORT))
    assert report["exchanges"][2]["answer"] == ADD.answer
    assert report["openings"][0]["external"] == OPENING.external
    assert report["mappings_left"][0]["lease_left_s"] == 3600
    assert report_json(REPORT).isascii()


@pytest.mark.parametrize(
    ("opening", "result", "message"),
    [
        (OPENING, None, None),
        (replace(OPENING, answer=SILENT), None, None),
        (replace(OPENING, answer=REFUSED), "skipped",
         "a packet from the internet arrived but nothing listened there"),
        (replace(OPENING, arrived=False, answer="timeout"), "failure",
         "no packet from the internet arrived (timeout)"),
        (replace(OPENING, arrived=False, answer=UNPROBED, note="only 1.2.3.4 may connect"), "skipped",
         "only 1.2.3.4 may connect"),
    ],
    ids=["accepted", "silent", "refused", "lost", "unprobed"],
)  # fmt: skip
def test_a_mapping_as_a_case_of_junit(opening: Opening, result: str | None, message: str | None) -> None:
    suite = ElementTree.fromstring(junit_xml(replace(EMPTY, openings=[opening])))
    program, mapping = suite.findall("testcase")
    assert (program.get("name"), list(program)) == ("true", [])
    assert mapping.get("name") == "m1 tcp 11.22.33.44:80 -> 192.168.77.10:80"
    assert [(each.tag, each.get("message")) for each in mapping] == ([(result, message)] if result else [])
    counts = {"failures": result == "failure", "skipped": result == "skipped", "tests": 2, "errors": 0}
    assert {name: suite.get(name) for name in counts} == {name: str(int(n)) for name, n in counts.items()}


def test_a_program_that_fails_is_a_failed_case_of_well_formed_xml() -> None:
    suite = ElementTree.fromstring(junit_xml(REPORT))
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "exit code 3"
    assert (suite.findtext("system-out") or "").splitlines() == as_text(REPORT)


@pytest.mark.parametrize(
    "report",
    [
        EMPTY,
        REPORT,
        replace(EMPTY, openings=[OPENING, replace(OPENING, answer=REFUSED), replace(OPENING, arrived=False)]),
    ],
    ids=["nothing", "failed", "mappings"],
)
def test_the_xml_is_what_ci_servers_accept(report: ProgramReport) -> None:
    schema = etree.XMLSchema(etree.parse(ROOT / "tests" / "cli" / "junit.xsd"))
    schema.assertValid(etree.fromstring(junit_xml(report).encode()))


def test_the_page_names_every_key_of_json() -> None:
    report = json.loads(report_json(REPORT))
    rows = [row for value in report.values() if isinstance(value, list) for row in value if isinstance(row, dict)]
    keys = {*report, *(key for row in rows for key in row)}
    page = (ROOT / "docs" / "lab.md").read_text("utf-8")
    assert keys - set(re.findall(r"`(\w+)`", page)) == set()
    assert {"exit_code", "arrived", "lease_left_s", "pid"} <= keys


def test_an_endpoint_without_an_address() -> None:
    assert endpoint_text(None, 80) == "port 80"
    assert endpoint_text("2001:db8::1", 80) == "[2001:db8::1]:80"
