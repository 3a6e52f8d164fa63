"""The report about a program in the lab, as text, JSON and JUnit XML. Text of the program is escaped (SR-21)."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from xml.etree import ElementTree

import click

from upnp_gw.cli import formats
from upnp_gw.cli.terminal import BAD, CAUTION, GOOD, HEADING, paint
from upnp_gw.lab.program.report import (
    ACCEPTED,
    ANSWERED,
    REFUSED,
    SILENT,
    UNPROBED,
    Exchange,
    Opening,
    ProgramReport,
)
from upnp_gw.text.escape import shown

LONGEST = 400
"""Columns of a message. Longer ones are cut in the text, not in JSON."""


def as_text(report: ProgramReport) -> list[str]:
    """The lines for a terminal."""
    return [
        f"upnp-gw lab: {_command(report)} ended with exit code {report.exit_code} after {report.took_s:.1f} s",
        *_section("asked", _asked_lines(report)),
        *_section("opened", [_opening_line(opening) for opening in report.openings]),
        *_section("left behind", _left_lines(report)),
    ]


def report_json(report: ProgramReport) -> str:
    """One JSON object, in ASCII. Its keys are the fields of ``lab.program.report``."""
    return json.dumps(asdict(report), indent=2)


def junit_xml(report: ProgramReport) -> str:
    """A suite with a case for the program and one for each mapping.

    The program fails if its exit code is not 0, a mapping if no packet from the internet arrived. A mapping that
    was not probed, or at which nothing listened, is skipped.
    """
    suite = ElementTree.Element("testsuite", name="upnp-gw lab", time=f"{report.took_s:.3f}")
    program = ElementTree.SubElement(suite, "testcase", classname="program", name=_command(report))
    program.set("time", f"{report.took_s:.3f}")
    if report.exit_code:
        ElementTree.SubElement(program, "failure", type="exit code", message=f"exit code {report.exit_code}")
    for opening in report.openings:
        name = f"{opening.mapping} {opening.transport} {opening.external} -> {opening.internal}"
        case = ElementTree.SubElement(suite, "testcase", classname="mapping", name=name, time="0.000")
        if opening.answer == UNPROBED:
            ElementTree.SubElement(case, "skipped", message=shown(opening.note, LONGEST))
        elif not opening.arrived:
            ElementTree.SubElement(case, "failure", type="no packet", message=_outcome(opening))
        elif opening.answer == REFUSED:
            ElementTree.SubElement(case, "skipped", message=_outcome(opening))
    ElementTree.SubElement(suite, "system-out").text = click.unstyle("\n".join(as_text(report)))
    cases = suite.findall("testcase")
    for kind in ("failure", "skipped"):
        count = sum(case.find(kind) is not None for case in cases)
        suite.set({"failure": "failures"}.get(kind, kind), str(count))
    suite.set("tests", str(len(cases)))
    suite.set("errors", "0")
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _section(heading: str, lines: list[str]) -> list[str]:
    return [paint(heading, HEADING), *(f"  {line}" for line in lines or ["nothing"])]


def _asked_lines(report: ProgramReport) -> list[str]:
    """A line for each message. The same message with the same answer several times in a row has one line."""
    lines = [
        _exchange_line(first := next(again), first.times + sum(each.times for each in again))
        for _, again in groupby(report.exchanges, _unlike)
    ]
    if report.packets_lost:
        lines.append(paint(f"{report.packets_lost} packets were not kept: messages can be missing here", CAUTION))
    return lines


def _unlike(exchange: Exchange) -> tuple[object, ...]:
    return exchange.protocol, exchange.asked, tuple(exchange.arguments.items()), exchange.answer


def _exchange_line(exchange: Exchange, count: int) -> str:
    words = [exchange.asked, *(f"{name}={shown(value)}" for name, value in exchange.arguments.items() if value)]
    times = f" ({count} times)" if count > 1 else ""
    answer = paint(shown(exchange.answer, LONGEST) or "no answer", None if exchange.ok else BAD)
    return f"{exchange.at_s:7.2f} s  {exchange.protocol:<7}  {shown(' '.join(words), LONGEST)}{times}: {answer}"


def _opening_line(opening: Opening) -> str:
    style = GOOD if opening.answer in (ACCEPTED, ANSWERED) else CAUTION if opening.arrived else BAD
    style = CAUTION if opening.answer == UNPROBED else style
    where = f"{opening.mapping}  {opening.transport} {opening.external} -> {opening.internal}"
    return f"{where}: {paint(_outcome(opening), style)}"


def _outcome(opening: Opening) -> str:
    if opening.answer == UNPROBED:
        return shown(f"not probed: {opening.note}", LONGEST)
    if not opening.arrived:
        return f"no packet from the internet arrived ({shown(opening.answer)})"
    words = {
        ACCEPTED: "and the connection was accepted",
        ANSWERED: "and was answered",
        REFUSED: "but nothing listened there",
        SILENT: "and was not answered",
    }
    return f"a packet from the internet arrived {words.get(opening.answer, shown(opening.answer))}"


def _left_lines(report: ProgramReport) -> list[str]:
    return [
        *_left_mappings(report),
        *(f"process {p.pid} {shown(p.name)}, ended now" for p in report.processes_left),
    ]


def _left_mappings(report: ProgramReport) -> Iterator[str]:
    for left in report.mappings_left:
        lease = "permanent" if left.lease_left_s is None else f"lease {formats.duration(left.lease_left_s)}"
        yield f"{left.mapping}  {left.transport} {left.external} -> {left.internal}, {lease}"


def _command(report: ProgramReport) -> str:
    return shown(shlex.join(report.command), LONGEST)
