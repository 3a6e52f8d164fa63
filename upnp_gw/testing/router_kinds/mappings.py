"""Routers that treat port mappings in their own way."""

from typing import ClassVar

from upnp_gw.testing.personality import Personality, fault


class OnlyPermanentLeases(Personality):
    """A port mapping with a lease is refused with 725. With lease 0 it works. Its SOAP faults have faultCode.

    Source: benoitc/erlang-nat issue 14, "Fallback to add an infinite UPnP mapping ...": MikroTik RouterOS 6.34;
    also libretro/RetroArch issue 13313, and nicotine-plus/nicotine-plus issue 2200.
    """

    faults = (fault("only-permanent-leases"), fault("capital-fault-elements"))


class NoPermanentLeases(Personality):
    """A port mapping with lease 0 is refused with 402, and a lease is a week at most.

    Source: n0-computer/net-tools issue 52, "UPnP infinite lease duration causes port mapping failure."
    """

    faults = (fault("no-permanent-leases"), fault("shorter-lease", "AddPortMapping", seconds=604800))


class LeaseAlwaysADay(Personality):
    """Every lease is 86400 seconds, whatever was asked.

    Source: miniupnp/miniupnp issue 398, "Lease duration isn't set properly": a Technicolor gateway.
    """

    faults = (fault("fixed-lease", "AddPortMapping", seconds=86400),)


class MappingsVanish(Personality):
    """A port mapping is accepted with its lease, and ends after ten seconds.

    Source: ethereum/go-ethereum issue 1024, "p2p/nat: should delete port mappings before adding".
    """

    faults = (fault("shorter-lease", "AddPortMapping", seconds=10),)


class SixteenSlotTable(Personality):
    """It has room for 16 port mappings. One more is refused with 402, as if its arguments were wrong.

    Source: miniupnp/miniupnp issue 92, "AddPortMapping() failed with code 402 (Invalid Args)".
    """

    faults = (fault("without-limits"), fault("full-table", slots=16, code=402))


class FullTableSaysSuccess(Personality):
    """It has room for 32 port mappings. One more is answered with success, and not made. Nothing is deleted by a
    reboot, nor by a delete.

    Source: bitletorg/weupnp issue 12, "Consider workaround for Linksys UPNP bugs".
    """

    faults = (
        fault("without-limits"),
        fault("silent-full-table", slots=32),
        fault("stays-after-delete"),
    )


class AcceptsAndForgets(Personality):
    """AddPortMapping succeeds, and no mapping is made: the list stays empty.

    Source: kaklakariada/portmapper issue 139, "says it added a mapping successfully but doesn't".
    """

    faults = (fault("accepted-and-forgotten"),)


class RenewalIsConflict(Personality):
    """A client cannot renew its own mapping before that ends: 718.

    Source: lontivero/Open.NAT issue 14, "It tries to renew portmappings before expiration".
    """

    faults = (fault("renewal-is-conflict"),)


class RenumberingIndex(Personality):
    """Each new mapping renumbers the others in GetGenericPortMappingEntry, also while a client reads them.

    Source: WANIPConnection:1 section 2.4.14, where a delete renumbers the entries behind it; miniupnp/miniupnp
    issue 462, "`upnpc -l` and `upnpc -L` give different mappings!".
    """

    faults = (fault("renumbering-index"),)


class DidItAndSays501(Personality):
    """AddPortMapping and DeletePortMapping do what they are asked, and answer 501.

    Source: nicotine-plus/nicotine-plus issue 2088, "Portforwarding error": 501 from a Linksys router, and a port
    test says that the port is open.
    """

    faults = (
        fault("error", "AddPortMapping", code=501, after=True),
        fault("error", "DeletePortMapping", code=501, after=True),
    )


class SaysNoSuchEntryAs501(Personality):
    """A mapping that does not exist is 501 in place of 714.

    Source: lontivero/Open.NAT issue 28, "LINKSYS WRT1900AC AC1900 Fails w/ error 501".
    """

    faults = (fault("other-error-code", of=714, code=501),)


class RefusesOthersAs718(Personality):
    """A mapping for another internal client is refused with 718, conflict, in place of 606, not authorized.

    Source: miniupnp/miniupnp issue 359, "Add redirect for other LAN IP gives ... 718"; RFC 6970 section 4.3.
    """

    faults = (fault("other-error-code", of=606, code=718),)


class SamePortsOnly(Personality):
    """External and internal port must be the same: 724.

    Source: WANIPConnection:1 section 2.4.16.
    """

    options: ClassVar = {"versions": (1,)}
    faults = (fault("same-ports-only"),)


class InternalPortIgnored(Personality):
    """A mapping leads to the internal port with the number of the external one, whatever internal port was asked.

    Source: tailscale/tailscale issue 14344, "UPnP opens same internal/external port on Orange FunBox6 router".
    """

    faults = (fault("internal-port-becomes-external"),)


class ExternalPortZeroRefused(Personality):
    """A request for any external port (0) is refused.

    Source: tailscale/tailscale issue 13785, "NAT PMP issue with RouterOS".
    """

    faults = (fault("port-zero-refused"),)


class ExternalPortAlwaysRandom(Personality):
    """Over NAT-PMP, PCP and AddAnyPortMapping the external port is a random one, whatever was suggested.

    Source: yimingliu/py-natpmp issue 12, "Wrong Public Port, Always Random".
    """

    faults = (fault("random-external-port"),)
