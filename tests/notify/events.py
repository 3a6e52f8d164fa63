"""An event of each kind that can be told, with text that a device chose."""

from datetime import timedelta

from msgspec.structs import replace

from tests.cli.test_devices import INCIDENT, QUESTION
from tests.fixtures.fake_operator import NOW, mapping
from upnp_gw import api

EVIL = 'x\r\nX-Evil: 1\x1b[31m"\\\u202e{{ states("lock.door") }}'

QUESTION_EVENT = api.Event(event="question", at=NOW, id="r-1", question=replace(QUESTION, description=EVIL))
INCIDENT_EVENT = api.Event(event="incident", at=NOW, id="r-2", incident=INCIDENT)
EVENTS = [
    QUESTION_EVENT,
    INCIDENT_EVENT,
    api.Event(
        event="new-device", at=NOW, id="r-3", device="02:00:00:00:00:66", device_name=EVIL, address="192.168.1.77"
    ),
    api.Event(event="first-mapping", at=NOW, id="r-4", mapping=mapping(1, description=EVIL, device_name="nas")),
    api.Event(event="policy-refused", at=NOW, id="r-5", why="policy.toml:3: grant: unknown; did you mean grants?"),
    api.Event(
        event="double-nat",
        at=NOW + timedelta(seconds=1),
        id="r-6",
        address="100.64.3.4",
        why="the external address 100.64.3.4 is shared by a carrier's NAT (RFC 6598): the internet cannot reach it",
    ),
]
OTHERS = [
    api.Event(event="added", at=NOW, mapping=mapping(1)),
    api.Event(event="wan", at=NOW),
    api.Event(event="hello", at=NOW),
]
