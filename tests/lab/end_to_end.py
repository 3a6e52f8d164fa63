"""A home with the real daemon in it: what the tests of the whole way share.

``Home`` is a lab and a running ``upnp-gw run``; it looks at the daemon through its control socket and at the kernel
through nft, and says whether the two agree.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.fixtures.waiting import EVENT_S
from tests.lab import home_hosts
from tests.lab.home_hosts import HomeHosts
from tests.lab.igd_control_point import ControlPoint
from upnp_gw.firewall.nftables.screens import plain
from upnp_gw.lab import Host, Lab, Topology
from upnp_gw.lab.control_socket import EventStream, ask
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.lab.probe import OpenConnection, reach
from upnp_gw.lab.topology import INTERNET, WAN_NETWORK
from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.igd_services import IgdVersion

TCP, UDP = Transport.TCP, Transport.UDP
ROUTER = ("--firewall", "router")
REACHED_S = home_hosts.REACHED_S
SHUT_S = 0.3
"""The time without an answer after which a port counts as shut, seconds."""
MAPS = ("pm", "pm_ip", "pm_rh", "pm_ip_rh", "pm_net")
"""Those of address lists have names that begin with the first two (``screens.plain``)."""
PINHOLES = "WANIPv6FirewallControl"

ROOMY = """
version = 1
default = "deny"
[limits]
total_mappings = 1024
per_device = 400
requests_per_minute = 6000
incident_after = 1000
{limits}
[[grant]]
name = "everyone"
who = "*"
max_mappings = 400
owner = "the test"
reason = "a test asks for more than a home does"
review_by = 2099-01-01
"""


class Watch:
    """The stream of /v1/events; every event from the moment it was opened."""

    def __init__(self, runtime_dir: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._arrived = threading.Condition()
        self._stream = EventStream(runtime_dir)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.end()
        self._thread.join()
        self._stream.close()

    def wait(self, event: str, timeout: float = EVENT_S, **fields: object) -> dict[str, Any]:
        """The first event of this kind with these values (of the mapping, where it has one), come or to come."""
        found: list[dict[str, Any]] = []

        def came() -> bool:
            for known in self.events:
                values = {**known, **(known.get("mapping") or {})}
                if known["event"] == event and all(values.get(name) == value for name, value in fields.items()):
                    found.append(known)
                    return True
            return False

        with self._arrived:
            assert self._arrived.wait_for(came, timeout), f"no {event} {fields} among {self.events[-8:]}"
        return found[0]

    def _read(self) -> None:
        for line in self._stream:
            with self._arrived:
                self.events.append(json.loads(line))
                self._arrived.notify_all()


def ended(call: OpenConnection) -> bool:
    """A live flow carries nothing any more; one late answer on a loaded machine is no end."""
    return not call.ask() and not call.ask()


def pinhole(point: ControlPoint, port: int = 8080, **changed: object) -> int:
    """AddPinhole for the host's own address; its UniqueID."""
    values = {
        "RemoteHost": "",
        "RemotePort": 0,
        "InternalClient": point.host.address6,
        "InternalPort": port,
        "Protocol": 6,
        "LeaseTime": 600,
    }
    return int(point.call("AddPinhole", PINHOLES, **(values | changed))["UniqueID"])


@dataclass
class Home(HomeHosts):
    """A lab and the daemon on its gateway."""

    lab: Lab
    daemon: LabDaemon
    points: dict[tuple[str, IgdVersion], ControlPoint] = field(default_factory=dict)

    @property
    def gateway(self) -> Host:
        return self.lab.gateway

    def point(self, host: str = "console", igd_version: IgdVersion = IgdVersion.IGD1) -> ControlPoint:
        """The control point of a host; its description is read once a run of the daemon."""
        if (host, igd_version) not in self.points:
            gateway = next(
                lan.network[1] for lan in self.lab.topology.lans if self.lab.hosts[host].address in lan.network
            )
            self.points[host, igd_version] = ControlPoint(self.lab.hosts[host], gateway, igd_version)
        return self.points[host, igd_version]

    def shut(self, port: int, transport: Transport = TCP, peer: str = "peer1") -> bool:
        """A packet from the internet to an external port goes nowhere."""
        return not reach(self.lab.hosts[peer], transport, self.external, port, timeout=SHUT_S)

    def renumber_wan(self, address: IPv4Address) -> None:
        """The provider gives the WAN interface another address: the new one comes, then the old one goes."""
        wan = self.lab.topology.wan
        (old,) = self.wan_addresses()
        self.gateway.sysctl(f"net/ipv4/conf/{wan}/promote_secondaries", "1")
        self.gateway.ip(
            f"addr add {address}/24 dev {wan}",
            f"addr del {old}/24 dev {wan}",
            f"route replace default via {WAN_NETWORK[INTERNET]}",
        )

    def wan_addresses(self) -> list[str]:
        listing = self.gateway.run(["ip", "-j", "-4", "addr", "show", "dev", self.lab.topology.wan]).stdout
        return [entry["local"] for entry in json.loads(listing)[0]["addr_info"]]

    # -- what the daemon says

    def ask(self, method: str, path: str, body: object = None) -> Any:
        return ask(self.daemon.runtime_dir, method, path, body)

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.ask("GET", "/v1/mappings")
        return rows

    def row(self, port: int, transport: Transport = TCP) -> dict[str, Any]:
        (found,) = [r for r in self.rows() if (r["transport"], r["external_port"]) == (transport.value, port)]
        return found

    def watch(self) -> Watch:
        return Watch(self.daemon.runtime_dir)

    def clear(self) -> None:
        """The operator ends every mapping; their flows are cut at once."""
        for row in self.rows():
            self.ask("DELETE", f"/v1/mappings/{row['id']}")

    # -- what the kernel says

    def installed(self) -> dict[str, tuple[object, ...]]:
        """Mapping id -> (transport, external port, internal address, internal port), by the kernel's elements."""
        listing = json.loads(self.gateway.run(["nft", "-j", "list", "table", "inet", "upnp_gw"]).stdout)["nftables"]
        maps = [o["map"] for o in listing if "map" in o and plain(o["map"]["name"]) in MAPS]
        found: dict[str, tuple[object, ...]] = {}
        for hole in (o["set"] for o in listing if "set" in o and o["set"]["name"].startswith("hole")):
            for element in (entry["elem"] for entry in hole.get("elem", [])):
                transport, address, port, *_ = element["val"]["concat"]
                found[element["comment"].partition("-")[0]] = (transport, port, address, port)
        for one in maps:
            for key, value in one.get("elem", []):
                element = key["elem"]
                parts = [
                    part for part in element["val"]["concat"] if part in ("tcp", "udp") or isinstance(part, int)
                ]
                address, port = value["concat"]
                found[element["comment"].partition("-")[0]] = (*parts, address, port)
        return found

    def kernel_left_s(self, mapping_id: str) -> int:
        """Seconds until the kernel's element of a mapping without a remote host expires. 0: there is none."""
        listing = self.gateway.run(["nft", "-j", "list", "map", "inet", "upnp_gw", "pm"]).stdout
        (pm,) = (entry["map"] for entry in json.loads(listing)["nftables"] if "map" in entry)
        elements = [key["elem"] for key, _ in pm.get("elem", [])]
        return next((element["expires"] for element in elements if element["comment"] == mapping_id), 0)

    def agree(self) -> None:
        """The active rows of the ledger are the kernel's elements, one by one."""
        while True:
            before, installed = self.active_rows(), self.installed()
            after = self.active_rows()
            if before == after:
                break  # else a lease ended between the two listings
        assert installed == after

    def unproved(self) -> str:
        """Sentences about packets that the kernel lets in beside the mappings; empty: none."""
        proof = self.ask("GET", "/v1/policy/kernel")
        sentences = [finding["sentence"] for finding in proof["findings"]]
        assert bool(sentences) == (proof["verdict"] != "proved")
        return "; ".join(sentences)

    def agrees(self) -> bool:
        """``agree`` as a condition to wait for, while the gateway still acts by itself."""
        return bool(self.installed() == self.active_rows())

    def active_rows(self) -> dict[str, tuple[object, ...]]:
        """The active rows of the ledger, in the form of ``installed``."""
        return {
            r["id"]: (r["transport"], r["external_port"], r["internal_client"], r["internal_port"])
            for r in self.rows()
            if r["state"] == "active"
        }


@contextmanager
def served_home(
    directory: Path,
    *options: str,
    topology: Topology | None = None,
    limits: str = "",
    policy: str | None = ROOMY,
    before: Callable[[Lab], None] = lambda lab: None,
    config: str = "",
) -> Iterator[Home]:
    """A home that is served. ``limits``: lines of the roomy policy; policy None: the built-in one.

    ``before``: called with the lab before the daemon starts. ``config``: a configuration that names the LANs.
    """
    lans = tuple(word for lan in (topology or Topology()).lans for word in ("--lan", lan.interface))
    given: tuple[str, ...] = ()
    if config:
        file = directory / "config.toml"
        file.write_text(config)
        lans = ("--config", str(file))
    if policy is not None:
        path = directory / "policy.toml"
        path.write_text(policy.replace("{limits}", limits))
        given = ("--policy", str(path))
    with Lab(topology) as lab:
        before(lab)
        with LabDaemon(lab.gateway, directory, *lans, "--wan", lab.topology.wan, *given, *options) as daemon:
            yield Home(lab, daemon)
