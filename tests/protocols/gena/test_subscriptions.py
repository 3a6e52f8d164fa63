"""The table of subscriptions: caps, lifetimes, SEQ, what is in each message and when it is due."""

from collections.abc import Mapping
from ipaddress import ip_address
from itertools import count
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.model.mapping import Instant
from upnp_gw.model.request import Source
from upnp_gw.protocols.gena.messages import EventAnswer
from upnp_gw.protocols.gena.subscriptions import (
    INTERVAL_S,
    PENDING_S,
    PER_HOST,
    SEQ_MAX,
    TOTAL,
    Delivery,
    DeliveryOutcome,
    Subscriptions,
)
from upnp_gw.protocols.igd_services import SERVICES, IgdVersion, Service

CONSOLE = Source(ip_address("192.168.1.20"), "br0")
LAPTOP = Source(ip_address("192.168.1.21"), "br0")
FORWARDING, INTERFACE, CONNECTION = SERVICES[IgdVersion.IGD1]


class Table:
    """A table with a clock of its own; variables can be set for everyone or for one subscriber."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.values: dict[str, str] = {"Status": "Connected", "Count": "0"}
        self.own: dict[Source, dict[str, str]] = {}
        numbers = count(1)
        self.table = Subscriptions(self.properties, lambda: UUID(int=next(numbers)), self.host_of)

    def properties(self, igd_version: IgdVersion, service: Service, source: Source) -> Mapping[str, str]:
        if service == INTERFACE:
            return {}
        return {**self.values, **self.own.get(source, {})}

    def host_of(self, source: Source) -> str:
        """All IPv6 sources are one host."""
        return str(source.address) if source.address.version == 4 else "ac:89:95:00:00:01"

    @property
    def now(self) -> Instant:
        return Instant(self.now_s, 1.7e9 + self.now_s)

    def ask(
        self, method: str, headers: dict[str, str], source: Source = CONSOLE, service: Service = CONNECTION
    ) -> EventAnswer:
        return self.table.serve(method, IgdVersion.IGD1, service, headers, source, self.now)

    def subscribe(self, source: Source = CONSOLE, timeout: str = "Second-1800") -> EventAnswer:
        host = f"[{source.address}]" if source.address.version == 6 else str(source.address)
        callback = f"<http://{host}:49200/a>"
        return self.ask("SUBSCRIBE", {"NT": "upnp:event", "CALLBACK": callback, "TIMEOUT": timeout}, source)

    def live(self, source: Source = CONSOLE) -> str:
        """A subscription whose initial message has been taken, ready for the next."""
        sid = self.subscribe(source).sid
        assert sid is not None
        self.table.delivered(sid, self.now)
        assert [d.sid for d in self.due()] == [sid]
        self.table.finished(sid, DeliveryOutcome.DELIVERED)
        self.pass_s(INTERVAL_S)
        return sid

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds

    def change(self, **values: str) -> None:
        self.values.update(values)
        self.table.changed()

    def due(self) -> list[Delivery]:
        return self.table.due(self.now)


@pytest.fixture
def gateway() -> Table:
    return Table()


@pytest.mark.spec("IGD-180")
def test_a_subscription_is_granted_and_gets_every_variable_first(gateway: Table) -> None:
    answer = gateway.subscribe()
    assert answer.status == 200
    assert answer.headers == {"SID": "uuid:00000000-0000-0000-0000-000000000001", "TIMEOUT": "Second-1800"}
    assert answer.sid == answer.headers["SID"]
    gateway.table.delivered(answer.sid, gateway.now)
    (first,) = gateway.due()
    assert (first.sid, first.seq, first.values) == (answer.sid, 0, {"Status": "Connected", "Count": "0"})
    assert gateway.due() == []


@pytest.mark.spec("IGD-181")
def test_nothing_is_sent_before_the_answer_is_written(gateway: Table) -> None:
    sid = gateway.subscribe().sid
    gateway.change(Count="1")
    assert gateway.due() == []
    assert sid is not None
    gateway.table.delivered(sid, gateway.now)
    (first,) = gateway.due()
    assert (first.seq, first.values["Count"]) == (0, "1")


def test_an_answer_that_was_never_written_holds_no_place_for_long(gateway: Table) -> None:
    gateway.subscribe()
    gateway.pass_s(PENDING_S)
    assert gateway.due() == []
    assert len(gateway.table) == 0


def test_a_value_written_twice_is_one_event(gateway: Table) -> None:
    sid = gateway.live()
    gateway.pass_s(1000)
    gateway.table.delivered(sid, gateway.now)
    gateway.table.delivered("uuid:unknown", gateway.now)
    assert gateway.due() == []
    assert gateway.table.next_deadline() == 1000 + 1800


@pytest.mark.spec("IGD-185")
def test_renewal_keeps_the_sid_extends_the_time_and_sends_nothing(gateway: Table) -> None:
    sid = gateway.live()
    gateway.pass_s(1700)
    answer = gateway.ask("SUBSCRIBE", {"SID": sid, "TIMEOUT": "Second-3600"})
    assert answer == EventAnswer(200, {"SID": sid, "TIMEOUT": "Second-3600"})
    assert gateway.due() == []
    gateway.pass_s(3599)
    gateway.change(Count="1")
    (after,) = gateway.due()
    assert after.seq == 1


@pytest.mark.spec("IGD-186")
@pytest.mark.parametrize("method", ["SUBSCRIBE", "UNSUBSCRIBE"])
def test_a_sid_that_is_unknown_expired_or_anothers_fails_the_precondition(gateway: Table, method: str) -> None:
    sid = gateway.live()
    assert gateway.ask(method, {"SID": "uuid:unknown"}).status == 412
    assert gateway.ask(method, {"SID": sid}, source=LAPTOP).status == 412
    assert gateway.ask(method, {"SID": sid}, service=FORWARDING).status == 412
    assert gateway.ask(method, {"SID": sid.upper()}).status == 412
    assert sid in gateway.table
    gateway.pass_s(1800)
    assert gateway.ask(method, {"SID": sid}).status == 412


@pytest.mark.spec("IGD-188")
def test_after_unsubscribe_or_expiry_nothing_is_sent(gateway: Table) -> None:
    sid, other = gateway.live(), gateway.live(LAPTOP)
    assert gateway.ask("UNSUBSCRIBE", {"SID": sid}) == EventAnswer(200)
    gateway.change(Count="1")
    assert [d.sid for d in gateway.due()] == [other]
    gateway.pass_s(1800)
    gateway.table.finished(other, DeliveryOutcome.DELIVERED)
    gateway.change(Count="2")
    assert gateway.due() == []
    assert gateway.table.next_deadline() is None


@pytest.mark.spec("IGD-188")
def test_without_pending_events_the_deadline_is_the_expiry(gateway: Table) -> None:
    gateway.live()
    assert gateway.table.next_deadline() == 1000 + 1800


@pytest.mark.spec("IGD-192")
def test_seq_counts_messages_delivered_or_not_and_wraps_to_one(gateway: Table) -> None:
    sid = gateway.live()
    row = gateway.table._by_sid[sid]
    row.next_seq = SEQ_MAX - 1
    seen = []
    for number in range(4):
        gateway.change(Count=str(number + 1))
        (delivery,) = gateway.due()
        seen.append(delivery.seq)
        gateway.table.finished(sid, DeliveryOutcome.FAILED if number % 2 else DeliveryOutcome.DELIVERED)
        gateway.pass_s(INTERVAL_S)
    assert seen == [4294967294, 4294967295, 1, 2]


def test_the_values_of_an_abandoned_message_go_with_the_next(gateway: Table) -> None:
    sid = gateway.live()
    gateway.change(Count="1")
    assert gateway.due()[0].values == {"Count": "1"}
    gateway.table.finished(sid, DeliveryOutcome.FAILED)
    gateway.pass_s(INTERVAL_S)
    assert gateway.due() == []
    gateway.change(Status="Disconnected")
    assert gateway.due()[0].values == {"Status": "Disconnected", "Count": "1"}


def test_only_changed_variables_are_sent(gateway: Table) -> None:
    gateway.live()
    gateway.change(Count="1")
    assert [d.values for d in gateway.due()] == [{"Count": "1"}]


def test_a_change_that_a_subscriber_may_not_see_makes_no_message(gateway: Table) -> None:
    """A deviation: each subscriber gets the values that it may see, not all the same (UDA 1.1 section 4)."""
    gateway.live(CONSOLE)
    laptop = gateway.live(LAPTOP)
    gateway.own[LAPTOP] = {"Count": "1"}
    gateway.table.changed()
    assert [(d.sid, d.values) for d in gateway.due()] == [(laptop, {"Count": "1"})]


def test_a_burst_becomes_two_messages_the_first_at_once(gateway: Table) -> None:
    sid = gateway.live()
    gateway.change(Count="1")
    (first,) = gateway.due()
    for number in range(2, 100):
        gateway.change(Count=str(number))
        assert gateway.due() == []
    gateway.table.finished(sid, DeliveryOutcome.DELIVERED)
    assert gateway.due() == []
    assert gateway.table.next_deadline() == pytest.approx(gateway.now_s + INTERVAL_S)
    gateway.pass_s(INTERVAL_S)
    (second,) = gateway.due()
    assert (first.values, second.values) == ({"Count": "1"}, {"Count": "99"})
    assert (first.seq, second.seq) == (1, 2)


@pytest.mark.spec("IGD-197")
def test_a_message_on_its_way_holds_back_its_own_subscriber_alone(gateway: Table) -> None:
    gateway.live(CONSOLE)
    laptop = gateway.live(LAPTOP)
    gateway.change(Count="1")
    assert len(gateway.due()) == 2
    gateway.table.finished(laptop, DeliveryOutcome.DELIVERED)
    gateway.pass_s(60)
    gateway.change(Count="2")
    assert [d.sid for d in gateway.due()] == [laptop]


def test_a_subscriber_that_forgot_its_sid_is_dropped(gateway: Table) -> None:
    sid = gateway.live()
    gateway.change(Count="1")
    gateway.due()
    gateway.table.finished(sid, DeliveryOutcome.UNKNOWN_SID)
    assert sid not in gateway.table


def test_the_end_of_a_delivery_after_unsubscribe_is_nothing(gateway: Table) -> None:
    sid = gateway.live()
    gateway.change(Count="1")
    gateway.due()
    gateway.ask("UNSUBSCRIBE", {"SID": sid})
    gateway.table.finished(sid, DeliveryOutcome.UNKNOWN_SID)
    assert len(gateway.table) == 0


def test_a_service_without_evented_variables_has_no_event_url(gateway: Table) -> None:
    headers = {"NT": "upnp:event", "CALLBACK": "<http://192.168.1.20:49200/a>"}
    assert gateway.ask("SUBSCRIBE", headers, service=INTERFACE).status == 404


def test_a_request_that_the_parser_refuses_gets_its_status(gateway: Table) -> None:
    assert gateway.ask("SUBSCRIBE", {}) == EventAnswer(412, reason="nt")


@pytest.mark.spec("IGD-199", "SR-8")
def test_a_host_has_eight_subscriptions_and_the_others_still_get_theirs(gateway: Table) -> None:
    sids = [gateway.live() for _ in range(PER_HOST)]
    answer = gateway.subscribe()
    assert (answer.status, answer.sid, answer.headers) == (503, None, {})
    assert gateway.subscribe(LAPTOP).status == 200
    gateway.ask("UNSUBSCRIBE", {"SID": sids[0]})
    assert gateway.subscribe().status == 200


@pytest.mark.spec("IGD-199", "SR-8")
def test_a_host_of_many_addresses_has_one_share(gateway: Table) -> None:
    for number in range(PER_HOST):
        gateway.live(Source(ip_address(f"fd00::{number + 1:x}"), "br0"))
    assert gateway.subscribe(Source(ip_address("fd00::ffff"), "br0")).status == 503


@pytest.mark.spec("IGD-199", "SR-8")
def test_ten_thousand_subscribes_leave_sixty_four(gateway: Table) -> None:
    statuses = []
    for number in range(10_000):
        source = Source(ip_address(0xC0A80000 + number // 8), "br0")
        answer = gateway.subscribe(source)
        statuses.append(answer.status)
        if answer.sid is not None:
            gateway.table.delivered(answer.sid, gateway.now)
    assert statuses == [200] * TOTAL + [503] * (10_000 - TOTAL)
    assert len(gateway.table) == len(gateway.due()) == TOTAL


def test_a_failing_subscription_makes_room_for_its_hosts_next(gateway: Table) -> None:
    """A control point that was killed and started again leaves its old subscriptions behind."""
    sids = [gateway.live() for _ in range(PER_HOST)]
    gateway.change(Count="1")
    gateway.due()
    for number, sid in enumerate(sids):
        gateway.table.finished(sid, DeliveryOutcome.FAILED if number in (3, 5) else DeliveryOutcome.DELIVERED)
    assert [gateway.subscribe().status for _ in range(3)] == [200, 200, 503]
    assert [sid in gateway.table for sid in sids] == [n not in (3, 5) for n in range(PER_HOST)]


def test_a_failing_subscription_makes_room_for_anyone_when_the_table_is_full(gateway: Table) -> None:
    sources = [Source(ip_address(0xC0A80000 + number), "br0") for number in range(TOTAL)]
    sids = [gateway.live(source) for source in sources]
    assert gateway.subscribe(CONSOLE).status == 503
    gateway.change(Count="1")
    gateway.due()
    gateway.table.finished(sids[40], DeliveryOutcome.FAILED)
    assert gateway.subscribe(CONSOLE).status == 200
    assert sids[40] not in gateway.table
    assert len(gateway.table) == TOTAL


def test_a_new_boot_id_voids_everything(gateway: Table) -> None:
    sid = gateway.live()
    gateway.table.cancel_all()
    assert gateway.ask("SUBSCRIBE", {"SID": sid}).status == 412
    assert gateway.table.next_deadline() is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(0, 3)),
        st.tuples(st.just("pass"), st.sampled_from([0.05, 0.1, 0.2])),
        st.tuples(st.just("finish"), st.sampled_from([DeliveryOutcome.DELIVERED, DeliveryOutcome.FAILED])),
    ),
    max_size=60,
)


@pytest.mark.spec("IGD-192")
@given(STEPS)
def test_messages_are_single_and_ordered_and_end_with_the_current_values(
    steps: list[tuple[str, int | float | DeliveryOutcome]],
) -> None:
    gateway = Table()
    sid = gateway.live()
    on_the_way: Delivery | None = None
    known = dict(gateway.values)
    last_seq, last_at = 0, gateway.now_s - INTERVAL_S
    for what, value in steps:
        match what, value:
            case "change", int():
                gateway.change(Count=str(value))
            case "pass", float():
                gateway.pass_s(value)
            case "finish", DeliveryOutcome() if on_the_way is not None:
                if value is DeliveryOutcome.DELIVERED:
                    known.update(on_the_way.values)
                gateway.table.finished(sid, value)
                on_the_way = None
        for delivery in gateway.due():
            assert on_the_way is None
            assert delivery.seq == last_seq + 1
            assert gateway.now_s >= last_at + INTERVAL_S - 1e-9
            on_the_way, last_seq, last_at = delivery, delivery.seq, gateway.now_s
    if on_the_way is not None:
        gateway.table.finished(sid, DeliveryOutcome.DELIVERED)
        known.update(on_the_way.values)
    gateway.pass_s(INTERVAL_S)
    gateway.table.changed()
    for delivery in gateway.due():
        known.update(delivery.values)
    assert known == gateway.values
