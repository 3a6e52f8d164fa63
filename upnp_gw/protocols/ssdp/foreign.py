"""SSDP from the control point's side: a search as bytes, and what another gateway answers and announces."""

from dataclasses import dataclass
from enum import StrEnum

from upnp_gw.model.errors import WireError
from upnp_gw.protocols.ssdp.groups import IPV4, PORT
from upnp_gw.protocols.ssdp.search import HEADER

FOREIGN_MAX = 2048
"""Most bytes of a message that is read."""
ROOT = "urn:schemas-upnp-org:device:InternetGatewayDevice:"
_NOTIFY, _ANSWER = "NOTIFY * HTTP/1.1", "HTTP/1.1 200"
_BOOT_ID_MAX = 2**31 - 1


class ForeignNts(StrEnum):
    """The kind of a message."""

    ANSWER = "answer"
    ALIVE = "ssdp:alive"
    BYEBYE = "ssdp:byebye"
    UPDATE = "ssdp:update"


@dataclass(frozen=True, slots=True)
class ForeignMessage:
    """A message about a device or a service of another host."""

    nts: ForeignNts
    target: str
    """ST or NT."""
    udn: str
    """``uuid:`` and what follows, of the USN."""
    location: str
    """As it came, printable ASCII; empty where there is none."""
    boot_id: int | None
    """BOOTID.UPNP.ORG; None: a device of UDA 1.0, which has none."""
    next_boot_id: int | None = None

    @property
    def igd_version(self) -> int:
        """Of a root device of IGD: 1 or more; 0: it is something else."""
        version = self.target.removeprefix(ROOT)
        return int(version) if self.target.startswith(ROOT) and version in ("1", "2") else 0


def build_search(igd_version: int, host: str = "", wait_s: int = 1) -> bytes:
    """A search for root devices of this version of IGD. ``host``: of a unicast search; empty: by multicast."""
    lines = ["M-SEARCH * HTTP/1.1", f"HOST: {f'{host}:{PORT}' if host else IPV4.host}", 'MAN: "ssdp:discover"']
    return "\r\n".join([*lines, f"MX: {wait_s}", f"ST: {ROOT}{igd_version}", "", ""]).encode("ascii")


def parse_foreign_message(data: bytes) -> ForeignMessage:
    """An answer to a search or an announcement. Raises WireError, also for the searches of others."""
    if len(data) > FOREIGN_MAX:
        raise WireError("too-long")
    first, *lines = data.decode("latin-1").replace("\r\n", "\n").split("\n")
    answer = first.startswith(_ANSWER)
    if not answer and first != _NOTIFY:
        raise WireError("not-announced")
    fields = _fields(lines)
    try:
        nts = ForeignNts.ANSWER if answer else ForeignNts(fields.get("nts", ""))
    except ValueError:
        raise WireError("bad-nts") from None
    udn = fields.get("usn", "").partition("::")[0]
    location = fields.get("location", "")
    if not udn.startswith("uuid:") or not (location.isascii() and location.isprintable()):
        raise WireError("bad-header")
    return ForeignMessage(
        nts,
        fields.get("st" if answer else "nt", ""),
        udn[:128],
        location[:512],
        _boot_id(fields.get("bootid.upnp.org")),
        _boot_id(fields.get("nextbootid.upnp.org")),
    )


def _fields(lines: list[str]) -> dict[str, str]:
    """The headers up to the first blank line, the first of each name; a line that is none is passed over."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            break
        match = HEADER.fullmatch(line)
        if match is not None:
            fields.setdefault(match[1].lower(), match[2].strip(" \t"))
    return fields


def _boot_id(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    return min(int(text), _BOOT_ID_MAX)
