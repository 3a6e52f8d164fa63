"""The messages for the kernel, byte for byte those of libnftables; which element of them the kernel refused."""

import errno
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.firewall_driver import NETWORK, forward, settings
from tests.fixtures.sent_batches import CASES, EVERY_KIND, edits_of, normalised, sent_batches
from upnp_gw.firewall.base import FirewallMode, Open, Refill
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.netlink import Failure
from upnp_gw.firewall.nftables.backend import REMOVE
from upnp_gw.firewall.nftables.element_messages import batch_of
from upnp_gw.firewall.nftables.element_text import commands_of
from upnp_gw.firewall.nftables.element_writer import ElementRefused, LibnftablesWriter, refusal_of
from upnp_gw.firewall.nftables.elements import slot_of
from upnp_gw.firewall.nftables.ruleset import contents, structure
from upnp_gw.firewall.nftables.ruleset_delta import delta_of
from upnp_gw.firewall.nftables.state import RulesetState
from upnp_gw.lab import Host

RECORDED = Path(__file__).with_name("recorded_batches.json")
"""The normalised messages of libnftables 1.0.6 on x86-64 for each batch of ``CASES`` in router mode.
``python -m upnp_gw.lab.enter python -m tests.firewall.nftables.record_batches`` writes the file."""
ALL = [(name, mode) for name in CASES for mode in FirewallMode]


def names(case: object) -> str:
    return str(case).replace(" ", "-")


@pytest.mark.parametrize("name", CASES, ids=names)
def test_a_batch_is_the_one_that_libnftables_sent(name: str) -> None:
    recorded = [bytes.fromhex(text) for text in json.loads(RECORDED.read_text())[name]]
    assert [b"".join(batch_of(edits)) for edits in edits_of(CASES[name], router=True)] == recorded


def test_the_cases_have_an_element_of_every_map() -> None:
    edits = [edits for cases in CASES.values() for edits in edits_of(cases, router=True)]
    changed = {(step.map, step.adds) for each in edits for step in each.steps}
    state = RulesetState(NETWORK, size=100, router=True)
    everything = delta_of(state, [Refill(tuple(EVERY_KIND))], 0.0).edits.whole()
    filled = {*everything.emptied, "cut", "cut6"}
    assert changed == {(name, adds) for name in filled for adds in (True, False)}


@pytest.mark.spec("SR-12")
def test_no_message_is_longer_than_its_attributes_can_say() -> None:
    """A list of elements has a length of 16 bits. The longest elements are those of prefixes of IPv6 hosts."""
    many = tuple(
        forward(f"{n:032x}", 1 + n, to="2a11:2233:0:77::12", remote="2a11:50:1::/64", timeout_s=10**7)
        for n in range(400)
    )
    edits = delta_of(RulesetState(NETWORK, size=1000), [Refill(many)], 0.0).edits.whole()
    messages = batch_of(edits)
    assert max(map(len, messages)) < 1 << 16
    assert all(struct.unpack_from("=I", message)[0] == len(message) for message in messages)
    assert all(len(message) % 4 == 0 for message in messages)


def test_a_refusal_names_the_element_and_its_mapping() -> None:
    forwards = [forward(f"m{n}", 80 + n) for n in range(5)]
    edits = delta_of(RulesetState(NETWORK, size=100), map(Open, forwards), 0.0).edits.whole()
    messages = batch_of(edits)
    at = next(at for at, message in enumerate(messages) if b"\0pm\0" in message)
    offset = messages[at].index(slot_of(forwards[3]).key) - 24  # element, timeout, and two for the key
    refused = refusal_of(edits, messages, Failure(at, errno.EEXIST, offset))
    assert isinstance(refused, ElementRefused)
    assert (refused.slot, refused.errno) == (slot_of(forwards[3]), errno.EEXIST)
    assert str(refused) == "nftables: File exists (adding to pm, mapping m3)"


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (Failure(0, errno.EPERM, None), r"Operation not permitted \(needs CAP_NET_ADMIN; user id \d+\)"),
        (Failure(1, errno.ENOENT, None), r"No such file or directory \(in live\)"),
        (Failure(1, errno.ENOENT, 9999), r"No such file or directory \(in live\)"),
        (Failure(1, errno.ENFILE, 20), r"a map is full \(in live\)"),
        (Failure(99, errno.ENOMEM, 4), "Cannot allocate memory$"),
        (Failure(0xFFFFFFFF, errno.ENOBUFS, None), "No buffer space available$"),
    ],
)
def test_a_refusal_without_an_element_is_still_an_error(failure: Failure, message: str) -> None:
    edits = delta_of(RulesetState(NETWORK, size=100), [Open(forward())], 0.0).edits.whole()
    with pytest.raises(Exception, match=f"^nftables: {message}"):
        raise refusal_of(edits, batch_of(edits), failure)


@pytest.fixture
def bare(namespaces: None) -> Iterator[Host]:
    host = Host("bare")
    yield host
    host.close()


def sent_by_libnftables(host: Host, name: str, mode: FirewallMode) -> list[bytes]:
    """The batches of a case as libnftables sends them here, normalised. The kernel takes them."""

    def work() -> list[bytes]:
        wanted = settings(mode, size=1000)
        session = Session()
        session.run(REMOVE + structure(wanted) + contents(wanted))
        writer = LibnftablesWriter(session)
        with sent_batches() as seen:
            for edits in edits_of(CASES[name], mode is FirewallMode.ROUTER):
                writer.write(edits)
        return [normalised(batch) for batch in seen]

    return host.call(work)


@pytest.mark.lab
@pytest.mark.parametrize(("name", "mode"), ALL, ids=names)
def test_libnftables_of_this_machine_sends_the_same_batches(bare: Host, name: str, mode: FirewallMode) -> None:
    made = edits_of(CASES[name], mode is FirewallMode.ROUTER)
    assert sent_by_libnftables(bare, name, mode) == [b"".join(batch_of(edits)) for edits in made]


@pytest.mark.lab
def test_messages_of_libnftables_are_recorded(bare: Host) -> None:
    def work() -> list[bytes]:
        session = Session()
        with sent_batches() as seen:
            session.run("add table inet other")
            session.run("add set inet other s { type inet_service; }")
        session.run("delete table inet other")
        return seen

    first, second = bare.call(work)
    assert b"other\0" in first
    assert b"other\0" in second
    assert b"s\0" in second


def test_text_and_messages_are_of_the_same_elements() -> None:
    """A case whose texts were empty would compare nothing."""
    for cases in CASES.values():
        for edits in edits_of(cases, router=True):
            assert len(commands_of(edits).splitlines()) == len(batch_of(edits)) - 2 > 0
