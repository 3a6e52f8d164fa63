"""A proof's witness on the kernel: a real client sends it from a host with its facts, and a packet from outside
arrives. With the invariant in the file the reload is refused, and nothing changes.

The lab is built after each witness, which is read from the program's own JSON.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.lab.end_to_end import REACHED_S, SHUT_S, Home, served_home
from upnp_gw.lab import GUEST, HOME, Host, Lab, Topology
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.lab.topology import LanHost
from upnp_gw.model.mapping import Transport

pytestmark = pytest.mark.lab

Request = dict[str, Any]
"""``request`` of the JSON of ``policy check`` and ``policy prove``."""
COMMAND = (sys.executable, "-m", "upnp_gw")
OTHER_PORT = 2
"""Added to the port of a second request."""

POLICY = """version = 1

[device.ps5]
mac = ["ac:89:95:00:00:01"]
[device.nas]
mac = ["00:11:32:00:00:02"]
[group]
consoles = ["ps5"]
[zone]
guest = ["192.168.20.0/24", "2001:db8:20::/64"]

[[grant]]
name = "home"
who = "*"
int_ports = ["1024-8442", "8446-65535"]

[[grant]]
name = "web"
who = "nas"
int_ports = ["8443-8445"]
remote = ["11.50.2.0/24", "2a11:50:2::/64"]
hours = "20:00-08:00"
"""


@dataclass(frozen=True, slots=True)
class Broken:
    """An invariant that the policy violates."""

    never: str
    """Keys of the ``[[never]]`` beside its name."""
    via: str
    """The protocol of the witness."""
    facts: Request
    """Values that the witness has."""
    end: str = ""
    """A rule that makes the invariant hold."""
    question: str = ""
    """Asked by ``policy prove`` in place of the file's invariant."""


CASES = {
    "a port": Broken(
        "request = { int = [3389, 5900] }",
        "igd1",
        {"internal_port": 3389, "kind": "port-mapping", "first_lan": True},
        '[[forbid]]\nname = "admin"\nint_ports = [3389, 5900]\n',
    ),
    "a port in a question": Broken(
        "request = { int = 3389 }", "igd1", {"internal_port": 3389}, question="can anyone open tcp 3389"
    ),
    "a zone": Broken(
        'from = { zone = "guest", via = "natpmp" }',
        "natpmp",
        {"exact": False},
        '[[forbid]]\nname = "guests"\nzone = "guest"\n',
    ),
    "a zone over IPv6": Broken(
        'from = { zone = "guest" }\nrequest = { family = "ip6", proto = "udp" }',
        "igd2",
        {"kind": "pinhole", "transport": "udp"},
        '[[forbid]]\nname = "guests"\nzone = "guest"\n',
    ),
    "anyone but the consoles": Broken(
        'from = { not = "@consoles", via = "pcp" }\nrequest = { family = "ip6" }',
        "pcp",
        {"kind": "pinhole", "device_name": None},
    ),
    "a LAN": Broken('from = { lan = "lan7", via = "igd2" }', "igd2", {"lan": "lan7"}),
    "a copied MAC address": Broken(
        'from = { mac = "ac:89:95:00:00:01", not = "@consoles" }',
        "igd1",
        {"mac": "ac:89:95:00:00:01", "first_lan": False, "device_name": None},
    ),
    "a remote host and the hours": Broken(
        'from = { device = "nas" }\n'
        'request = { int = 8443, at = "22:00-06:00", remote = ["11.50.2.0/24", "2a11:50:2::/64"] }',
        "igd1",
        {"device_name": "nas", "time": "22:00", "remote_host": "11.50.2.77"},
        '[[forbid]]\nname = "night"\nhours = "22:00-06:00"\nint_ports = [8443]\n',
    ),
    "a remote host over IPv6": Broken(
        'request = { int = 8443, family = "ip6" }\nunless = { remote = ["11.50.2.0/24"] }',
        "igd2",
        {"device_name": "nas", "remote_host": "2a11:50:2::4d", "kind": "pinhole"},
    ),
}


def never(broken: Broken) -> str:
    return f'\n[[never]]\nname = "it must not be"\n{broken.never}\n'


def violated(path: Path, broken: Broken) -> Request:
    """The witness as the program prints it."""
    if broken.question:
        path.write_text(POLICY)
        answer = json.loads(_program("policy", "prove", str(path), broken.question, "--json"))
        assert answer["answer"] == "yes"
    else:
        path.write_text(POLICY + never(broken))
        (answer,) = json.loads(_program("policy", "check", str(path), "--json"))["invariants"]
        assert answer["standing"] == "violated"
    found: Request = answer["request"]
    assert {**found, **broken.facts, "via": broken.via} == found
    return found


def network_of(request: Request) -> Topology:
    """The lab in which a host has the facts of the witness: its LAN, its address, its MAC address."""
    address, network, network6 = ip_address(request["address"]), HOME.network, HOME.network6
    if address.version == 4:
        network = IPv4Network(f"{address}/24", strict=False)
        number = int(address) - int(network.network_address)
    else:
        network6 = IPv6Network(f"{address}/64", strict=False)
        number = int(address) - int(network6.network_address)
    client = LanHost("client", number, request["mac"])
    lan = replace(HOME, interface=request["lan"], network=network, network6=network6, hosts=(client,))
    return Topology(lans=(lan,) if request["first_lan"] else (GUEST, lan))


def at_the_time_of(request: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon's local time of day becomes that of the witness, by a time zone."""
    now = datetime.now(UTC)
    hour, minute = map(int, request["time"].split(":"))
    west = (now - now.replace(hour=hour, minute=minute, second=0)) % timedelta(days=1)
    hours, rest = divmod(int(west.total_seconds()), 3600)
    monkeypatch.setenv("TZ", f"LAB{hours:02}:{rest // 60:02}:{rest % 60:02}")


def send(home: Home, client: Host, request: Request, more: int = 0) -> str:
    """The request of the witness by a client of its protocol. ``more``: added to its ports."""
    inner, outer = request["internal_port"] + more, (request["external_port"] or 0) + more
    transport, gateway = request["transport"], home.lab.topology.lans[-1].network[1]
    if request["via"] == "natpmp":
        argv = ["natpmpc", "-g", gateway, "-a", outer, inner, transport, 600]
    elif request["via"] == "pcp":
        assert request["kind"] == "pinhole"
        gateway6 = home.lab.topology.lans[-1].network6[1]
        argv = [*COMMAND, "request", transport, inner, "--ipv6", "--via", "pcp", "--gateway", gateway6]
        argv += ["--address", client.address6]
    else:
        argv = ["upnpc", "-m", client.address, "-u", f"http://{gateway}:5000/{request['via']}.xml"]
        remote = request["remote_host"] or ""
        if request["kind"] == "pinhole":
            argv += ["-A", remote, 0, client.address6, inner, transport, 600]
        else:
            argv += ["-a", client.address, inner, outer, transport, 600, *([remote] if remote else [])]
    return client.run(list(map(str, argv)), check=False).stdout


def arrives(home: Home, client: Host, request: Request, port: int, timeout: float = REACHED_S) -> bool:
    """A packet from outside, of the remote host if the witness names one, to the port that it got."""
    transport = Transport(request["transport"])
    target = client.address6 if request["kind"] == "pinhole" else home.external
    peer = home.lab.hosts["peer2" if request["remote_host"] else "peer1"]
    with EchoServer(client, transport, request["internal_port"]):
        return reach(peer, transport, target, port, timeout=timeout).answered_by == client.name


def port_of(home: Home, request: Request, more: int = 0) -> int:
    """The external port of the mapping that the request got."""
    asked = (request["transport"], request["internal_port"] + more, request["kind"])
    (row,) = [row for row in home.rows() if (row["transport"], row["internal_port"], row["kind"]) == asked]
    assert ip_address(row["internal_client"]) == ip_address(request["internal_client"])
    if request["exact"]:
        assert row["external_port"] == request["external_port"] + more
    assert request["via"] in row["vias"]
    port: int = row["external_port"]
    return port


@contextmanager
def served(directory: Path, request: Request) -> Iterator[tuple[Home, Host]]:
    """The policy without its invariant, in force at a host with the facts of the witness."""

    def remote(lab: Lab) -> None:
        if request["remote_host"]:
            lab.hosts["peer2"].ip("addr flush dev eth0 scope global")
            address = ip_address(request["remote_host"])
            network = ip_network(f"{address}/{24 if address.version == 4 else 64}", strict=False)
            lab.hosts["peer2"].ip(
                f"addr add {address}/{network.prefixlen} dev eth0" + (" nodad" if address.version == 6 else ""),
                f"route replace default via {network[1]}",
            )

    with served_home(
        directory, "--firewall", "router", topology=network_of(request), policy=POLICY, before=remote
    ) as home:
        yield home, home.lab.hosts["client"]


@pytest.mark.parametrize("name", CASES)
def test_a_witness_gets_through_and_its_invariant_stops_the_reload(
    name: str, namespaces: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = CASES[name]
    request = violated(tmp_path / "checked.toml", broken)
    at_the_time_of(request, monkeypatch)
    with served(tmp_path, request) as (home, client):
        policy = tmp_path / "policy.toml"
        before = home.ask("GET", "/v1/policy")["hash"]
        said = send(home, client, request)
        assert home.rows(), said
        port = port_of(home, request)
        assert arrives(home, client, request, port)

        policy.write_text(POLICY + never(broken))
        refused = home.daemon.cli("reload", check=False, columns=400)
        assert refused.returncode == 1
        assert 'crosses never "it must not be"' in refused.stderr
        assert f"{policy}:" in refused.stderr
        in_force = home.ask("GET", "/v1/policy")
        assert (in_force["hash"], in_force["text"]) == (before, POLICY)
        assert arrives(home, client, request, port), "the mapping stays"
        said = send(home, client, request)
        assert port_of(home, request) == port, said
        send(home, client, request, OTHER_PORT)
        port_of(home, request, OTHER_PORT)

        if broken.end:
            policy.write_text(POLICY + broken.end + never(broken))
            assert home.daemon.cli("reload").returncode == 0
            assert not arrives(home, client, request, port, SHUT_S)
            send(home, client, request)
            assert request["internal_port"] not in {row["internal_port"] for row in home.rows()}


def _program(*words: str) -> str:
    """The output of a command that needs no daemon."""
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False).stdout
