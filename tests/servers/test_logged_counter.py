"""Events that any client can cause: all are counted, and the log has one line of each kind in a minute."""

import logging

import pytest

from upnp_gw.model.mapping import Instant
from upnp_gw.servers.logged_counter import LoggedCounter

log = logging.getLogger("test.counter")


def test_each_kind_is_logged_at_most_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, log.name)
    now = [1000.0]
    counter = LoggedCounter(log, lambda: Instant(now[0], 0.0))
    for moment in (1000.0, 1000.0, 1059.9, 1060.0, 1060.1):
        now[0] = moment
        counter.note("refused", "refused %s", "192.0.2.1")
    counter.note("send", "cannot send to %s", "192.0.2.2", level=logging.WARNING)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "refused 192.0.2.1"),
        ("INFO", "refused 192.0.2.1 (4 so far)"),
        ("WARNING", "cannot send to 192.0.2.2"),
    ]
    assert counter.counts == {"refused": 5, "send": 1}
