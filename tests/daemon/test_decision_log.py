"""The log of decisions: one line each, with the decision's id, and text of clients stays in it."""

import io
import json
import logging
from pathlib import Path

import pytest

from tests.fixtures.gateway import PC_IP, gateway_fixture
from tests.fixtures.log_output import EVIL, lines
from tests.fixtures.mapping_rows import mapping
from tests.fixtures.operator_commands import served
from tests.store.test_store import record
from upnp_gw.daemon import decision_log
from upnp_gw.ledger.events import Decided, TableChanged
from upnp_gw.system import log_lines

__all__ = ["lines"]


@pytest.mark.spec("SR-21")
@pytest.mark.parametrize("form", ["text", "json"])
def test_client_text_stays_in_its_line(lines: io.StringIO, form: str) -> None:
    log_lines.configure(form, "debug", lines)
    logging.getLogger("upnp_gw.x").warning("it said %s", EVIL)
    decision_log.on_event(Decided(record(7, description=EVIL, device=EVIL, rule=EVIL, reasons=(EVIL,))))
    written = lines.getvalue()
    assert written.endswith("\n")
    assert len(written.splitlines()) == 2
    assert all(line.isprintable() and "\x1b" not in line for line in written.splitlines())
    if form == "json":
        assert json.loads(written.splitlines()[1])["description"] == EVIL


def test_a_json_line_about_a_decision_carries_it(lines: io.StringIO) -> None:
    log_lines.configure("json", "info", lines)
    decision_log.on_event(Decided(record(7, verdict="deny", refusal="rate", count=57)))
    report = json.loads(lines.getvalue())
    assert (report["decision"], report["verdict"], report["level"], report["count"]) == ("d7", "deny", "info", 57)
    assert report["logger"] == "upnp_gw.decisions"
    assert report["at"].endswith("Z")
    assert list(report)[:4] == ["at", "level", "logger", "message"]
    assert "(57 times)" in report["message"]


def test_text_names_the_decision_once(lines: io.StringIO) -> None:
    log_lines.configure("text", "info", lines)
    decision_log.on_event(Decided(record(7)))
    logging.getLogger("upnp_gw.y").info("kept", extra={"decision": "d9"})
    first, second = lines.getvalue().splitlines()
    assert first.startswith("INFO upnp_gw.decisions: d7 allow")
    assert first.count("d7") == 1
    assert second == "INFO upnp_gw.y: kept (d9)"


def test_routine_events_are_logged_only_at_debug(lines: io.StringIO) -> None:
    log_lines.configure("text", "info", lines)
    decision_log.on_event(Decided(record(7, action="renew")))
    assert lines.getvalue() == ""
    decision_log.on_event(Decided(record(8, action="renew", verdict="deny")))
    decision_log.on_event(TableChanged(removed=((mapping(1, 8080), "policy"),)))
    assert "d8 deny" in lines.getvalue()
    assert "m1 tcp 8080" in lines.getvalue()
    assert "ended: policy" in lines.getvalue()


async def test_every_answer_is_a_line(lines: io.StringIO, tmp_path: Path) -> None:
    log_lines.configure("json", "info", lines)
    async with gateway_fixture(tmp_path) as home:
        home.published.subscribe(decision_log.on_event)
        await home.granted(9000)
        refused = await home.refused(22, PC_IP)
        await home.unmap(9000)
    report = [json.loads(line) for line in lines.getvalue().splitlines()]
    decisions = [line["decision"] for line in report if line["logger"] == "upnp_gw.decisions"]
    assert decisions == ["d1", refused.decision, "d1", "d3"]


async def test_a_new_question_is_one_line_and_a_repeated_request_none(lines: io.StringIO, tmp_path: Path) -> None:
    log_lines.configure("text", "info", lines)
    async with served(tmp_path) as here:
        here.home.published.subscribe(decision_log.on_event)
        await here.home.refused(8080, description=EVIL)
        for lease in (600, 600, 7200):  # the last asks for more: the same question under another number
            await here.home.refused(8080, lifetime=lease)
        await here.home.refused(9000, PC_IP)
        await here.home.refused(22, PC_IP)
    queue_lines = [line for line in lines.getvalue().splitlines() if "upnp-gw queue" in line]
    assert queue_lines == [
        "INFO upnp_gw.decisions: question 1: ac:89:95:00:00:01 asks for tcp 8080 -> 192.168.77.10:8080;"
        " 1 question waits: upnp-gw queue (d1)",
        "INFO upnp_gw.decisions: question 3: 02:00:00:00:00:77 asks for tcp 9000 -> 192.168.77.20:9000;"
        " 2 questions wait: upnp-gw queue (d5)",
    ]
