"""The page's own TLS certificate, made where the operator gives none. A browser warns of it once."""

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from upnp_gw.model.mapping import IPAddress
from upnp_gw.system.files import FileProblem, read_own, write_own

LASTS = timedelta(days=397)
"""Browsers refuse certificates that are good for longer."""
RENEWED_BEFORE = timedelta(days=30)
LARGEST = 64 * 1024
NAME = "upnp-gw page"


def own_pair(
    directory: Path, address: IPAddress, names: Iterable[str], now: datetime | None = None
) -> tuple[Path, Path]:
    """Certificate and key for this address and these names: the pair of an earlier start, or a new one.

    Raises FileProblem if it cannot be written.
    """
    certificate, key = directory / "page.crt", directory / "page.key"
    now = now or datetime.now(UTC)
    wanted = [x509.IPAddress(address), x509.DNSName("localhost"), *(x509.DNSName(name) for name in names)]
    if not _good(certificate, key, wanted, now):
        made_certificate, made_key = _made(wanted, now)
        write_own(key, made_key, 0o600)
        write_own(certificate, made_certificate, 0o644)
    return certificate, key


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the certificate, as browsers show it. Raises FileProblem, ValueError."""
    digest = x509.load_pem_x509_certificate(read_own(certificate, LARGEST)).fingerprint(hashes.SHA256())
    return digest.hex(":").upper()


def _good(certificate: Path, key: Path, wanted: list[x509.GeneralName], now: datetime) -> bool:
    try:
        read_own(key, LARGEST)
        kept = x509.load_pem_x509_certificate(read_own(certificate, LARGEST))
        names = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileProblem, ValueError, x509.ExtensionNotFound):
        return False
    return list(names) == wanted and now + RENEWED_BEFORE < kept.not_valid_after_utc and os.access(key, os.R_OK)


def _made(names: list[x509.GeneralName], now: datetime) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # the clock of a device without a battery
        .not_valid_after(now + LASTS)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), plain
