"""Root device descriptions: structure, identity, what is filled in (IGD section 1)."""

import re
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

import upnp_gw
from upnp_gw.protocols.igd.description import RootDevice, config_id, root_device, shown_name, udns
from upnp_gw.protocols.igd.descriptors import descriptors, load_descriptor
from upnp_gw.protocols.igd_services import SERVICES, IgdVersion, Level

NS = "{urn:schemas-upnp-org:device-1-0}"
ROOT = UUID("11111111-2222-4333-8444-555555555555")
ORDER = (
    *("deviceType", "friendlyName", "manufacturer", "manufacturerURL", "modelDescription", "modelName"),
    *("modelNumber", "modelURL", "serialNumber", "UDN", "UPC", "iconList", "serviceList", "deviceList"),
    "presentationURL",
)

both = pytest.mark.parametrize("igd_version", IgdVersion)


def made(
    igd_version: IgdVersion,
    root: UUID = ROOT,
    name: str = "gate",
    url: str = "",
    token: str = "t0k",
    scpds: tuple[bytes, ...] = (),
) -> RootDevice:
    return root_device(igd_version, root, friendly_name=name, presentation_url=url, token=token, scpds=scpds)


def tree(root: RootDevice) -> etree._Element:
    return etree.fromstring(root.description)


def texts(element: etree._Element, name: str) -> list[str]:
    return [found.text or "" for found in element.iter(f"{NS}{name}")]


@both
@pytest.mark.spec("IGD-002", "IGD-003", "IGD-004", "IGD-006")
def test_the_tree_nests_and_lists_the_services_of_its_version(igd_version: IgdVersion) -> None:
    (root,) = tree(made(igd_version)).findall(f"{NS}device")
    (wan,) = root.findall(f"{NS}deviceList/{NS}device")
    (connection,) = wan.findall(f"{NS}deviceList/{NS}device")
    assert connection.find(f"{NS}deviceList") is None
    for level, device in zip(Level, (root, wan, connection), strict=True):
        assert device.findtext(f"{NS}deviceType") == level.urn(igd_version)
        services = [
            (s.findtext(f"{NS}serviceType"), s.findtext(f"{NS}serviceId"))
            for s in device.findall(f"{NS}serviceList/{NS}service")
        ]
        assert services == [
            (s.urn, f"urn:upnp-org:serviceId:{s.service_id}") for s in SERVICES[igd_version] if s.level is level
        ]
    assert SERVICES[igd_version][0].level is Level.ROOT


@pytest.mark.spec("IGD-005")
def test_version_1_lists_nothing_that_stops_an_xbox() -> None:
    document = made(IgdVersion.IGD1).description
    assert b"DeviceProtection" not in document
    assert b"WANIPv6FirewallControl" not in document
    assert b":2<" not in document


@both
def test_elements_come_in_the_order_of_the_standard(igd_version: IgdVersion) -> None:
    root = tree(made(igd_version))
    assert [etree.QName(child).localname for child in root] == ["specVersion", "device"]
    for device in root.iter(f"{NS}device"):
        names = [etree.QName(child).localname for child in device]
        assert names == sorted(names, key=ORDER.index)
        assert {"deviceType", "friendlyName", "manufacturer", "modelName", "UDN"} <= set(names)
        assert all(child.text for child in device)
    assert not list(root.iter(etree.Comment))


@both
@pytest.mark.spec("IGD-008", "IGD-009")
def test_urls_are_relative_and_unique(igd_version: IgdVersion) -> None:
    root = tree(made(igd_version))
    assert not texts(root, "URLBase")
    for name in ("SCPDURL", "controlURL", "eventSubURL"):
        urls = texts(root, name)
        assert len(set(urls)) == len(urls) == len(SERVICES[igd_version])
        assert all(re.fullmatch(r"/[A-Za-z0-9/.]+", url) for url in urls)
    assert all(url.startswith("/t0k/") for name in ("controlURL", "eventSubURL") for url in texts(root, name))
    assert not any("t0k" in url for url in texts(root, "SCPDURL"))


@both
@pytest.mark.spec("IGD-010", "IGD-012")
def test_architecture_version_and_presentation(igd_version: IgdVersion) -> None:
    root = tree(made(igd_version))
    assert (texts(root, "major"), texts(root, "minor")) == (["1"], ["1"])
    assert texts(root, "presentationURL") == ["/"]
    assert texts(tree(made(igd_version, url="https://gw.lan/?a=1&b=2")), "presentationURL") == [
        "https://gw.lan/?a=1&b=2"
    ]


@pytest.mark.spec("IGD-007")
def test_udns_are_distinct_stable_and_derived() -> None:
    every = [udn for igd_version in IgdVersion for udn in udns(ROOT, igd_version).values()]
    assert len(set(every)) == 6
    assert all(re.fullmatch("uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", udn) for udn in every)
    assert udns(UUID(str(ROOT)), IgdVersion.IGD1) == udns(ROOT, IgdVersion.IGD1)
    assert set(udns(uuid4(), IgdVersion.IGD1).values()).isdisjoint(every)
    # a released value: a change of the derivation would make every control point see a new gateway
    assert udns(ROOT, IgdVersion.IGD1)[Level.ROOT] == "uuid:e0a4af9b-e1d2-5d27-a916-2bcab47caae2"
    for igd_version in IgdVersion:
        assert texts(tree(made(igd_version)), "UDN") == list(udns(ROOT, igd_version).values())


@both
@pytest.mark.spec("IGD-011", "IGD-038")
def test_config_id_changes_with_the_documents_and_only_then(igd_version: IgdVersion) -> None:
    root = made(igd_version)
    assert tree(root).get("configId") == str(root.config_id)
    assert 0 <= root.config_id <= 16_777_215
    assert made(igd_version).config_id == root.config_id
    others = [
        made(igd_version, name="other"),
        made(igd_version, url="/page"),
        made(igd_version, token="other"),
        made(igd_version, root=uuid4()),
        made(igd_version, scpds=(b"<scpd/>",)),
        made(igd_version, scpds=(b"<scpd>", b"</scpd>")),
    ]
    assert len({root.config_id, *(other.config_id for other in others)}) == 7


def test_config_id_distinguishes_documents_by_their_boundaries() -> None:
    assert config_id([b"ab", b"c"]) != config_id([b"a", b"bc"])


@pytest.mark.spec("IGD-013")
@pytest.mark.parametrize("name", ["<Gäteway> & 'Söhne' \"x\"", "]]>", "&lt;", "東京ルーター"])
def test_friendly_name_is_escaped_and_decodes_again(name: str) -> None:
    assert texts(tree(made(IgdVersion.IGD1, name=name)), "friendlyName")[0] == name


@pytest.mark.spec("IGD-014")
@given(st.text(st.characters(), max_size=200))
def test_any_friendly_name_gives_a_valid_document(name: str) -> None:
    shown = texts(tree(made(IgdVersion.IGD2, name=name)), "friendlyName")[0]
    assert 0 < len(shown) < 64
    assert shown.isprintable()
    assert shown == shown_name(name)


@pytest.mark.parametrize("name", ["../pyproject.toml", "igd1", "igd3.xml", "", "a/igd1.xml", "igd1.xml\x00"])
def test_no_other_file_can_be_loaded(name: str) -> None:
    with pytest.raises(LookupError):
        load_descriptor(name)


def test_documents_of_an_installed_wheel_come_before_those_of_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "upnp_gw"
    package.mkdir()
    monkeypatch.setattr(upnp_gw, "__file__", str(package / "__init__.py"))
    for place in (tmp_path / "descriptors", package / "descriptors"):
        place.mkdir()
        (place / "igd1.xml").write_bytes(b"<root/>")
        found = descriptors.__wrapped__() / "igd1.xml"
        assert found.read_bytes() == b"<root/>"
        assert found.resolve() == place / "igd1.xml"
