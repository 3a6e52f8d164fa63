"""From forwards to one transaction, as text; nothing but typed values and our own ids in it."""

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.firewall.driver import NETWORK, forward, settings
from upnp_gw.errors import FirewallError
from upnp_gw.firewall.base import Close, Cut, FirewallMode, Forward, Open, Refill, Rewire
from upnp_gw.firewall.conntrack import Flows
from upnp_gw.firewall.nftables.books import Books
from upnp_gw.firewall.nftables.elements import slot_of
from upnp_gw.firewall.nftables.library import Session
from upnp_gw.firewall.nftables.ruleset import FILLED, OPENING, contents, structure, version
from upnp_gw.model import DecisionId, Endpoint, Transport


def books() -> Books:
    return Books(NETWORK, size=100)


def test_the_transaction_of_an_open() -> None:
    draft = books().draft([Open(forward("m1", 80, internal_port=8080, timeout_s=59.2))], 0)
    live = "6 . 192.168.77.10 . 8080"
    assert draft.commands.splitlines() == [
        f"add element inet upnp_gw live {{ {live} timeout 150s }}",
        f"delete element inet upnp_gw live {{ {live} }}",
        'add element inet upnp_gw pm { 6 . 80 timeout 60s comment "m1" : 192.168.77.10 . 8080 }',
        f"add element inet upnp_gw live {{ {live} timeout 150s }}",
        f"add element inet upnp_gw out {{ {live} timeout 60s : 11.22.33.44 . 80 }}",
    ]


def test_a_refused_batch_leaves_the_books_as_they_were() -> None:
    kept = books()
    kept.draft([Open(forward("m1"))], 0)
    assert not kept.forwards
    assert not kept.users


def test_live_lasts_as_long_as_the_longest_of_its_mappings() -> None:
    kept = books()
    one, two = forward("m1", 80, timeout_s=1000), forward("m2", 81, internal_port=80, keep=False)
    kept.draft([Open(one), Open(two)], 0).commit()
    draft = kept.draft([Open(replace(two, timeout_s=10))], 100)
    assert "6 . 192.168.77.10 . 80 timeout 990s" in draft.commands


def test_the_source_port_is_the_keepers_and_moves_on_when_it_goes() -> None:
    kept = books()
    one, two = forward("m1", 80), forward("m2", 81, internal_port=80, keep=False)
    kept.draft([Open(one), Open(two)], 0).commit()
    draft = kept.draft([Close(one), Open(replace(two, keep_source_port=True))], 0)
    assert "timeout 600s : 11.22.33.44 . 81" in draft.commands
    draft.commit()
    assert kept.draft([Close(two)], 0).commands.count("inet upnp_gw out") == 2, "added once more and deleted"


def test_without_an_external_address_no_source_port_is_kept() -> None:
    kept = Books(replace(NETWORK, external=()), size=100)
    kept.draft([Open(forward("m1"))], 0).commit()
    assert not kept.outs
    draft = kept.draft([Rewire(NETWORK)], 0)
    assert ": 11.22.33.44 . 3074" in draft.commands
    draft.commit()
    assert kept.outs


def test_a_cut_shuts_the_endpoint_and_names_its_flows() -> None:
    kept = books()
    kept.draft([Open(forward("m1"))], 0).commit()
    draft = kept.draft([Close(forward("m1")), Cut(forward("m1"))], 0)
    assert "add element inet upnp_gw cut { 6 . 192.168.77.10 . 3074 timeout 120s }" in draft.commands
    assert draft.commands.rfind("live") < draft.commands.rfind("add element inet upnp_gw cut")
    assert [flows.internal for flows in draft.flows] == [forward("m1").internal]


def test_a_cut_spares_what_another_forward_to_the_endpoint_lets_in() -> None:
    kept = books()
    named = forward("m2", remote="203.0.113.7/32", timeout_s=60)
    kept.draft([Open(forward("m1")), Open(named)], 0).commit()
    kept.draft([Close(forward("m1"))], 0).commit()
    (flows,) = kept.draft([Cut(forward("m1"))], 5).flows
    assert flows.spared == (Flows.through(named),)
    (late,) = kept.draft([Cut(forward("m1"))], 61).flows
    assert late.spared == (), "the kernel has ended it"
    (both,) = kept.draft([Close(named), Cut(forward("m1"))], 5).flows
    assert both.spared == ()


def test_a_refresh_ends_no_flows() -> None:
    kept = books()
    first = kept.draft([Open(forward("m1"))], 0)
    assert [flows.internal for flows in first.flows] == [None]
    first.commit()
    assert kept.draft([Open(forward("m1", timeout_s=5))], 0).flows == []


@pytest.mark.parametrize(
    "wrong",
    [
        replace(forward(), id='m1" : 1.2.3.4 . 22'),
        replace(forward(), id=""),
        replace(forward(), id="M1"),
        replace(forward(), id="m" * 33),
        replace(forward(), external_port=0),
        replace(forward(), external_port=65536),
        replace(forward(), internal=Endpoint(IPv4Address("10.0.0.1"), 0)),
        replace(forward(), remote=ip_network("2001:db8::/64")),
        replace(forward(), external_address=IPv6Address("2001:db8::1")),
        replace(forward(), internal=Endpoint(IPv6Address("fe80::1%lan0"), 80)),
    ],
)
@pytest.mark.spec("SR-12")
def test_what_makes_no_sense_is_refused_before_the_kernel(wrong: Forward) -> None:
    with pytest.raises(FirewallError):
        books().draft([Open(wrong)], 0)


V4 = st.integers(1, 2**32 - 1).map(IPv4Address)
PORTS = st.integers(1, 65535)


@pytest.mark.spec("SR-12", "SR-29")
@given(
    st.text(), V4, PORTS, PORTS, st.none() | V4, st.none() | V4, st.floats(0.001, 1e7), st.sampled_from(Transport)
)
def test_only_typed_values_and_ids_reach_nft(
    forward_id: str,
    to: IPv4Address,
    outer: int,
    inner: int,
    own: IPv4Address | None,
    remote: IPv4Address | None,
    timeout_s: float,
    transport: Transport,
) -> None:
    one = Forward(
        forward_id,
        DecisionId("d1"),
        transport,
        own,
        outer,
        ip_network(remote) if remote else None,
        Endpoint(to, inner),
        timeout_s,
    )
    try:
        commands = books().draft([Open(one), Cut(one)], 0).commands
    except FirewallError:
        assert not re.fullmatch("[a-z0-9-]{1,32}", forward_id)
        return
    word = r"(add|delete|element|inet|upnp_gw|[a-z0-9_]+|[0-9./-]+|[.:{},])"
    for line in commands.splitlines():
        line = re.sub(r'comment "[a-z0-9-]{1,32}"', "comment", line)
        assert re.fullmatch(rf"(add|delete) element inet upnp_gw [a-z0-9_]+ \{{( {word},?)+ \}}", line), line
        if line.startswith("add") and any(f" {name} {{" in line for name in OPENING):
            assert re.search(r"timeout [1-9]\d*s", line)


def test_every_slot_has_its_map() -> None:
    remotes = (None, "0.0.0.0/0", "203.0.113.7/32", "203.0.113.0/24")
    slots = [
        slot_of(forward(remote=remote, external=external))
        for external in (None, IPv4Address("11.22.33.44"))
        for remote in remotes
    ]
    assert [slot.map for slot in slots] == [
        "pm", "pm", "pm_rh", "pm_net", "pm_ip", "pm_ip", "pm_ip_rh", "pm_ip_net",
    ]  # fmt: skip


@pytest.mark.spec("SR-29")
@pytest.mark.parametrize("mode", list(FirewallMode))
def test_every_set_that_opens_has_timeouts_a_counter_and_a_size(mode: FirewallMode) -> None:
    declared = structure(settings(mode, size=77))
    for name in (*FILLED, "cut", "cut6"):
        (line,) = re.findall(rf"^ (?:map|set) {name} .*$", declared, re.MULTILINE)
        assert "timeout" in line
        assert re.search(r"size \d+;", line)
        assert ("counter" in line) is (name in (*OPENING, "live"))


def test_the_version_follows_the_structure_alone() -> None:
    base = settings(FirewallMode.ROUTER)
    assert version(base) == version(replace(base, hairpin="same", network=replace(NETWORK, external=())))
    assert version(base) != version(replace(base, size=5))
    assert version(base) != version(settings(FirewallMode.ALONGSIDE))
    assert contents(base) != contents(replace(base, hairpin="same"))


def test_alongside_has_no_verdict_that_binds_others() -> None:
    """An accept in our base chain overrides nobody, a drop would. (Hairpin "same" drops, but only what we led.)
    What is dropped is for our own servers, and over the share of a LAN host."""
    text = contents(settings(FirewallMode.ALONGSIDE, http_port=5000))
    others, own = text.split(" chain own_servers {")
    assert not re.search(r"\bdrop\b", others)
    entries = own.partition("}")[0].split("\n")[1:-1]
    assert all(
        re.match(r"  iifname @lan (udp dport 5351|udp dport 1900|tcp dport 5000) ", line) for line in entries
    )
    assert len(re.findall(r"\bdrop\b", own)) == 1
    assert "  counter drop\n" in own
    assert "masquerade" in text
    assert "oifname @wan ip saddr != @external masquerade" not in text
    assert "chain input" not in text


class Refusing:
    """A libnftables that refuses everything with this text."""

    def __init__(self, error: str) -> None:
        self.error = error

    def cmd(self, cmdline: str) -> tuple[int, str, str]:
        return 1, "", self.error

    def set_json_output(self, val: bool) -> None: ...


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("internal:0:0-0: Error: Could not process rule: Too many open files in system\n\n", "a map is full"),
        ("<cmdline>:1:1-9: Error: syntax error, unexpected foo\nfoo bar\n^^^\n", "syntax error, unexpected foo$"),
        ("internal:0:0-0: Error: Could not process rule: Operation not permitted\n", "needs CAP_NET_ADMIN"),
        ("", "the kernel refused the change"),
    ],
)
@pytest.mark.spec("SR-5")
def test_the_kernels_complaint_is_one_sentence(error: str, told: str) -> None:
    with pytest.raises(FirewallError, match=told):
        Session(Refusing(error)).run("add table inet x")


def test_refill_forgets_what_stood() -> None:
    kept = books()
    kept.draft([Open(forward("m1")), Open(forward("m2", 80))], 0).commit()
    draft = kept.draft([Refill((forward("m3", 81),))], 0)
    assert draft.commands.splitlines()[: len(FILLED)] == [
        f"flush {'map' if name.startswith(('pm', 'out')) else 'set'} inet upnp_gw {name}" for name in FILLED
    ]
    assert "delete" not in draft.commands
    draft.commit()
    assert set(kept.forwards) == {"m3"}


def test_the_portions_of_a_refill_are_the_same_commands() -> None:
    many = tuple(forward(f"m{n}", 1 + n, keep=False) for n in range(2500))
    draft = Books(NETWORK, size=5000).draft([Refill(many)], 0)
    portions = list(draft.portions())
    assert sorted("\n".join(portions).splitlines()) == sorted(draft.commands.splitlines())
    assert portions[0].startswith("flush map inet upnp_gw pm\n")
    assert len(portions) == 5
    assert max(map(len, portions)) < 100_000


def test_no_portion_leaves_a_forward_without_its_live_endpoint_for_long() -> None:
    """Router mode drops what is not in ``live``: the first portion must not be mappings alone."""
    many = tuple(forward(f"m{n}", 1 + n, f"192.168.{n // 200}.{1 + n % 200}") for n in range(5000))
    portions = list(Books(NETWORK, size=5000).draft([Refill(many)], 0).portions())
    for name in ("pm", "live", "out"):
        assert f"add element inet upnp_gw {name} {{" in portions[0]
    for number in range(0, 5000, 250):
        of_map = next(at for at, text in enumerate(portions) if f"6 . {number + 1} timeout" in text)
        inner = f"6 . {many[number].internal.address} . {number + 1} timeout"
        of_live = next(at for at, text in enumerate(portions) if inner in text)
        assert abs(of_map - of_live) <= 1
