"""The UPnP error codes that this gateway sends, and the table from refusals to codes (IGD sections 4.3, 6.8).

Deviation (docs/decisions/0002): version 1 sends 606 too for a refusal by policy, because clients repeat a request
without end after 718 and 501 (libtorrent, Syncthing) and stop after 606. Only version 2 sends 728 to 733.
"""

from dataclasses import dataclass

from upnp_gw.model.request import Refusal, Refused
from upnp_gw.protocols.igd_services import IgdVersion

NAMES = {
    401: "Invalid Action",
    402: "Invalid Args",
    404: "Invalid Var",
    501: "Action Failed",
    600: "Argument Value Invalid",
    601: "Argument Value Out of Range",
    605: "String Argument Too Long",
    606: "Action not authorized",
    701: "PinholeSpaceExhausted",
    702: "FirewallDisabled",
    703: "InboundPinholeNotAllowed",
    704: "NoSuchEntry",
    705: "ProtocolNotSupported",
    706: "InternalPortWildcardingNotAllowed",
    707: "ProtocolWildcardingNotAllowed",
    708: "WildCardNotPermittedInSrcIP",
    709: "NoTrafficReceived",
    713: "SpecifiedArrayIndexInvalid",
    714: "NoSuchEntryInArray",
    715: "WildCardNotPermittedInSrcIP",
    716: "WildCardNotPermittedInExtPort",
    718: "ConflictInMappingEntry",
    720: "InvalidDeviceUUID",
    721: "InvalidServiceID",
    723: "InvalidConnServiceSelection",
    724: "SamePortValuesRequired",
    728: "NoPortMapsAvailable",
    729: "ConflictWithOtherMechanisms",
    730: "PortMappingNotFound",
    731: "ReadOnly",
    732: "WildCardNotPermittedInIntPort",
    733: "InconsistentParameters",
}
"""Code -> errorDescription."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An action that failed: the code and text of the SOAP fault."""

    code: int
    detail: str = ""
    """A sentence for the user of the control point, added to the name of the code."""

    @property
    def description(self) -> str:
        """The errorDescription: the standard's name of the code, then ``detail``."""
        name = NAMES[self.code]
        return f"{name}: {self.detail}" if self.detail else name


_BOTH_VERSIONS = {
    Refusal.NOT_AUTHORIZED: 606,
    Refusal.ASK: 606,
    Refusal.RATE: 606,
    Refusal.CONFLICT: 718,
    Refusal.NO_SUCH: 714,
    Refusal.BAD_NONCE: 606,
    Refusal.TOO_MANY_FILTERS: 501,
    Refusal.NO_EXTERNAL_ADDRESS: 501,
    Refusal.UNSUPPORTED: 501,
    Refusal.ABSENT: 501,
    Refusal.GATEWAY_ABOVE: 501,
    Refusal.BACKEND: 501,
}
REFUSALS: dict[IgdVersion, dict[Refusal, int]] = {
    IgdVersion.IGD1: _BOTH_VERSIONS
    | {
        Refusal.QUOTA: 606,
        Refusal.CONFLICT_OTHER: 718,
        Refusal.TABLE_FULL: 501,
        Refusal.NO_PORT: 718,
        Refusal.SAME_PORT: 724,
    },
    IgdVersion.IGD2: _BOTH_VERSIONS
    | {
        Refusal.QUOTA: 728,
        Refusal.CONFLICT_OTHER: 729,
        Refusal.TABLE_FULL: 728,
        Refusal.NO_PORT: 728,
        Refusal.SAME_PORT: 718,
    },
}
"""IGD version -> refusal -> code. Complete."""


def fault_of(igd_version: IgdVersion, refused: Refused, special: dict[Refusal, int] | None = None) -> Fault:
    """The fault for a refusal, with its reason and the id of the decision, by which the operator finds it.

    ``special``: codes that an action sends instead of those of the table.
    """
    code = (special or {}).get(refused.refusal, REFUSALS[igd_version][refused.refusal])
    decision = f" [{refused.decision}]" if refused.decision else ""
    return Fault(code, f"{refused.reason}{decision}")
