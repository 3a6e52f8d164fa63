"""The targets: bytes in, nothing out. What a parser may raise is caught here; everything else is a finding."""

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from ipaddress import IPv4Address, ip_address
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from multidict import CIMultiDict

from tests import ROOT
from tests.fuzz import through
from upnp_gw import api
from upnp_gw.api.reading import read_body, read_query
from upnp_gw.cli.import_leases import body_of
from upnp_gw.config.file import parse_text
from upnp_gw.engine.judged_tables import all_drops
from upnp_gw.firewall.conntrack import matching_entries, parse_tuple
from upnp_gw.firewall.conntrack_dumps import flows_by_key
from upnp_gw.firewall.flows import Flows
from upnp_gw.firewall.netlink import attributes_of
from upnp_gw.firewall.nftables import counters
from upnp_gw.firewall.nftables import monitor as watch
from upnp_gw.firewall.other_tables import drops
from upnp_gw.firewall.other_tables import listing as inspect
from upnp_gw.firewall.other_tables.static_forwards import static_ports
from upnp_gw.firewall.other_tables.without_nat import missing_for
from upnp_gw.firewall.rules import iptables as translated
from upnp_gw.gate.address_lists import ListFile, ListFormat, parse_list
from upnp_gw.gate.load import load_text
from upnp_gw.gate.policyfile import printable
from upnp_gw.migration.config_text import configuration
from upnp_gw.migration.conversion import convert
from upnp_gw.migration.lease_file import read_lease_file
from upnp_gw.migration.reading import read_original
from upnp_gw.migration.settings import Chosen
from upnp_gw.model import dhcp
from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.model.errors import ConfigError, WireError
from upnp_gw.model.mapping import Transport
from upnp_gw.model.request import Refusal, Refused, Removed, Source
from upnp_gw.protocols.gena import messages as gena
from upnp_gw.protocols.igd import arguments, soap
from upnp_gw.protocols.igd.raw_description import repaired_bodies, unreadable_argument
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp import codec as pcp
from upnp_gw.protocols.pending import PendingReply
from upnp_gw.protocols.port5351 import Port5351
from upnp_gw.protocols.ssdp.search import parse_search
from upnp_gw.servers.http.host_header import split_host
from upnp_gw.store.high_water import SIZE, mark_path, read_mark
from upnp_gw.system import neighbour_messages, netlink, rtnetlink, sock_diag
from upnp_gw.system.files import FileProblem
from upnp_gw.text.escape import shown

CORPUS = ROOT / "tests" / "corpus"
TODAY = date(2026, 1, 1)
SOURCE = ip_address("192.168.1.10")
EXTERNAL = IPv4Address("11.22.33.44")


def ssdp(data: bytes) -> None:
    for multicast in (True, False):
        with suppress(WireError):
            found = parse_search(data, multicast=multicast)
            assert found.st.isascii()
            assert 0 <= found.wait_s <= 5


def lines_of(data: bytes) -> CIMultiDict[str]:
    """Header lines as the HTTP server hands them over."""
    pairs = (line.partition(":") for line in data.decode("utf-8", "surrogateescape").split("\n"))
    return CIMultiDict((name.strip(), value.strip()) for name, _, value in pairs)


def http(data: bytes) -> None:
    """The values of headers. ``http-request`` has the whole message."""
    for value in lines_of(data).values():
        split_host(value)
        shown(value, 64)


def gena_request(data: bytes) -> None:
    for method in ("SUBSCRIBE", "UNSUBSCRIBE"):
        request = gena.parse_request(method, lines_of(data), SOURCE)
        for callback in request.callbacks if isinstance(request, gena.Subscribe) else ():
            gena.build_notify(callback, "uuid:1", 0, {})
    gena.parse_status(data)


def soap_call(data: bytes) -> None:
    """Header lines, an empty line, the body."""
    head, _, body = data.replace(b"\r\n", b"\n").partition(b"\n\n")
    given = lines_of(head)
    given.setdefault("Content-Type", "text/xml")
    with suppress(soap.SoapError):
        call = soap.parse_call(given, body)
        soap.build_response(call.urn, call.action, call.arguments)
        for _, value in call.arguments:
            soap_argument(value)


def soap_argument(value: str) -> None:
    shown(value, 64)
    for igd_version in IgdVersion:
        for read in (arguments.transport, arguments.remote_host, arguments.internal_client):
            with suppress(arguments.InvalidArgument):
                read(igd_version, value)
    with suppress(arguments.InvalidArgument):
        arguments.description(value)


def natpmp_message(data: bytes) -> None:
    with suppress(WireError):
        natpmp.parse_request(data)
    with suppress(WireError):
        natpmp.parse_response(data)
    port_5351(data)


def pcp_message(data: bytes) -> None:
    with suppress(WireError):
        request = pcp.parse_request(data, SOURCE)
        pcp.build_request(request)
    with suppress(WireError):
        pcp.parse_response(data)
    port_5351(data)


def port_5351(data: bytes) -> None:
    """Both protocols as the socket meets them. No answer draws more than a NAT-PMP or a PCP header (SR-11)."""
    with suppress(WireError):
        found = Port5351().receive(data, Source(SOURCE, "lan0"), lambda address: EXTERNAL, 7)
        answers = [found] if isinstance(found, bytes) else replies(found)
        assert all(len(answer) <= max(24, len(data) + 3) for answer in answers)


def replies(question: PendingReply) -> list[bytes]:
    refused = [question.answer(Refused(refusal, "no", None), 7) for refusal in Refusal]
    return [*refused, question.answer(Removed(()), 7)]


def policy(data: bytes) -> None:
    with suppress(ConfigError):
        load_text(data.decode("utf-8", "replace"), "policy.toml", TODAY)
    printable(data.decode("utf-8", "replace"))


def address_list(data: bytes) -> None:
    """A list in either format. What it has is the same after it is written again, prefix by prefix."""
    for kind in ListFormat:
        with suppress(ConfigError):
            found = parse_list(ListFile("list.txt", data, 0.0), kind)
            for version in (4, 6):
                again = AddressRanges.of(islice(found.ranges.networks(version), 1000))
                assert all(found.ranges.includes(net) for net in islice(again.networks(version), 10))


def config(data: bytes) -> None:
    with suppress(ConfigError):
        parse_text(data.decode("utf-8", "replace"), "config.toml")


def miniupnpd(data: bytes) -> None:
    """A configuration of miniupnpd. Whatever it says, what is written is accepted, and only what is named is not
    equal."""
    try:
        original = read_original(data, "miniupnpd.conf")
    except ConfigError:
        return
    place = Path("/etc/upnp-gw/policy.toml")
    try:
        found = convert(original, Chosen(), place, TODAY)
    except ConfigError as error:
        if "too many steps" not in error.problem:
            raise AssertionError(str(error)) from None
        return
    named = any(line.pattern is not None for line in original.permissions)
    assert not found.differences or named or not found.carried.secure or found.carried.third_party
    wan, lans = (found.carried.values.get(key) for key in (("wan", "interface"), ("lan", "interfaces")))
    if not isinstance(lans, list) or wan not in lans:
        parse_text(configuration(None, "config.toml", found.carried, place), "config.toml")


def lease_file(data: bytes) -> None:
    """A lease file of miniupnpd. The API takes each lease that it has; each line is in one of the lists."""
    found = read_lease_file(data, now=1.8e9, written=1.8e9)
    lines = [line for line in data.split(b"\n") if line.strip(b" \t\r")]
    assert len(lines) == len(found.leases) + len(found.expired) + len(found.broken) + found.repeated
    for lease in found.leases:
        read_body(json.dumps({"leases": [body_of(lease, 1.8e9)]}).encode(), api.TakeOver)
        assert shown(lease.description, 300).isprintable()


def leases(data: bytes) -> None:
    parsed = dhcp.parse_leases(data)
    found = dhcp.Leases(parsed.leases)
    for lease in parsed.leases:
        found.name_of(lease.mac or "", 0.0)


def netlink_route(data: bytes) -> None:
    for message in rtnetlink.parse(data):
        assert isinstance(message, rtnetlink.Message)
    sock_diag.parse_answer(data, Transport.TCP)


WANTED = flows_by_key([Flows(Transport.TCP, 80, IPv4Address("11.22.33.1"), None, None)])


def netlink_filter(data: bytes) -> None:
    messages = list(netlink.parse_messages(data))
    list(matching_entries(messages, WANTED))
    for message in messages:
        watch.foreign_change(message, {7})
        list(counters.parse_elements(attributes_of(message)))
    parse_tuple(data)
    list(counters.parse_elements(netlink.parse_attributes(data)))


def ruleset(data: bytes) -> None:
    """The listing of other tables: its objects are nft's, what their rules say may be anything."""
    try:
        listing: Any = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not outlined(listing):
        return
    static_ports(listing, {EXTERNAL}, "wan0")
    all_drops(listing, "wan0", through.NETWORK.lans, ((Transport.UDP, 1900), (Transport.TCP, 5000)))
    drops.ipv6_firewall(listing, "wan0", ("lan0",))
    missing_for(listing, "wan0", through.NETWORK.lans, frozenset({"lan0"}), router=False)
    drops.pinhole_drops(listing, "wan0", ("lan0",), ("lan0",))
    inspect.forward_filters(listing)


def iptables(data: bytes) -> None:
    """A listing, an empty line, and the text that nft prints of the same table."""
    listed, _, text = data.partition(b"\n\n")
    try:
        listing: Any = json.loads(listed)
    except (ValueError, RecursionError):
        return
    if outlined(listing):
        objects = listing["nftables"]
        if translated.has_translations(objects):
            translated.translate(objects, text.decode("utf-8", "replace"))
        ruleset(json.dumps(listing).encode())


def outlined(listing: Any) -> bool:
    """True for a list of objects that have a family, a table and the names that nft always gives them."""
    items = listing.get("nftables") if isinstance(listing, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return False
    objects = [(sort, it) for item in items for sort, it in item.items()]
    return all(
        isinstance(it, dict)
        and all(
            isinstance(it.get(name, ""), str) for name in ("family", "table", "name", "chain", "hook", "policy")
        )
        and all(isinstance(it.get(name, []), list) for name in ("expr", "elem"))
        and {"family", "table", "chain" if sort == "rule" else "name"} <= it.keys()
        for sort, it in objects
        if sort in ("chain", "rule", "set", "map")
    ) and all(isinstance(it, dict) for _, it in objects)


def neighbours(data: bytes) -> None:
    """Frames that any LAN host can send as an answer to "who has this address?"."""
    for claim in (neighbour_messages.arp_claim(data), neighbour_messages.advertised(data)):
        if claim is not None:
            address, mac = claim
            assert len(bytes.fromhex(mac.replace(":", ""))) == 6
            opened = [neighbour_messages.OpenQuery(address, 2, (mac,))]
            made = neighbour_messages.arp_filter if address.version == 4 else neighbour_messages.nd_filter
            assert all(0 <= jump < 256 for _, true, false, _ in made(opened) for jump in (true, false))


NAMES = ("NewRemoteHost", "NewExternalPort", "NewInternalClient", "NewPortMappingDescription")


def description(data: bytes) -> None:
    """A content type, an empty line, a body that the strict parser may have refused.

    A repair changes what is between the description's tags and nothing else, and puts no tag there.
    """
    kind, _, body = data.replace(b"\r\n", b"\n").partition(b"\n\n")
    tags = body.count(b"<")
    for repaired in repaired_bodies(body, kind.decode("latin-1")):
        start = alike(body, repaired)
        end = alike(body[start:][::-1], repaired[start:][::-1])
        assert b"<" not in repaired[start : len(repaired) - end]
        assert repaired.count(b"<") <= tags
        repaired.decode()
    found = unreadable_argument(body, NAMES)
    assert found is None or found in NAMES


def alike(one: bytes, other: bytes) -> int:
    """The number of bytes that they have in common from the start."""
    shorter = min(len(one), len(other))
    return next((at for at in range(shorter) if one[at] != other[at]), shorter)


def highwater(data: bytes) -> None:
    """The file beside the store. Whoever damaged it, its numbers fit into the store."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        store = Path(directory) / "ledger.db"
        mark_path(store).write_bytes(data)
        with suppress(FileProblem):
            mark = read_mark(store)
            assert mark is not None
            assert len(data) <= SIZE
            assert 0 <= mark.moved <= mark.transaction < 1 << 62
            assert mark.when.endswith("Z")


BODIES = sorted({str(route.body): route.body for route in api.ROUTES.values() if route.body}.items())
QUERIES = [route.query for route in api.ROUTES.values() if route.query]


def control(data: bytes) -> None:
    """The body of every operation of the control socket, and its query."""
    for _, body in BODIES:
        with suppress(msgspec.MsgspecError, api.FieldError):
            read_body(data, body)
    for query in QUERIES:
        with suppress(api.FieldError):
            read_query(dict(lines_of(data)), query)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "ssdp": ssdp,
    "http": http,
    "http-request": through.http_request,
    "gena": gena_request,
    "soap": soap_call,
    "natpmp": natpmp_message,
    "pcp": pcp_message,
    "policy": policy,
    "config": config,
    "leases": leases,
    "lease-file": lease_file,
    "miniupnpd": miniupnpd,
    "address-list": address_list,
    "description": description,
    "neighbours": neighbours,
    "netlink-route": netlink_route,
    "netlink-filter": netlink_filter,
    "ruleset": ruleset,
    "iptables": iptables,
    "control": control,
    "rows": through.rows,
    "highwater": highwater,
}


def seeds(name: str) -> list[bytes]:
    """The corpus of a target, in the order of the files' names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
