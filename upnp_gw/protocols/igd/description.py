"""Fills the templates of the root device descriptions, and makes the identifiers of a root device.

Each IGD version is a root device of its own: three UDNs derived from one UUID in the state directory, and a
CONFIGID that is a hash of the served documents (IGD sections 1.3, 1.4 and 2.2).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID, uuid5

from lxml import etree

from upnp_gw import RELEASE
from upnp_gw.protocols.igd.descriptors import load_descriptor
from upnp_gw.protocols.igd_services import (
    SERVICE,
    IgdVersion,
    Level,
    Service,
    control_path,
    description_path,
    event_path,
    scpd_path,
    service_of,
)

NS = "{urn:schemas-upnp-org:device-1-0}"
DECLARATION = b'<?xml version="1.0"?>\n'
FRIENDLY_NAME_MAX = 63
DEFAULT_FRIENDLY_NAME = "upnp-gw"


@dataclass(frozen=True, slots=True)
class RootDevice:
    """The root device of one IGD version."""

    igd_version: IgdVersion
    udns: Mapping[Level, str]
    """``uuid:`` and the UUID in lower case, one for each nested device; they never change."""
    config_id: int
    """CONFIGID.UPNP.ORG, 0..16777215: changes if and only if a served document changes."""
    description: bytes
    """The root device description, UTF-8 XML."""

    @property
    def path(self) -> str:
        """The path of the description in LOCATION."""
        return description_path(self.igd_version)


def root_device(
    igd_version: IgdVersion,
    root: UUID,
    *,
    friendly_name: str,
    presentation_url: str,
    token: str,
    scpds: Iterable[bytes],
) -> RootDevice:
    """The root device of an IGD version, with its description and its CONFIGID.

    ``root``: the gateway's UUID; ``token``: the secret part of the control paths (SR-10); ``scpds``: the served
    service descriptions. An empty ``presentation_url`` becomes ``/``, the gateway's own page.
    """
    ids = udns(root, igd_version)
    tree = fill(igd_version, ids, friendly_name=friendly_name, presentation_url=presentation_url, token=token)
    number = config_id([etree.tostring(tree), *scpds])
    tree.set("configId", str(number))
    return RootDevice(igd_version, ids, number, DECLARATION + etree.tostring(tree, encoding="utf-8") + b"\n")


def udns(root: UUID, igd_version: IgdVersion) -> dict[Level, str]:
    """The three UDNs of an IGD version, name-based (RFC 9562 section 5.5) from the gateway's UUID."""
    return {level: f"uuid:{uuid5(root, f'{igd_version.value}/{level.value}')}" for level in Level}


def config_id(documents: Iterable[bytes]) -> int:
    """24 bits of a hash over the documents in order: the range that a device may use freely."""
    digest = sha256()
    for document in documents:
        digest.update(sha256(document).digest())
    return int.from_bytes(digest.digest()[:3], "big")


def fill(
    igd_version: IgdVersion, ids: Mapping[Level, str], *, friendly_name: str, presentation_url: str, token: str
) -> etree._Element:
    """The filled template of an IGD version, without its configId."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True)
    tree = etree.fromstring(load_descriptor(f"{igd_version.value}.xml"), parser)
    for device in tree.iter(f"{NS}device"):
        _set(device, "UDN", ids[_level(device)])
        _set(device, "modelNumber", RELEASE)
        for element in device.iterfind(f"{NS}serviceList/{NS}service"):
            service = _service(igd_version, element)
            _set(element, "SCPDURL", scpd_path(igd_version, service))
            _set(element, "controlURL", control_path(token, igd_version, service))
            _set(element, "eventSubURL", event_path(token, igd_version, service))
    root = _child(tree, "device")
    _set(root, "friendlyName", shown_name(friendly_name))
    _set(root, "presentationURL", presentation_url or "/")
    return tree


def shown_name(text: str) -> str:
    """The configured name made valid: printable, not empty, shorter than 64 characters (IGD-014)."""
    printable = "".join(c if c.isprintable() else " " for c in text).strip()
    return printable[:FRIENDLY_NAME_MAX].rstrip() or DEFAULT_FRIENDLY_NAME


def _level(device: etree._Element) -> Level:
    return Level((_child(device, "deviceType").text or "").split(":")[-2])


def _service(igd_version: IgdVersion, element: etree._Element) -> Service:
    urn = _child(element, "serviceType").text or ""
    service = service_of(igd_version, urn.removeprefix(SERVICE).partition(":")[0])
    if service is None or service.urn != urn:
        raise LookupError(f"the description of {igd_version.value} lists {urn}, which that version does not serve")
    return service


def _child(element: etree._Element, name: str) -> etree._Element:
    child = element.find(f"{NS}{name}")
    if child is None:
        raise LookupError(f"a device or service of the description has no {name}")
    return child


def _set(element: etree._Element, name: str, text: str) -> None:
    _child(element, name).text = text
