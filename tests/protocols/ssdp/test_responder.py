"""Searches in, answers out: the moment of each answer, and how much a source may draw (IGD section 2.5, SR-11)."""

import random
from collections.abc import Hashable
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.ssdp_devices import EVERY, VOICE, search, taken_apart
from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Instant
from upnp_gw.protocols.peer import Peer
from upnp_gw.protocols.rate_limit import Rate, Throttle
from upnp_gw.protocols.ssdp import MessageIdentity, Responder, server_token
from upnp_gw.protocols.ssdp.responder import ANSWER_BYTES, QUEUE_MAX, SearchResponse

OWN = IPv4Address("192.168.77.1")
PEER = Peer(IPv4Address("192.168.77.10"), 40_000)
IGD1 = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"


def responder(throttle: Throttle[Hashable] | None = None) -> Responder:
    return Responder(VOICE, random.Random(3).uniform, throttle)


def ask(to: Responder, data: bytes, at: float = 0.0, peer: Peer = PEER, multicast: bool = True) -> None:
    to.receive(
        data,
        peer,
        sender=peer.address,
        own=OWN,
        multicast=multicast,
        boot_id=7,
        now=Instant(at, 1_800_000_000.0 + at),
    )


def flood(
    to: Responder, data: bytes, count: int, over_s: float, sources: int = 1
) -> tuple[list[SearchResponse], list[str]]:
    """``count`` searches in a time, from a number of source addresses in turn; the answers, and the refusals."""
    refused = []
    for number in range(count):
        peer = Peer(IPv4Address(int(PEER.address) + number % sources), 40_000)
        try:
            ask(to, data, at=over_s * number / count, peer=peer)
        except WireError as error:
            refused.append(error.reason)
    return to.on_deadline(over_s + 5.0), refused


@pytest.mark.spec("IGD-056", "IGD-057")
def test_an_answer_goes_to_the_sender_from_the_address_of_its_location() -> None:
    one = responder()
    ask(one, search(IGD1))
    (answer,) = one.on_deadline(2.0)
    assert (answer.peer, answer.own) == (PEER, OWN)
    _, headers = taken_apart(answer.data)
    assert headers["LOCATION"] == "http://192.168.77.1:5000/igd1.xml"
    assert headers["ST"] == IGD1
    assert headers["BOOTID.UPNP.ORG"] == "7"
    assert one.next_deadline() is None


@pytest.mark.spec("IGD-053", "IGD-054")
@given(st.sampled_from([("1", 1), ("3", 3), ("5", 5), ("120", 5)]), st.integers())
def test_a_set_is_spread_over_mx_and_none_is_late(mx: tuple[str, int], seed: int) -> None:
    one = Responder(VOICE, random.Random(seed).uniform)
    ask(one, search("ssdp:all", mx=mx[0]), at=100.0)
    times = [answer.due for answer in one.on_deadline(100.0 + mx[1])]
    assert len(times) == EVERY
    assert times == sorted(times)
    assert times[-1] - times[0] > 0.01
    assert times[0] >= 100.0
    assert one.next_deadline() is None


def test_a_single_answer_comes_soon() -> None:
    """Clients of miniupnpc with a discovery delay of 200 ms say MX 1 and are gone before one second has passed."""
    for seed in range(50):
        one = Responder(VOICE, random.Random(seed).uniform)
        ask(one, search(IGD1, mx="1"))
        assert len(one.on_deadline(0.11)) == 1


def test_a_set_comes_within_a_second_for_any_mx() -> None:
    """bupnp (Node) asks for everything with MX 10, MAN without quotes, and listens for one second."""
    request = search("ssdp:all", mx="10").replace(b'"ssdp:discover"', b"ssdp:discover")
    for seed in range(50):
        one = Responder(VOICE, random.Random(seed).uniform)
        ask(one, request)
        assert len(one.on_deadline(0.9)) == EVERY


@pytest.mark.spec("IGD-055")
def test_unicast_is_answered_at_once() -> None:
    one = responder()
    ask(one, search("ssdp:all", mx=None), multicast=False)
    assert len(one.on_deadline(0.0)) == EVERY


def test_next_deadline_is_the_earliest_answer() -> None:
    one = responder()
    ask(one, search("ssdp:all"))
    sent = 0
    while (due := one.next_deadline()) is not None:
        batch = one.on_deadline(due)
        assert batch
        assert all(answer.due <= due for answer in batch)
        sent += len(batch)
    assert sent == EVERY


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (search("urn:x:y:1"), "unknown-target"),
        (b"NOTIFY * HTTP/1.1\r\n\r\n", "not-a-search"),
        (b"\xff", "not-a-search"),
    ],
)
def test_nothing_waits_after_a_refusal(data: bytes, reason: str) -> None:
    one = responder()
    with pytest.raises(WireError) as caught:
        ask(one, data)
    assert caught.value.reason == reason
    assert one.next_deadline() is None


@pytest.mark.spec("SR-11")
def test_no_answer_is_longer_than_its_charge() -> None:
    voice = MessageIdentity(VOICE.roots, server_token("1234.1234.9"), 86_400, 65_535)
    own = IPv6Address("2001:db80:1111:2222:3333:4444:5555:6666")
    one = Responder(voice, random.Random(3).uniform)
    one.receive(
        search("ssdp:all"),
        PEER,
        sender=PEER.address,
        own=own,
        multicast=True,
        boot_id=2**31 - 1,
        now=Instant(0.0, 1_800_000_000.0),
    )
    longest = max(len(answer.data) for answer in one.on_deadline(5.0))
    assert 300 < longest <= ANSWER_BYTES


def test_forget_drops_pending_answers() -> None:
    one = responder()
    ask(one, search("ssdp:all"))
    one.forget()
    assert one.next_deadline() is None


@pytest.mark.spec("SR-11")
def test_bursts_of_well_behaved_clients_are_served_in_full() -> None:
    """ssdp:all three times in a row (UDP gets lost), aioupnp's 14 searches, nat-upnp's search for every call."""
    answers, refused = flood(responder(), search("ssdp:all"), 3, 0.5)
    assert (len(answers), refused) == (3 * EVERY, [])
    answers, refused = flood(responder(), search(IGD1), 14, 0.01)
    assert (len(answers), refused) == (14, [])
    answers, refused = flood(responder(), search(IGD1), 600, 60)
    assert (len(answers), refused) == (600, [])
    answers, refused = flood(responder(), search(IGD1), 250, 0.5, sources=250)
    assert (len(answers), refused) == (250, []), "a whole LAN after a power cut"


@pytest.mark.spec("IGD-065", "SR-11")
@pytest.mark.parametrize("target", ["ssdp:all", IGD1])
def test_a_burst_from_one_source_draws_less_than_it_cost(target: str) -> None:
    data = search(target)
    answers, refused = flood(responder(), data, 5000, 0.1)
    out = sum(len(answer.data) for answer in answers)
    assert 0 < out <= 37 * 1024 < 5000 * len(data) / 10
    assert refused
    assert set(refused) == {"rate"}


@pytest.mark.spec("SR-11")
def test_a_burst_from_forged_sources_draws_less_than_it_cost() -> None:
    data = search("ssdp:all")
    answers, refused = flood(responder(), data, 5000, 0.1, sources=5000)
    out = sum(len(answer.data) for answer in answers)
    assert 0 < out <= 260 * 1024 < 5000 * len(data)
    assert set(refused) <= {"rate", "queue-full"}
    assert len(answers) <= QUEUE_MAX


@pytest.mark.spec("SR-11")
def test_over_time_a_source_gets_the_refill_rate() -> None:
    answers, _ = flood(responder(), search("ssdp:all"), 3000, 300)
    assert sum(len(answer.data) for answer in answers) <= 36 * 1024 + 300 * 4 * 1024


def test_the_queue_is_bounded() -> None:
    generous = Throttle[Hashable](Rate(1e9, 1e9), Rate(1e9, 1e9))
    answers, refused = flood(responder(generous), search("ssdp:all", mx="5"), 200, 0.0)
    assert len(answers) <= QUEUE_MAX
    assert set(refused) == {"queue-full"}
