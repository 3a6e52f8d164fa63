"""Routers whose description, discovery, events or services are of another shape."""

from typing import ClassVar

from upnp_gw.testing.personality import Personality, fault


class V1Only(Personality):
    """It has InternetGatewayDevice:1 only: no AddAnyPortMapping, no IPv6 pinholes.

    Source: miniupnp/miniupnp issue 121, "How to check for IGD:2 ?": OpenWrt 14.07.
    """

    options: ClassVar = {"versions": (1,)}


class V2Only(Personality):
    """It has InternetGatewayDevice:2 only: its description names version 2, also to a client that searched for
    version 1.

    Source: indutny/node-nat-upnp issue 42, "IGD v2 isn't supported.", and paullouisageneau/libplum pull request 20.
    """

    options: ClassVar = {"versions": (2,)}


class V1SearchV2Description(Personality):
    """It answers searches for version 1 as version 1, and the description behind LOCATION is that of version 2.

    Source: sbstp/rust-igd issue 12, "IGD 2.0 support": Technicolor TG389ac.
    """

    faults = (fault("location-of-version-2"),)


class PppConnection(Personality):
    """Its port mappings belong to WANPPPConnection:1, and it has no WANIPConnection.

    Source: sbstp/rust-igd issue 26, "Support WANPPPConnection service type": Sky SR102.
    """

    options: ClassVar = {"versions": (1,)}
    faults = (fault("ppp-connection"),)


class TwoWanConnectionsOneDown(Personality):
    """It has two WANConnectionDevices, and the first one is not connected.

    Source: tailscale/tailscale pull request 10489, "net/portmapper: be smarter about selecting a UPnP device".
    """

    faults = (fault("second-connection-down"),)


class SpacesInUrls(Personality):
    """Control and event URLs have a space that is not escaped.

    Source: flyte/upnpclient issue 27, "space before urn ... is not a valid URI": a device that does not escape
    either.
    """

    faults = (fault("spaces-in-urls"),)


class SpacesAroundUrls(Personality):
    """Spaces and line ends stand around the URLs of its description.

    Source: ofekp/TinyUPnP issue 1, "Invalid router info error": TP-Link Archer C8, with spaces in a URL element.
    """

    faults = (fault("spaces-around-urls"),)


class RelativeControlUrlsWithUrlBase(Personality):
    """The URLs of its description are relative to URLBase, not to the description. A client that takes only host
    and port of URLBase finds nothing there.

    Source: UDA 1.0 section 2.1; home-assistant/core issue 76383, "UPnP/IGD integration fails due to communication
    error", and sbstp/rust-igd issue 26 have descriptions with URLBase.
    """

    options: ClassVar = {"versions": (1,)}
    faults = (fault("url-base"),)


class UrlBaseWithoutPort(Personality):
    """URLBase has no port, and the control URLs are absolute and have one.

    Source: syncthing/syncthing issue 1187, "UPnP service URL parsing": Linksys WRT120N.
    """

    options: ClassVar = {"versions": (1,)}
    faults = (fault("url-base-without-port"),)


class UpperCaseUdn(Personality):
    """The UDNs of its description are in capital letters, those of SSDP are not.

    Source: ofekp/TinyUPnP issue 9 shows such UDNs of DD-WRT; tkem/mopidy-dleyna issue 34, "Failed to handle server
    with uppercase UDN", is a client that failed.
    """

    faults = (fault("upper-case-udn"),)


class OtherUdnInSsdp(Personality):
    """SSDP names another device than the description.

    Source: home-assistant/core issue 110216, "Upnp - Device not discovered".
    """

    faults = (fault("other-udn-in-ssdp"),)


class NoSsdp(Personality):
    """It answers no search. A client that knows its URLs can use it.

    Source: miniupnp/miniupnp issue 802, "miniupnpd: SSDP M-SEARCH queries stop being responded to".
    """

    faults = (fault("silent", "M-SEARCH"),)


class RootDeviceSearchOnly(Personality):
    """It answers searches for upnp:rootdevice and ssdp:all only, not those for a device or service type.

    Source: dariusc93/rust-igd issue 29, "Improve SSDP discovery coverage with multiple M-SEARCH targets".
    """

    faults = (fault("rootdevice-search-only"),)


class MissingServiceDescriptions(Personality):
    """The service descriptions that its description names are 404.

    Source: home-assistant/core issue 68873, "UPnP not working on Xfinity Gateway (Pace PX5001)".
    """

    faults = (fault("missing-scpd"),)


class BrokenXml(Personality):
    """Its XML ends with a NUL byte, and its service descriptions have no namespace.

    Source: StevenLooman/async_upnp_client pull request 67 (D-Link DSL-3900) and issue 113 (a Huawei gateway).
    """

    faults = (fault("nul-terminated"), fault("scpd-without-namespace"))


class StaleEvents(Personality):
    """Events repeat the values of the first one.

    Source: minnyres/amule-win32 issue 6, "Crash on router restart with UPnP": events with the same values again.
    """

    faults = (fault("stale-event"),)


class NoCheckPinholeWorking(Personality):
    """CheckPinholeWorking gets 403.

    Source: miniupnp/miniupnp issue 658, "upnpc -U: updating pinholes depends on CheckPinholeWorking being
    available": FRITZ!Box 7590.
    """

    options: ClassVar = {"ipv6": True}
    faults = (fault("error", "CheckPinholeWorking", code=403),)
