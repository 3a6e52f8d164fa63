"""Interfaces of real kinds of machines, in the words of ``ip -br address`` and ``ip route``."""

from ipaddress import ip_interface

from upnp_gw.config.interface_detection import ONE_SEGMENT, DefaultRoute, Interface


def interfaces(dump: str) -> tuple[Interface, ...]:
    """A line each: the name, as ``eth0.7@eth0`` with the interface below it; addresses; then words: a kind of
    netlink, ``master=br0``, ``dhcp``, ``down``."""
    return tuple(_interface(number, *line.split()) for number, line in enumerate(dump.strip().splitlines(), 1))


def _interface(number: int, name: str, *words: str) -> Interface:
    name, _, below = name.partition("@")
    addresses = tuple(ip_interface(word) for word in words if "/" in word)
    kinds = [word for word in words if "/" not in word and "=" not in word and word not in ("dhcp", "down")]
    kind = kinds[0] if kinds else ""
    master = next((word.removeprefix("master=") for word in words if word.startswith("master=")), "")
    return Interface(
        name,
        number,
        "down" not in words,
        addresses,
        kind=kind,
        master=master,
        parent=below if kind in ONE_SEGMENT else "",
        below=below,
        leased="dhcp" in words,
    )


def routes(dump: str) -> tuple[DefaultRoute, ...]:
    """A line each: ``default dev eth0 metric 100``, for IPv6 with ``-6`` before it."""
    found = []
    for line in dump.strip().splitlines():
        words = line.split()
        metric = int(words[words.index("metric") + 1]) if "metric" in words else 0
        found.append(DefaultRoute(words[words.index("dev") + 1], metric, 6 if words[0] == "-6" else 4))
    return tuple(found)
