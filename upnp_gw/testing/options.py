"""The choices of a test before the start of an emulator."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TypedDict

from upnp_gw.config.settings import EMULATED_ADDRESS
from upnp_gw.testing.records import near


class Options(TypedDict, total=False):
    """The keywords of ``Emulator`` and of the mark ``igd``, for type checkers: those of ``EmulatorOptions``."""

    external_address: str
    policy: str
    nat: bool
    versions: tuple[int, ...]
    natpmp: bool
    pcp: bool
    ipv6: bool
    multicast: bool
    visibility: str
    interface: str
    address: str
    http_port: int
    search_port: int | None
    pcp_port: int | None
    personality: str | tuple[str, ...]
    frozen: bool


@dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """Raises ValueError for a wrong value."""

    external_address: str = str(EMULATED_ADDRESS)
    """The external IPv4 address; empty: there is none."""
    policy: str = ""
    """The text of a policy file (docs/policy-guide.md); empty: the built-in home policy."""
    nat: bool = True
    """False: a firewall without NAT."""
    versions: tuple[int, ...] = (1, 2)
    """The versions of InternetGatewayDevice that it has."""
    natpmp: bool = True
    """False: it does not answer NAT-PMP."""
    pcp: bool = True
    """False: it answers PCP as a router of NAT-PMP does, with the result "unsupported version"."""
    ipv6: bool = False
    """True: it also serves ::1, where clients can ask for IPv6 pinholes."""
    multicast: bool = False
    """True: it also answers searches to 239.255.255.250 on its interface, and announces itself there."""
    visibility: str = "own"
    """own: a client sees and deletes its own mappings; all: those of every client."""
    interface: str = ""
    """The name of the interface that it serves; empty: the loopback."""
    address: str = ""
    """Its IPv4 address on the interface; empty: on the loopback one that no other emulator has."""
    http_port: int = 0
    """The TCP port of descriptions and control URLs; 0: any free one."""
    search_port: int | None = None
    """The UDP port of searches to its address; 0: any free one; None: 1900, or any free one if that is taken."""
    pcp_port: int | None = None
    """The UDP port of NAT-PMP and PCP; 0: any free one; None: 5351, or any free one if that is taken."""
    personality: str | tuple[str, ...] = ()
    """The kinds of router that it is, by name (docs/testing-faults.md)."""
    frozen: bool = True
    """True: leases and epochs stand still until the test moves the clock. False: they also run by themselves."""

    def __post_init__(self) -> None:
        if not self.versions or not {1, 2}.issuperset(self.versions):
            raise ValueError("versions must be (1,), (2,) or (1, 2)")
        if self.visibility not in ("own", "all"):
            raise ValueError(f"visibility must be 'own' or 'all', not {self.visibility!r}")
        try:
            IPv4Address(self.external_address or "0.0.0.0")
        except ValueError:
            accepted = "an IPv4 address as text, or empty"
            raise ValueError(f"external_address must be {accepted}, not {self.external_address!r}") from None


def check_options(given: Iterable[str]) -> None:
    """Raises TypeError for a word that is no option; it says which one is near."""
    names = list(EmulatorOptions.__dataclass_fields__)
    for name in given:
        if name not in names:
            raise TypeError(f"an emulator has no option {name}{near(name, names)} it has {', '.join(names)}")
