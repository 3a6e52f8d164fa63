"""The personalities by name: kinds of routers, named by what they do. Loaded when one is used."""

from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from upnp_gw.testing.options import EmulatorOptions
from upnp_gw.testing.personality import Personality
from upnp_gw.testing.registry import description_of, make_rule
from upnp_gw.testing.router_kinds import addresses, descriptions, mappings
from upnp_gw.testing.rules import Rule

PERSONALITIES: dict[str, type[Personality]] = {
    "v1-only": descriptions.V1Only,
    "v2-only": descriptions.V2Only,
    "v1-search-v2-description": descriptions.V1SearchV2Description,
    "ppp-connection": descriptions.PppConnection,
    "two-wan-connections-one-down": descriptions.TwoWanConnectionsOneDown,
    "only-permanent-leases": mappings.OnlyPermanentLeases,
    "no-permanent-leases": mappings.NoPermanentLeases,
    "lease-always-a-day": mappings.LeaseAlwaysADay,
    "mappings-vanish": mappings.MappingsVanish,
    "sixteen-slot-table": mappings.SixteenSlotTable,
    "full-table-says-success": mappings.FullTableSaysSuccess,
    "accepts-and-forgets": mappings.AcceptsAndForgets,
    "renewal-is-conflict": mappings.RenewalIsConflict,
    "renumbering-index": mappings.RenumberingIndex,
    "did-it-and-says-501": mappings.DidItAndSays501,
    "says-no-such-entry-as-501": mappings.SaysNoSuchEntryAs501,
    "refuses-others-as-718": mappings.RefusesOthersAs718,
    "same-ports-only": mappings.SamePortsOnly,
    "internal-port-ignored": mappings.InternalPortIgnored,
    "external-port-zero-refused": mappings.ExternalPortZeroRefused,
    "external-port-always-random": mappings.ExternalPortAlwaysRandom,
    "spaces-in-urls": descriptions.SpacesInUrls,
    "spaces-around-urls": descriptions.SpacesAroundUrls,
    "relative-control-urls-with-urlbase": descriptions.RelativeControlUrlsWithUrlBase,
    "urlbase-without-port": descriptions.UrlBaseWithoutPort,
    "upper-case-udn": descriptions.UpperCaseUdn,
    "other-udn-in-ssdp": descriptions.OtherUdnInSsdp,
    "no-ssdp": descriptions.NoSsdp,
    "rootdevice-search-only": descriptions.RootDeviceSearchOnly,
    "missing-service-descriptions": descriptions.MissingServiceDescriptions,
    "broken-xml": descriptions.BrokenXml,
    "stale-events": descriptions.StaleEvents,
    "double-nat": addresses.DoubleNat,
    "carrier-nat": addresses.CarrierNat,
    "unspecified-external-address": addresses.UnspecifiedExternalAddress,
    "no-external-address": addresses.NoExternalAddress,
    "natpmp-only": addresses.NatPmpOnly,
    "pcp-version-1-only": addresses.PcpVersion1Only,
    "natpmp-with-pcp-version": addresses.NatPmpWithPcpVersion,
    "natpmp-ports-truncated": addresses.NatPmpPortsTruncated,
    "epoch-of-eighty-years": addresses.EpochOfEightyYears,
    "pcp-forgets-nonces": addresses.PcpForgetsNonces,
    "no-check-pinhole-working": descriptions.NoCheckPinholeWorking,
}
"""By the name that ``Emulator.personality`` takes."""


def personality_of(name: str) -> type[Personality]:
    """Raises ValueError for an unknown name; it says what is accepted."""
    if name not in PERSONALITIES:
        known = get_close_matches(name, PERSONALITIES, 1)
        meant = "".join(f"; did you mean {k!r}?" for k in known) or f"; accepted: {', '.join(PERSONALITIES)}"
        raise ValueError(f"there is no personality {name!r}{meant}")
    return PERSONALITIES[name]


def description_and_source(kind: type[Personality]) -> tuple[str, str]:
    """The two parts of the docstring, each in one line."""
    description, _, source = description_of(kind).rpartition(" Source: ")
    return description, source


def with_personality(options: EmulatorOptions, names: tuple[str, ...]) -> EmulatorOptions:
    """The options of a router that has these. Raises ValueError."""
    changed: dict[str, Any] = {}
    for name in names:
        changed |= personality_of(name).options
    return replace(options, **changed) if changed else options


def rules_of(names: tuple[str, ...]) -> list[Rule]:
    """Their faults, ready to be put in force. Raises ValueError."""
    return [
        make_rule(each.name, each.action, after=each.after, parameters=each.parameters)
        for name in names
        for each in personality_of(name).faults
    ]
