"""Certificates of a development federation: one authority a folder, one certificate a server."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_YEARS = datetime.timedelta(days=3650)


def ensure_authority(folder: Path) -> Path:
    """`ca.pem` and `ca.key` in `folder`, made at the first call. Returns the certificate's path."""
    certificate, key = folder / "ca.pem", folder / "ca.key"
    if certificate.exists() and key.exists():
        return certificate
    folder.mkdir(parents=True, exist_ok=True)
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Colloque development authority")])
    built = (
        _builder(name, name, private.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    _write(key, _private_pem(private))
    _write(certificate, built.public_bytes(serialization.Encoding.PEM))
    return certificate


def ensure_server(folder: Path, authority: Path) -> tuple[Path, Path]:
    """`tls.pem` and `tls.key` in `folder` for localhost, signed by the authority (`ca.pem`)."""
    certificate, key = folder / "tls.pem", folder / "tls.key"
    issuer = x509.load_pem_x509_certificate(authority.read_bytes())
    if certificate.exists() and key.exists() and _signed_by(certificate, issuer):
        return certificate, key
    signer = serialization.load_pem_private_key(
        authority.with_suffix(".key").read_bytes(), password=None
    )
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{authority} was not made here: its key is of another kind")
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    built = (
        _builder(name, issuer.subject, private.public_key())
        .add_extension(names, critical=False)
        .add_extension(usage, critical=False)
        .sign(signer, hashes.SHA256())
    )
    _write(key, _private_pem(private))
    _write(certificate, built.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _YEARS)
    )


def _signed_by(certificate: Path, issuer: x509.Certificate) -> bool:
    try:
        x509.load_pem_x509_certificate(certificate.read_bytes()).verify_directly_issued_by(issuer)
    except Exception:
        return False
    return True


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
