"""Settings of miniupnpd -> keys of our configuration, with a remark for each line. Pure.

The defaults of miniupnpd count too, where ours differ: it answers NAT-PMP and PCP only if they are switched on, and
maps nothing while the external address is private.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address

import tomlkit

from upnp_gw.config.values import InvalidValue, Parse, external_address, interface, shown_text, url
from upnp_gw.gate.values import duration_text
from upnp_gw.migration.lan_names import LOOPBACK, lan_name
from upnp_gw.migration.original import Original, Setting
from upnp_gw.migration.remarks import Fate, Remark
from upnp_gw.migration.setting_values import NOT_CARRIED, is_yes, leading_number, misread, similar_key
from upnp_gw.model.network import Link
from upnp_gw.text.escape import shown

Place = tuple[str, str]
"""Table and key of the configuration."""
Value = str | int | bool | list[str]
NO_LINE = "no line: as miniupnpd does without one"
LONGEST = 60
"""Characters of a value that a remark repeats."""
SHORTEST_S, LONGEST_S = 120, 86400
"""Bounds of miniupnpd for leases over NAT-PMP and PCP, seconds."""
SHORTEST_AGE, LONGEST_AGE = 1800, 86400
"""``[upnp] max_age``, seconds."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The answers of the operator, and the machine."""

    wan: str = ""
    """Empty: that of the file."""
    lans: tuple[str, ...] = ()
    links: Sequence[Link] = ()
    """The interfaces of this machine; empty: not known."""
    others: bool = False
    """True: where miniupnpd lets a host ask for another one, the policy does too."""


@dataclass(slots=True)
class Carried:
    """The keys of the configuration, and the choices that the policy needs."""

    values: dict[Place, Value] = field(default_factory=dict)
    origins: dict[Place, str] = field(default_factory=dict)
    """The line that a value comes from, in words."""
    remarks: list[Remark] = field(default_factory=list)
    missing_wan: bool = False
    """True: the file does not name the interface to the internet."""
    missing_lans: list[str] = field(default_factory=list)
    """Values of ``listening_ip`` whose interface is not known; one empty text: there is no such line."""
    upnp: bool = True
    natpmp_and_pcp: bool = False
    ipv6: bool = True
    secure: bool = True
    """True: over UPnP a host asks for itself only."""
    third_party: bool = False
    """True: over PCP a host may ask for another one."""
    max_ttl_s: int | None = None

    @property
    def missing(self) -> list[str]:
        """The questions that the file leaves open: a sentence with the option for each."""
        lans = [f"the interface of listening_ip={shown(text, LONGEST)}" for text in self.missing_lans if text]
        if self.missing_lans and not lans:
            lans = ["the interface of the LAN"]
        wan = ["the interface to the internet: --wan IF"] if self.missing_wan else []
        return [*wan, *(f"{text}: --lan IF" for text in lans)]


def carry_settings(original: Original, chosen: Chosen) -> Carried:
    """The keys that the settings become. It never raises: what cannot be carried has a remark."""
    return _Carrier(original, chosen).carried()


class _Carrier:
    def __init__(self, original: Original, chosen: Chosen) -> None:
        self.original = original
        self.chosen = chosen
        self.out = Carried()

    def carried(self) -> Carried:
        for setting in self.original.settings:
            if setting.key != "listening_ip" and setting is not self.original.last(setting.key):
                self.note(setting, Fate.NOT_CARRIED, "a later line sets it again")
            elif setting.key in _READERS:
                _READERS[setting.key](self, setting)
            else:
                self.not_carried(setting)
        for line, why in self.original.other_lines:
            self.out.remarks.append(Remark(line, Fate.NOT_CARRIED, why))
        self.defaults()
        return self.out

    def defaults(self) -> None:
        """Sets the keys of which miniupnpd has another default, and the answers of the operator."""
        out, chosen = self.out, self.chosen
        natpmp = self.original.last("enable_natpmp") or self.original.last("enable_pcp_pmp")
        origin = NO_LINE if natpmp is None else f"line {natpmp.line.number}: {natpmp.line.text}"
        for key in ("natpmp", "pcp"):
            self.set(("portcontrol", key), "on" if out.natpmp_and_pcp else "off", origin)
        looks_outside = any(self.original.last(key) is not None for key in ("ext_ip", "ext_perform_stun"))
        if not looks_outside and ("wan", "refuse_private") not in out.values:
            self.set(("wan", "refuse_private"), True, NO_LINE)
        if chosen.wan:
            self.set(("wan", "interface"), chosen.wan, "--wan")
        if chosen.lans:
            self.set(("lan", "interfaces"), list(chosen.lans), "--lan")
        if ("wan", "interface") not in out.values:
            out.missing_wan = True
        if ("lan", "interfaces") not in out.values and not out.missing_lans:
            out.missing_lans.append("")

    def note(self, setting: Setting, fate: Fate, why: str) -> None:
        self.out.remarks.append(Remark(setting.line, fate, why))

    def word(self, setting: Setting, yes: bool) -> str:
        """A remark about a value that is neither yes nor no."""
        return misread(setting.value, "yes" if yes else "no")

    def carry(self, setting: Setting, place: Place, value: Value, fate: Fate = Fate.CARRIED, why: str = "") -> None:
        self.set(place, value, f"line {setting.line.number}: {setting.line.text}")
        self.note(
            setting, fate, f"[{place[0]}] {place[1]} = {shown(tomlkit.item(value).as_string(), LONGEST)}{why}"
        )

    def set(self, place: Place, value: Value, origin: str) -> None:
        self.out.values[place] = value
        self.out.origins[place] = origin

    def carry_text(self, setting: Setting, place: Place, parse: Parse) -> None:
        """A text that our configuration accepts as it is."""
        try:
            parse(setting.value)
        except InvalidValue as error:
            self.note(setting, Fate.NOT_CARRIED, f"accepted here: {error}")
        else:
            self.carry(setting, place, setting.value)

    # -- each key

    def not_carried(self, setting: Setting) -> None:
        if setting.key in NOT_CARRIED:
            self.note(setting, Fate.NOT_CARRIED, NOT_CARRIED[setting.key])
            return
        near = similar_key(setting.key, (*_READERS, *NOT_CARRIED))
        hint = f"; did you mean {near}?" if near else ""
        self.note(setting, Fate.NOT_CARRIED, f"miniupnpd 2.3.11 has no such key{hint}")

    def wan(self, setting: Setting) -> None:
        if self.chosen.wan:
            self.note(setting, Fate.DIFFERENT, f"--wan says {shown(self.chosen.wan, LONGEST)}")
        else:
            self.carry_text(setting, ("wan", "interface"), interface)

    def wan_of_ipv6(self, setting: Setting) -> None:
        first = self.original.last("ext_ifname")
        if first is not None and first.value == setting.value:
            self.note(setting, Fate.CARRIED, "the WAN interface is that of both families")
        else:
            self.note(setting, Fate.NOT_CARRIED, "one WAN interface serves both families")

    def external_address(self, setting: Setting) -> None:
        self.carry_text(setting, ("wan", "advertise"), external_address)

    def private_address(self, setting: Setting) -> None:
        yes = is_yes(setting.value)
        self.carry(setting, ("wan", "refuse_private"), not yes, why=self.word(setting, yes))

    def stun(self, setting: Setting) -> None:
        if setting.value in ("yes", "allow-filtered"):
            why = '[upstream] when = "private" asks the router above, and [wan] advertise names the address'
            self.note(setting, Fate.NOT_CARRIED, f"no STUN server is asked: {why}")
        else:
            self.note(setting, Fate.CARRIED, f"no STUN server is asked{self.word(setting, False)}")

    def listening(self, setting: Setting) -> None:
        if self.chosen.lans:
            self.note(setting, Fate.DIFFERENT, f"--lan says {shown(' '.join(self.chosen.lans), LONGEST)}")
            return
        first, *more = setting.value.split() or [""]
        name, problem = lan_name(first, self.chosen.links)
        if problem == LOOPBACK:
            self.note(setting, Fate.NOT_CARRIED, problem)
            return
        if not name:
            self.note(setting, Fate.NOT_CARRIED, problem)
            self.out.missing_lans += [first] * bool(first)
            return
        lans = self.out.values.get(("lan", "interfaces"), [])
        assert isinstance(lans, list)
        names = [*lans, *([] if name in lans else [name])]
        self.set(("lan", "interfaces"), names, "listening_ip")
        text = f"[lan] interfaces has {name}"
        if not more:
            self.note(setting, Fate.CARRIED, text)
        elif _address(more[0]) is not None:
            self.note(setting, Fate.DIFFERENT, f"{text}; the external address is the same for all LANs")
        else:
            self.note(setting, Fate.DIFFERENT, f"{text}; its bridge has the other ones")

    def http_port(self, setting: Setting) -> None:
        number = leading_number(setting.value)
        if number > 65535:
            self.note(setting, Fate.NOT_CARRIED, "accepted here: a TCP port, 0 for any free one")
        else:
            self.carry(setting, ("upnp", "http_port"), max(0, number))

    def name(self, setting: Setting) -> None:
        self.carry_text(setting, ("upnp", "friendly_name"), shown_text(63))

    def page(self, setting: Setting) -> None:
        if setting.value:
            self.carry_text(setting, ("upnp", "presentation_url"), url)
        else:
            self.note(setting, Fate.DIFFERENT, "here an empty text is the gateway's own status page")

    def interval(self, setting: Setting) -> None:
        """miniupnpd announces itself for twice its interval."""
        age = 2 * leading_number(setting.value)
        kept = min(max(age, SHORTEST_AGE), LONGEST_AGE)
        if kept == age:
            self.carry(setting, ("upnp", "max_age"), kept, why=": twice the interval")
        else:
            why = f": twice the interval; accepted here: {SHORTEST_AGE} to {LONGEST_AGE}"
            self.carry(setting, ("upnp", "max_age"), kept, Fate.DIFFERENT, why)

    def natpmp(self, setting: Setting) -> None:
        on = is_yes(setting.value) or leading_number(setting.value) != 0
        self.out.natpmp_and_pcp = on
        word = '"on"' if on else '"off"'
        self.note(setting, Fate.CARRIED, f"[portcontrol] natpmp and pcp = {word}{self.word(setting, on)}")

    def upnp(self, setting: Setting) -> None:
        self.out.upnp = is_yes(setting.value)
        if self.out.upnp:
            self.note(setting, Fate.CARRIED, "UPnP IGD is always answered")
        else:
            why = "the policy forbids each request over UPnP, and the gateway is still found"
            self.note(setting, Fate.DIFFERENT, why + self.word(setting, False))

    def ipv6(self, setting: Setting) -> None:
        self.out.ipv6 = not is_yes(setting.value)
        if self.out.ipv6:
            self.note(setting, Fate.CARRIED, "the policy allows IPv6 pinholes" + self.word(setting, False))
        else:
            self.note(setting, Fate.CARRIED, "the policy allows no IPv6 pinhole")

    def shortest_lifetime(self, setting: Setting) -> None:
        given = leading_number(setting.value)
        kept = min(max(SHORTEST_S, given), LONGEST_S)
        why = f": miniupnpd takes {SHORTEST_S} at least" if given < SHORTEST_S else ""
        self.carry(setting, ("portcontrol", "pcp_min_lifetime"), kept, why=why)

    def longest_lifetime(self, setting: Setting) -> None:
        given = leading_number(setting.value)
        if given < 1:
            self.note(setting, Fate.NOT_CARRIED, f"accepted here: 1 to {LONGEST_S} seconds")
            return
        self.out.max_ttl_s = min(given, LONGEST_S)
        why = f": miniupnpd takes {LONGEST_S} at most" if given > LONGEST_S else ""
        self.note(setting, Fate.CARRIED, f'policy: [limits] max_ttl = "{duration_text(self.out.max_ttl_s)}"{why}')

    def third_party(self, setting: Setting) -> None:
        self.out.third_party = is_yes(setting.value)
        self.about_others(setting, self.out.third_party)

    def secure_mode(self, setting: Setting) -> None:
        self.out.secure = setting.value != "no"
        self.about_others(setting, not self.out.secure)

    def about_others(self, setting: Setting, may: bool) -> None:
        if may and self.chosen.others:
            self.note(setting, Fate.CARRIED, "the policy lets a device open ports for other hosts")
        elif may:
            self.note(setting, Fate.NOT_CARRIED, "a device opens ports for itself only; --for-others carries it")
        else:
            self.note(setting, Fate.CARRIED, "a device opens ports for itself only")

    def version_1(self, setting: Setting) -> None:
        if is_yes(setting.value):
            self.carry(setting, ("upnp", "faces"), ["igd1"])
        else:
            self.note(setting, Fate.CARRIED, "both versions of UPnP IGD are announced")

    def leases(self, setting: Setting) -> None:
        self.note(setting, Fate.DIFFERENT, "upnp-gw import --leases takes its leases over, once the gateway runs")


def _address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except AddressValueError:
        return None


_READERS: Mapping[str, Callable[[_Carrier, Setting], None]] = {
    "ext_ifname": _Carrier.wan,
    "ext_ifname6": _Carrier.wan_of_ipv6,
    "ext_ip": _Carrier.external_address,
    "ext_allow_private_ipv4": _Carrier.private_address,
    "ext_perform_stun": _Carrier.stun,
    "listening_ip": _Carrier.listening,
    "port": _Carrier.http_port,
    "http_port": _Carrier.http_port,
    "friendly_name": _Carrier.name,
    "presentation_url": _Carrier.page,
    "notify_interval": _Carrier.interval,
    "enable_natpmp": _Carrier.natpmp,
    "enable_pcp_pmp": _Carrier.natpmp,
    "enable_upnp": _Carrier.upnp,
    "ipv6_disable": _Carrier.ipv6,
    "min_lifetime": _Carrier.shortest_lifetime,
    "max_lifetime": _Carrier.longest_lifetime,
    "pcp_allow_thirdparty": _Carrier.third_party,
    "secure_mode": _Carrier.secure_mode,
    "force_igd_desc_v1": _Carrier.version_1,
    "lease_file": _Carrier.leases,
    "lease_file6": _Carrier.leases,
}
