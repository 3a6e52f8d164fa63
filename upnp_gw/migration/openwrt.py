"""Reads OpenWrt's ``/etc/config/upnpd`` as the init script of its package miniupnpd does. Pure.

The script makes a miniupnpd.conf of one section ``config upnpd 'config'`` and of a section ``config perm_rule`` for
each permission. Its defaults are not those of miniupnpd: without a line NAT-PMP and PCP are on. Interfaces have
names of OpenWrt (lan, wan); its ``/etc/config/network`` has their devices.

The script changed its options in 2026 (``config upnpd 'settings'``, ``internal_network``). Those files are refused:
the miniupnpd.conf that it makes can be read instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from upnp_gw.migration.openwrt_network import NO_NETWORKS, Networks, networks_of
from upnp_gw.migration.original import Format, Line, Original, Permission, Setting
from upnp_gw.migration.permission_line import read_permission
from upnp_gw.migration.uci import UciOption, UciSection, read_uci
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

MOST_PERMISSIONS = 1000
LONGEST_SHOWN = 60
SECTION = "config"
"""The name of the section with the settings."""
GENERATED = "/var/etc/miniupnpd.conf"
NEWER = (
    f"this is the form of 2026; accepted: {GENERATED} of that router, which its init script makes of this file, or"
    " the older form"
)
NEWER_TYPES = ("internal_network", "acl_entry")

SWITCHES: Mapping[str, tuple[str, bool]] = {
    "enable_natpmp": ("enable_natpmp", True),
    "enable_upnp": ("enable_upnp", True),
    "secure_mode": ("secure_mode", True),
    "pcp_allow_thirdparty": ("pcp_allow_thirdparty", False),
    "system_uptime": ("system_uptime", True),
    "igdv1": ("force_igd_desc_v1", False),
    "use_stun": ("ext_perform_stun", False),
    "ipv6_disable": ("ipv6_disable", False),
}
"""Option -> the key of miniupnpd.conf, and the default of the script."""
WITHOUT_LINE = ("enable_natpmp", "enable_upnp", "secure_mode")
"""Those whose default is another than that of miniupnpd, or that of an older one."""
TEXTS: Mapping[str, str] = {
    "external_ip": "ext_ip",
    "port": "http_port",
    "upnp_lease_file": "lease_file",
    "upnp_lease_file6": "lease_file6",
    "uuid": "uuid",
    "serial_number": "serial",
    "model_number": "model_number",
    "friendly_name": "friendly_name",
    "presentation_url": "presentation_url",
    "notify_interval": "notify_interval",
    "stun_host": "ext_stun_host",
    "stun_port": "ext_stun_port",
    "clean_ruleset_threshold": "clean_ruleset_threshold",
    "clean_ruleset_interval": "clean_ruleset_interval",
}
SPEEDS: Mapping[str, str] = {"download": "bitrate_down", "upload": "bitrate_up"}
"""In KiB/s."""
PATCH = "it is a patch of some builds: [wan] refuse_private is about private addresses here"
NOT_READ: Mapping[str, str] = {
    "log_output": "[log] level is the level of the log here",
    "external_zone": "a zone of OpenWrt's firewall: --wan IF names the interface",
    "external_iface6": "one WAN interface serves both families",
    "force_forwarding": PATCH,
    "ext_ip_reserved_ignore": PATCH,
}
"""Options without a key of miniupnpd.conf -> the reason why they are not carried."""
UNKNOWN = "the init script of OpenWrt does not read it"
NO_DEVICE = "a name of OpenWrt: {option} IF names the interface here, or --network FILE its /etc/config/network"
RULE_OPTIONS = ("action", "ext_ports", "int_addr", "int_ports", "comment")


def read_upnpd(data: bytes, where: str, network: bytes | None = None, network_where: str = "") -> Original:
    """The configuration. ``where``, ``network_where``: the names of the files for messages. ``network``: OpenWrt's
    ``/etc/config/network``; None: the devices of its interfaces are not known. Raises ConfigError."""
    networks = NO_NETWORKS if network is None else networks_of(read_uci(network, network_where))
    reading = _Reading(where, networks)
    for section in read_uci(data, where):
        reading.read(section)
    if not reading.found:
        raise ConfigError(where, "", f"accepted: a file with a section config upnpd '{SECTION}'")
    return reading.original()


@dataclass(slots=True)
class _Reading:
    """One file."""

    where: str
    networks: Networks
    settings: list[Setting] = field(default_factory=list)
    permissions: list[Permission] = field(default_factory=list)
    others: list[tuple[Line, str]] = field(default_factory=list)
    found: bool = False
    """The section with the settings is there."""

    def original(self) -> Original:
        settings = sorted(self.settings, key=lambda setting: setting.line.number)
        return Original(self.where, Format.UCI, tuple(settings), tuple(self.permissions), tuple(self.others))

    def read(self, section: UciSection) -> None:
        if section.type in NEWER_TYPES or (section.type, section.name) == ("upnpd", "settings"):
            raise ConfigError(self.where, "", NEWER, section.line.number)
        if (section.type, section.name) == ("upnpd", SECTION):
            self.found = True
            self.read_main(section)
        elif section.type == "perm_rule":
            self.read_rule(section)
        else:
            why = f"the init script of OpenWrt reads config upnpd '{SECTION}' and perm_rule alone"
            self.leave(section.line, why)
            for option in section.options.values():
                self.leave(option.line, why)

    def leave(self, line: Line, why: str) -> None:
        self.others.append((line, why))

    # -- settings

    def read_main(self, section: UciSection) -> None:
        file = section.options.get("config_file")
        if file is not None:
            problem = (
                f"miniupnpd reads {shown(file.value, LONGEST_SHOWN)} and nothing of this file: import that one"
            )
            raise ConfigError(self.where, "config_file", problem, file.line.number)
        on = section.options.get("enabled")
        for option in section.options.values():
            self.read_option(section, option)
        for name in WITHOUT_LINE:
            if name not in section.options:
                self.add(SWITCHES[name][0], "yes", replace(section.line, text=f"{section.line.text} (no {name})"))
        if "internal_iface" not in section.options:
            self.interface(
                "listening_ip", "lan", replace(section.line, text=f"{section.line.text} (no internal_iface)")
            )
        if on is not None:
            off = "" if on.is_on(True) else ": the service was off, and is imported as if it ran"
            self.leave(on.line, f"systemctl enable --now upnp-gw switches the service on{off}")

    def read_option(self, section: UciSection, option: UciOption) -> None:
        name = option.name
        if name in SWITCHES:
            key, default = SWITCHES[name]
            self.add(key, "yes" if option.is_on(default) else "no", option.line)
        elif name in TEXTS:
            self.text(TEXTS[name], option)
        elif name in SPEEDS:
            self.speed(section, option)
        elif name == "external_iface":
            self.interface("ext_ifname", option.value, option.line)
        elif name == "internal_iface":
            for each in option.value.split():
                self.interface("listening_ip", each, option.line)
        elif name != "enabled":
            self.leave(option.line, NOT_READ.get(name, UNKNOWN))

    def add(self, key: str, value: str, line: Line) -> None:
        self.settings.append(Setting(key, value, line))

    def text(self, key: str, option: UciOption) -> None:
        if option.name == "port" and option.value == "auto":
            self.add(key, "0", option.line)
        elif (option.name, option.value) == ("uuid", "nocli"):
            self.leave(option.line, "this gateway has its own one")
        else:
            self.add(key, " ".join(option.value.split()), option.line)

    def speed(self, section: UciSection, option: UciOption) -> None:
        both = all(name in section.options for name in SPEEDS)
        if both and option.value.isdecimal() and len(option.value) <= 9:
            self.add(SPEEDS[option.name], str(int(option.value) * 1024 * 8), option.line)
        else:
            self.leave(option.line, "the init script of OpenWrt reads download and upload together, in KiB/s")

    def interface(self, key: str, name: str, line: Line) -> None:
        """The device of an interface of OpenWrt."""
        device = self.networks.device(name)
        if device:
            self.add(key, device, line)
        else:
            option = "--wan" if key == "ext_ifname" else "--lan"
            self.leave(line, f"{shown(name, LONGEST_SHOWN)} is {NO_DEVICE.format(option=option)}")

    # -- permissions

    def read_rule(self, section: UciSection) -> None:
        """As the line of miniupnpd.conf that it becomes."""
        if len(self.permissions) == MOST_PERMISSIONS:
            problem = f"more than {MOST_PERMISSIONS} perm_rule sections; accepted: at most so many"
            raise ConfigError(self.where, "", problem, section.line.number)
        action = section.value("action", "deny")
        if action not in ("allow", "deny"):
            problem = f'"{shown(action, LONGEST_SHOWN)}": accepted: allow or deny'
            raise ConfigError(self.where, "action", problem, self.line_of(section, "action").number)
        address = section.value("int_addr", "0.0.0.0/0")
        external, internal = self.ports(section, "ext_ports"), self.ports(section, "int_ports")
        self.check_word(section, "int_addr", address)
        words = f"{action} {external} {address if '/' in address else f'{address}/32'} {internal}"
        permission = read_permission(Line(section.line.number, words), self.where)
        line = Line(section.line.number, f"{section.line.text}: {words}")
        self.permissions.append(replace(permission, line=line))
        for option in section.options.values():
            if option.name not in RULE_OPTIONS:
                self.leave(option.line, UNKNOWN)

    def ports(self, section: UciSection, name: str) -> str:
        """``1024-65535``. A colon between them is fine too."""
        text = section.value(name, "0-65535")
        self.check_word(section, name, text)
        for separator in "-:":
            low, found, _ = text.partition(separator)
            if found:
                return f"{low}-{text.rpartition(separator)[2]}"
        return text

    def check_word(self, section: UciSection, name: str, text: str) -> None:
        if not text or any(sign.isspace() for sign in text):
            problem = f'"{shown(text, LONGEST_SHOWN)}": accepted: one word, such as 1024-65535 or 192.168.1.0/24'
            raise ConfigError(self.where, name, problem, self.line_of(section, name).number)

    def line_of(self, section: UciSection, name: str) -> Line:
        option = section.options.get(name)
        return section.line if option is None else option.line
