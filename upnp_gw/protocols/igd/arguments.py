"""Makes typed values of the arguments of a message, strictly (SR-15, SR-17, IGD section 4.1).

White space around numbers, booleans and addresses is trimmed. A sign, an underscore, a digit that is not ASCII, or
more digits than the type has is a 402; a number that the type cannot hold is a 601. No name is resolved (SR-16): a
host name in place of an address is refused.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.igd.faults import Fault
from upnp_gw.protocols.igd.model import ArgumentModel, DataType
from upnp_gw.protocols.igd_services import IgdVersion

SPACE = " \t\r\n"
DESCRIPTION_MAX = 256
"""Most characters of a description; more: 605."""
NUMBERS = {
    DataType.UI2: (re.compile(r"[0-9]{1,5}"), 0xFFFF),
    DataType.UI4: (re.compile(r"[0-9]{1,10}"), 0xFFFFFFFF),
}
EMPTY = {"RemotePort": 0}
"""Argument -> its value if it is empty. nat-port-mapper sends AddPinhole with an empty RemotePort: any port."""
BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
WILDCARDS = frozenset({"", "*", "0.0.0.0"})
"""Remote hosts that mean anyone: IgdDevice can send only a dotted quad, and miniupnpc's peers accept ``*``."""


class InvalidArgument(Exception):
    """An invalid argument; the answer is a fault with its code."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(code)
        self.fault = Fault(code, detail)


class Arguments:
    """The typed in-arguments of a call, by name."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, int | bool | str]) -> None:
        self._values = values

    def number(self, name: str) -> int:
        """A ui2 or ui4 argument, in the range of its type."""
        value = self._values[name]
        assert isinstance(value, int)
        return value

    def flag(self, name: str) -> bool:
        """A boolean argument."""
        value = self._values[name]
        assert isinstance(value, bool)
        return value

    def text(self, name: str) -> str:
        """A string argument as it was sent, unescaped once; it may be empty."""
        value = self._values[name]
        assert isinstance(value, str)
        return value


def read_arguments(declared: Iterable[ArgumentModel], sent: Sequence[tuple[str, str]]) -> Arguments:
    """The declared arguments, in any order; others are ignored (IGD-075, IGD-076).

    Raises InvalidArgument: 402 for a missing or duplicate argument or text of the wrong type, 601 out of range.
    """
    elements: dict[str, str] = {}
    names = {argument.name for argument in declared}
    for name, value in sent:
        if name in elements:
            raise InvalidArgument(402, f"{name} is given twice")
        if name in names:
            elements[name] = value
    return Arguments({argument.name: _typed(argument, elements) for argument in declared})


def _typed(argument: ArgumentModel, elements: Mapping[str, str]) -> int | bool | str:
    text = elements.get(argument.name)
    if text is None:
        raise InvalidArgument(402, f"{argument.name} is missing")
    if argument.data_type is DataType.STRING:
        return text
    text = text.strip(SPACE)
    if argument.data_type is DataType.BOOLEAN:
        if (flag := BOOLEANS.get(text.lower())) is None:
            raise InvalidArgument(402, f"{argument.name} is no boolean")
        return flag
    if not text and argument.name in EMPTY:
        return EMPTY[argument.name]
    digits, greatest = NUMBERS[argument.data_type]
    if not digits.fullmatch(text):
        raise InvalidArgument(402, f"{argument.name} is no number")
    if (number := _number(text)) > greatest:
        raise InvalidArgument(601, f"{argument.name} is greater than {greatest}")
    return number


@lru_cache(256)
def _number(digits: str) -> int:
    """One object for equal numbers: most mappings have an internal port like the external one, and few leases."""
    return int(digits)


def transport(igd_version: IgdVersion, text: str) -> Transport:
    """NewProtocol, in upper or lower case (IGD-124). Other values: 601, on version 1 402."""
    word = text.strip(SPACE).upper()
    if word not in ("TCP", "UDP"):
        raise InvalidArgument(601 if igd_version is IgdVersion.IGD2 else 402, "NewProtocol is neither TCP nor UDP")
    return Transport(word.lower())


def remote_host(igd_version: IgdVersion, text: str) -> IPv4Network | None:
    """NewRemoteHost as a network of one address; None: anyone. A host name: 600, on version 1 402."""
    word = text.strip(SPACE)
    if word in WILDCARDS:
        return None
    return IPv4Network(_address(igd_version, "NewRemoteHost", word))


def internal_client(igd_version: IgdVersion, text: str) -> IPv4Address:
    """NewInternalClient: an IPv4 address that a host can have. Empty: 715, else 600, on version 1 402.

    The gate decides whether it is the requester, on the LAN and not the gateway.
    """
    word = text.strip(SPACE)
    if not word:
        raise InvalidArgument(715)
    address = _address(igd_version, "NewInternalClient", word)
    if address.is_unspecified or address.is_multicast:
        raise InvalidArgument(_malformed(igd_version), "NewInternalClient is not the address of a host")
    return address


def description(text: str) -> str:
    """NewPortMappingDescription, unchanged."""
    if len(text) > DESCRIPTION_MAX:
        raise InvalidArgument(605, f"NewPortMappingDescription is longer than {DESCRIPTION_MAX} characters")
    return text


def _address(igd_version: IgdVersion, name: str, word: str) -> IPv4Address:
    try:
        return IPv4Address(word)
    except AddressValueError:
        raise InvalidArgument(_malformed(igd_version), f"{name} is not an IPv4 address") from None


def _malformed(igd_version: IgdVersion) -> int:
    return 600 if igd_version is IgdVersion.IGD2 else 402
