"""The rules that commands write to approved.toml: a device's name, a small grant, a forbid. Pure.

Every grant has an end or a review date.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from upnp_gw.gate.decision import External, PortRanges
from upnp_gw.gate.digest import basis
from upnp_gw.gate.facts import device_of, ids_of, name_of
from upnp_gw.gate.hours import window_text
from upnp_gw.gate.managed_file import ManagedChange, free_name, port_values, toml_time
from upnp_gw.gate.portset import UNPRIVILEGED
from upnp_gw.gate.question import Question
from upnp_gw.gate.schema import Family, Grant, Policy
from upnp_gw.gate.terms import ApprovalTerms, QuestionSubject, RemoteAccess, remote_access
from upnp_gw.gate.values import duration_text
from upnp_gw.model.device import is_mac, lan_of, mac_of
from upnp_gw.model.mapping import DAY_S, IPAddress, Transport
from upnp_gw.model.network import Neighbours, Network

APPROVAL_S = 30 * DAY_S
"""Default duration of an approval: every approval ends (SR-29)."""
REVIEW_DAYS = 182
"""A grant without an end is due for review after half a year."""
ROOM = 8
"""``max_mappings`` of an ``allow`` for a range of ports. For single ports: one for each port and address family."""
OWNER = "operator"


@dataclass(frozen=True, slots=True)
class CommandTarget:
    """The device that a command names."""

    devices: tuple[str, ...]
    """Its identifiers (``upnp_gw.model.device``), one for each of its MAC addresses and LANs."""
    name: str | None
    """Its name in the policy; None: it has none yet."""
    suggested: str
    """A name for a device without one."""


class OperatorRules:
    """Makes the rules of commands and approvals under the policy in force. ``wall``: wall-clock seconds;
    ``main_lan``: the first LAN."""

    def __init__(self, policy: Policy, wall: float, main_lan: str = "") -> None:
        self.policy = policy
        self.wall = wall
        self.main_lan = main_lan

    # -- who

    def target(self, text: str, neighbours: Neighbours, network: Network) -> CommandTarget | str:
        """The device with this name, MAC address (with ``@LAN`` if there are several LANs) or IP address; a
        sentence for the operator if there is none."""
        if (known := self.policy.devices.get(text)) is not None:
            devices = ids_of(known, network.lan_names)
            if not known.macs:
                devices = frozenset(device_of(network, neighbours, a).device for a in known.addresses)
            return CommandTarget(tuple(sorted(devices)), text, text)
        mac, separator, lan = text.partition("@")
        mac = mac.lower().replace("-", ":")
        if is_mac(mac):
            return self._by_mac(mac, lan, bool(separator), neighbours, network)
        try:
            address = ip_address(text)
        except ValueError:
            return f"{text[:64]!r} is neither the name of a device, nor a MAC address, nor an IP address"
        if network.emulated and address.is_loopback:
            return self._unnamed(str(address))
        if network.is_gateway(address):
            return f"{address} is an address of this gateway, not of a device"
        if not network.on_lan(address):
            return f"{address} is not a host on a LAN of this gateway; upnp-gw devices lists the known ones"
        host = device_of(network, neighbours, address)
        if host.mac is not None:
            return self._unnamed(host.device)
        if any(network.on_link(address, link.name) for link in network.lans) and not _routed(network, address):
            return f"no host answers at {address} now; use the MAC address of the device"
        return self._unnamed(str(address))

    def _by_mac(
        self, mac: str, lan: str, lan_named: bool, neighbours: Neighbours, network: Network
    ) -> CommandTarget | str:
        """The device of a MAC address: on the named LAN, else on the first one, unless another LAN has it too."""
        lans = network.lan_names
        if lan_named and lan not in lans:
            return f"{lan[:15]!r} is not a LAN of this gateway; it serves {', '.join(lans)}"
        elsewhere = {*neighbours.interfaces_of(mac)} - {network.main_lan}
        if not lan_named and elsewhere:
            devices = " or ".join(network.device_id(mac, name) for name in lans if name in elsewhere | {lans[0]})
            return f"{mac} is also on {', '.join(sorted(elsewhere))}; use one of: {devices}"
        return self._unnamed(network.device_id(mac, lan or network.main_lan))

    def name_of(self, device: str) -> str | None:
        """The name of a device in the policy in force; None: it has none."""
        return name_of(self.policy, device, self.main_lan)

    def _unnamed(self, device: str) -> CommandTarget:
        name = self.name_of(device)
        return CommandTarget(
            (device,), name, name or free_name(f"host-{device.replace(':', '')}", self.policy.devices)
        )

    def _devices(self, target: CommandTarget) -> tuple[str, Mapping[str, Any]]:
        """(the name for the rules, the ``[device]`` to write if it has no name yet)"""
        if target.name is not None:
            return target.name, {}
        return target.suggested, {target.suggested: self._facts(target.devices)}

    # -- rules

    def name(self, target: CommandTarget, name: str) -> ManagedChange:
        """A name for the device. Rules that commands wrote under its old name follow."""
        renamed = {} if target.name in (None, name) else {target.name: name}
        return ManagedChange(
            {name: self._facts(target.devices)}, renamed={str(old): new for old, new in renamed.items()}
        )

    def allow(
        self, target: CommandTarget, ports: PortRanges, transports: tuple[Transport, ...], for_s: int | None
    ) -> ManagedChange:
        """A grant for the device. ``ports`` empty: 1024 to 65535."""
        who, devices = self._devices(target)
        singles = all(low == high for low, high in ports) and len(ports) > 0
        rule = {
            "name": self._rule_name(f"allow-{who}"),
            "who": who,
            **({"proto": [t.value for t in transports]} if transports else {}),
            "int_ports": port_values(ports or UNPRIVILEGED),
            "max_mappings": min(2 * len(ports) * max(1, len(transports) or 2), 64) if singles else ROOM,
            **self._end_or_review(for_s),
            "owner": OWNER,
            "reason": "upnp-gw allow",
        }
        return ManagedChange(devices, grants=(rule,))

    def block(self, target: CommandTarget, for_s: int | None) -> ManagedChange:
        """A forbid of everything for the device; its mappings end."""
        who, devices = self._devices(target)
        name = f"block-{who}"[:40]
        again = frozenset({name} & self._names())
        rule = {"name": name, "who": who, **self._end(for_s), "owner": OWNER, "reason": "upnp-gw block"}
        return ManagedChange(devices, forbids=(rule,), without=again)

    def blocks_of(self, target: CommandTarget, approved: Mapping[str, Any]) -> frozenset[str]:
        """The names of the forbids that ``block`` wrote for this device."""
        names = {self.name_of(device) for device in target.devices} | {target.name}
        return frozenset(
            rule["name"]
            for rule in approved.get("forbid", ())
            if rule.get("who") in names and rule["name"].startswith("block-")
        )

    # -- answers

    def still_waits(self, question: Question) -> bool:
        """False if the policy has changed so that an approval would allow something else than was shown."""
        return question.basis == basis(self.policy, question.subject.rule)

    def longest_s(self, question: Question) -> int | None:
        """The longest that an approval may last, seconds; None: no limit."""
        grant = self._grant(question)
        return grant.approve_for_s if grant is not None else None

    def approve(self, question: Question, for_s: int | None) -> ManagedChange:
        """A grant for exactly the question's request, with the zone, hours and limits of the grant that waited."""
        who, devices = self._devices(self._asker(question))
        subject, terms, waiting = question.subject, question.terms, self._grant(question)
        lasts = for_s or self.longest_s(question) or APPROVAL_S
        one_port = sum(high - low + 1 for low, high in terms.external_ports) == 1
        rule: dict[str, Any] = {
            "name": self._rule_name(f"yes-{who}-{subject.transport.value}-{subject.port}"),
            "who": who,
            "family": [subject.family.value],
            "proto": [subject.transport.value],
            "int_ports": [subject.port],
            **self._leading(question),
            **self._external(terms, waiting),
            **self._connecting(subject, waiting),
            **self._lasting(terms, waiting),
            # A port counts once over all addresses of a device, but UPnP and PCP can get two different external
            # ports.
            "max_mappings": 1 if subject.family is Family.IP6 or one_port else 2,
        }
        if waiting is not None:
            rule |= _obligations(waiting)
        rule |= {
            "until": toml_time(self.wall + lasts),
            "owner": OWNER,
            "reason": f"approved as question {question.number}",
        }
        return ManagedChange(devices, grants=(rule,))

    def _leading(self, question: Question) -> dict[str, Any]:
        target = question.subject.target
        return {} if target is None else {"for": [f"{target}/{target.max_prefixlen}"]}

    def _external(self, terms: ApprovalTerms, waiting: Grant | None) -> dict[str, Any]:
        keys: dict[str, Any] = {}
        if terms.external_ports:
            keys["ext_ports"] = port_values(terms.external_ports)
        if waiting is not None and waiting.external is not External.SAME_OR_ANY:
            keys["ext"] = waiting.external.value
        return keys

    def _connecting(self, subject: QuestionSubject, waiting: Grant | None) -> dict[str, Any]:
        access = remote_access(subject, waiting)
        assert access is not None, "no question is asked about such a request"
        keys: dict[str, Any] = {}
        if access.granted is not None or access.remote:
            keys["remote"] = _remote(access)
        if access.ports:
            keys["remote_ports"] = list(access.ports)
        return keys

    def _lasting(self, terms: ApprovalTerms, waiting: Grant | None) -> dict[str, Any]:
        """The lease limits of an approval: for every protocol at most the requested lease."""
        limits = self.policy.limits
        ttl_s = min(terms.lease_s, limits.max_ttl_s, (waiting and waiting.max_ttl_s) or limits.max_ttl_s)
        hold_s = min(terms.lease_s, limits.max_hold_s, (waiting and waiting.max_hold_s) or limits.max_hold_s)
        return {"max_ttl": duration_text(ttl_s), "max_hold": duration_text(hold_s)}

    def deny(self, question: Question, for_s: int | None) -> ManagedChange:
        """A forbid of the internal port, for every external port and remote host, so that nobody is asked again."""
        who, devices = self._devices(self._asker(question))
        subject = question.subject
        rule = {
            "name": self._rule_name(f"no-{who}-{subject.transport.value}-{subject.port}"),
            "who": who,
            "family": [subject.family.value],
            "proto": [subject.transport.value],
            "int_ports": [subject.port],
            **self._end(for_s),
            "owner": OWNER,
            "reason": f"denied as question {question.number}",
        }
        return ManagedChange(devices, forbids=(rule,))

    def toml(self, question: Question) -> str:
        """The exact TOML that an approval without a time would write now; ``still_waits`` has to be true."""
        from upnp_gw.gate.managed_edit import toml_of  # tomlkit: see there

        return toml_of(self.approve(question, None))

    # -- how

    def _asker(self, question: Question) -> CommandTarget:
        return self._unnamed(question.subject.device)

    def _facts(self, devices: tuple[str, ...]) -> dict[str, Any]:
        """The keys that identify these devices. The first LAN is left out, so that a forbid counts on every LAN."""
        macs = sorted({mac for device in devices if (mac := mac_of(device)) is not None})
        if not macs:
            return {"ip": list(devices)}
        lans = sorted({lan_of(device) or self.main_lan for device in devices if mac_of(device) is not None})
        return {"mac": macs} | ({"lan": lans} if lans != [self.main_lan] else {})

    def _grant(self, question: Question) -> Grant | None:
        return self.policy.grant(question.subject.rule)

    def _names(self) -> set[str]:
        return {forbid.name for forbid in self.policy.forbids} | {grant.name for grant in self.policy.grants}

    def _rule_name(self, preferred: str) -> str:
        return free_name(preferred, self._names())

    def _end(self, for_s: int | None) -> dict[str, Any]:
        return {} if for_s is None else {"until": toml_time(self.wall + for_s)}

    def _end_or_review(self, for_s: int | None) -> dict[str, Any]:
        if for_s is not None:
            return self._end(for_s)
        return {"review_by": (datetime.fromtimestamp(self.wall, UTC) + timedelta(days=REVIEW_DAYS)).date()}


def _remote(access: RemoteAccess) -> object:
    """The value of ``remote``: the named hosts in place of the lists' ``only``."""
    named = [str(net) for net in access.remote]
    if access.granted is None:
        return named
    if not named:
        return access.granted.as_toml()
    return {"only": named, "never": access.granted.never.texts} if access.granted.never is not None else named


def _obligations(grant: Grant) -> dict[str, Any]:
    """The zone and hours of a grant, as keys of the policy file."""
    keys: dict[str, Any] = {}
    if grant.zone is not None:
        keys["zone"] = grant.zone
    if grant.hours is not None:
        texts = [window_text(window) for window in grant.hours.windows]
        keys["hours"] = texts[0] if len(texts) == 1 else texts
    return keys


def _routed(network: Network, address: IPAddress) -> bool:
    """True for an address behind another router, for which there is no neighbour entry."""
    return any(net.version == address.version and address in net for net in network.routed)
