"""What a test can choose before the start of an emulator."""

from dataclasses import dataclass
from typing import TypedDict

from upnp_gw.config.settings import EMULATED_ADDRESS


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
    """Raises ValueError for another version than 1 and 2, or none."""

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
