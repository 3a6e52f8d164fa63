"""The forwarding switches of the kernel, in the network namespace of the calling thread. Router mode only."""

from pathlib import Path

from upnp_gw.model.errors import FirewallError

SYSCTL = Path("/proc/sys/net")
IPV4, IPV6 = SYSCTL / "ipv4/ip_forward", SYSCTL / "ipv6/conf/all/forwarding"


def switch_on(wan: str) -> None:
    """Routes packets. Call it only while the drops are in force. Raises FirewallError.

    A forwarding host ignores router advertisements unless set to accept them all the same (accept_ra 2): the WAN
    would lose its IPv6 address and route.
    """
    accept = SYSCTL / "ipv6/conf" / wan / "accept_ra"
    if _read(accept) == "1":
        _write(accept, "2")
    for switch in (IPV4, IPV6):
        if _read(switch) == "0":
            _write(switch, "1")


def switch_off() -> None:
    """Routes nothing any more. Raises FirewallError."""
    for switch in (IPV4, IPV6):
        if _read(switch) not in ("0", ""):
            _write(switch, "0")


def _read(path: Path) -> str:
    """Empty where there is no such switch: a kernel without IPv6, an interface that is not there yet."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def _write(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        raise FirewallError(f"cannot set {path} to {value}: {error.strerror}") from error
