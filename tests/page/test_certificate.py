"""The page's own certificate: kept over starts, made again when it would not do."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from upnp_gw.page.certificate import LASTS, fingerprint, own_pair

ADDRESS = ip_address("192.168.1.1")
NOW = datetime.now(UTC)


def test_a_pair_that_tls_accepts_and_only_its_owner_reads(tmp_path: Path) -> None:
    certificate, key = own_pair(tmp_path, ADDRESS, ["router.lan"])
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(fingerprint(certificate)) == 95


def test_it_is_kept_until_an_address_or_a_name_changes_or_it_ends_soon(tmp_path: Path) -> None:
    def made(names: tuple[str, ...] = ("router.lan",), address: str = "192.168.1.1", now: datetime = NOW) -> str:
        return fingerprint(own_pair(tmp_path, ip_address(address), names, now)[0])

    first = made()
    assert made() == first
    assert made(now=NOW + LASTS - timedelta(days=31)) == first
    second = made(now=NOW + LASTS - timedelta(days=29))
    third = made(("gateway.lan",), now=NOW)
    fourth = made(("gateway.lan",), "192.168.1.2")
    assert len({first, second, third, fourth}) == 4
    (tmp_path / "page.key").unlink()
    assert made(("gateway.lan",), "192.168.1.2") != fourth
