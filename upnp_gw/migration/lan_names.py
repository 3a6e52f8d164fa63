"""The interface that a value of ``listening_ip`` means."""

from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Interface, NetmaskValueError

from upnp_gw.config.values import InvalidValue, interface
from upnp_gw.model.network import Link

LOOPBACK = "programs of this machine are no LAN"
NOT_HERE = "no interface of this machine has the address"


def lan_name(text: str, links: Sequence[Link]) -> tuple[str, str]:
    """The interface, or an empty text and the reason why it is not known.

    ``text``: a name, or an address with or without a mask, as ``parselanaddr`` of miniupnpd reads it; without one
    the mask is /24. ``links``: the interfaces of this machine. The one with the address counts, else the one with
    the prefix.
    """
    if text == "lo":
        return "", LOOPBACK
    if not text.replace(".", "").replace("/", "").isdigit():
        try:
            interface(text)
        except InvalidValue as error:
            return "", f"accepted here: {error}"
        return text, ""
    try:
        wanted = IPv4Interface(text if "/" in text else f"{text}/24")
    except (AddressValueError, NetmaskValueError):
        return "", "neither an interface nor an address"
    if wanted.ip.is_loopback:
        return "", LOOPBACK
    having = [link for link in links if wanted.ip in link.ips]
    having += [link for link in links if wanted.network in link.networks]
    return (having[0].name, "") if having else ("", NOT_HERE)
