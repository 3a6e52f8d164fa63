"""What the tests of SSDP share: two root devices, and messages taken apart."""

from uuid import UUID

from upnp_gw.protocols.description import RootDevice, root_device
from upnp_gw.protocols.faces import Face
from upnp_gw.protocols.ssdp import Voice, server_token

GATEWAY = UUID("11111111-2222-4333-8444-555555555555")


def root(face: Face) -> RootDevice:
    return root_device(
        face, GATEWAY, friendly_name="gate", presentation_url="", token="t0k", scpds=(face.value.encode(),)
    )


V1, V2 = root(Face.IGD1), root(Face.IGD2)
EVERY = 10 + 11
"""Messages of one complete set of both root devices (IGD section 2.1)."""
VOICE = Voice((V1, V2), server_token("6.1.0-test"), 1800, 5000)


def search(st: str, *, mx: str | None = "2", host: str = "239.255.255.250:1900") -> bytes:
    """A search as a careful client writes it."""
    wait = "" if mx is None else f"MX: {mx}\r\n"
    return f'M-SEARCH * HTTP/1.1\r\nHOST: {host}\r\nMAN: "ssdp:discover"\r\n{wait}ST: {st}\r\n\r\n'.encode()


def taken_apart(message: bytes) -> tuple[str, dict[str, str]]:
    """Start line and headers of a well-formed message without body."""
    text = message.decode("ascii")
    assert text.endswith("\r\n\r\n")
    start, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
    headers = [line.partition(":") for line in lines]
    names = [name for name, _, _ in headers]
    assert len(set(names)) == len(names)
    assert all(line.isprintable() for line in lines)
    return start, {name: value.strip() for name, _, value in headers}
