"""Routers whose external address, or NAT-PMP and PCP, are of another kind."""

from typing import ClassVar

from upnp_gw.testing.personality import Personality, fault


class DoubleNat(Personality):
    """Its external address is a private one: another router stands before the internet.

    Source: miniupnp/miniupnp issues 298 and 333, "... prevents usage in double NAT situation".
    """

    options: ClassVar = {"external_address": "192.168.1.7"}


class CarrierNat(Personality):
    """Its external address is of 100.64.0.0/10: the provider translates it.

    Source: RFC 6598; miniupnp/miniupnp issue 732 and immortalwrt/immortalwrt issue 1030.
    """

    options: ClassVar = {"external_address": "100.64.0.7"}


class UnspecifiedExternalAddress(Personality):
    """Its external address is 0.0.0.0.

    Source: tailscale/tailscale pull request 13639, "net/portmapper: don't return unspecified/local external IPs".
    """

    options: ClassVar = {"external_address": "0.0.0.0"}


class NoExternalAddress(Personality):
    """Its external address is empty, as of a router that is used as a repeater.

    Source: alanmcgovern/Mono.Nat issue 35, "Router as mesh repeater returns empty external IP".
    """

    options: ClassVar = {"external_address": ""}


class NatPmpOnly(Personality):
    """It has NAT-PMP and no PCP: a PCP request gets "unsupported version". It answers no search.

    Source: firewalla/firewalla issue 592, "Support NAT-PMP for apple routers", and bitcoin/bitcoin issue 31663.
    """

    options: ClassVar = {"pcp": False}
    faults = (fault("silent", "M-SEARCH"),)


class PcpVersion1Only(Personality):
    """It has PCP in version 1, of the drafts, and no NAT-PMP.

    Source: offbynull/portmapper issue 3, "PCPv1 support".
    """

    options: ClassVar = {"natpmp": False}
    faults = (fault("pcp-version-1-only"),)


class NatPmpWithPcpVersion(Personality):
    """It answers NAT-PMP with the version number of PCP.

    Source: tailscale/tailscale issue 2563, "Implement Port Control Protocol".
    """

    faults = (fault("natpmp-with-pcp-version"),)


class NatPmpPortsTruncated(Personality):
    """Its answers over NAT-PMP have the low byte of each port only. The mapping is the one that was asked.

    Source: miniupnp/miniupnp issue 196, "miniupnpd: Does NAT-PMP support in fact work?".
    """

    faults = (fault("natpmp-ports-truncated"),)


class EpochOfEightyYears(Personality):
    """The epoch of NAT-PMP and PCP is eighty years.

    Source: Self-Hosting-Group/miniupnpd-issues, README: an invalid epoch (~80y).
    """

    faults = (fault("epoch-ahead", seconds=2_524_608_000),)


class PcpForgetsNonces(Personality):
    """A PCP client cannot renew or delete its mapping: NOT_AUTHORIZED, as for another nonce.

    Source: RFC 6887 section 11.3; tailscale/tailscale pull request 21277, "net/portmapper: save and verify PCP
    nonces".
    """

    faults = (fault("forgotten-nonce"),)
