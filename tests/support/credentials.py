"""Certificates, API keys and signed tokens, made for a test."""

from __future__ import annotations

import ipaddress
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from turntree_server.access.caller import Role
from turntree_server.access.keys import create_key

AUDIENCE = "turntree-test"
ISSUER = "https://issuer.test"


@dataclass(frozen=True, slots=True)
class Pem:
    """A certificate and its private key, in files."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = _builder(self._name, self._name, self._key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), False)
        self.cert = folder / f"{name}.pem"
        self.cert.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> Pem:
        """A certificate for this machine, in new files of that name."""
        key = ec.generate_private_key(ec.SECP256R1())
        here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = _builder(_named(name), self._name, key)
        builder = builder.add_extension(x509.SubjectAlternativeName(here), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        pem = Pem(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        pem.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        pem.cert.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return pem

    def revocations(self) -> bytes:
        """A list of the certificates it has revoked, with one on it."""
        now = datetime.now(UTC)
        revoked = x509.RevokedCertificateBuilder().serial_number(1).revocation_date(now).build()
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name).last_update(now)
        builder = builder.next_update(now + timedelta(days=1)).add_revoked_certificate(revoked)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


class Signer:
    """Signs tokens, and publishes its public key as a JSON Web Key Set."""

    def __init__(self, jwks: Path, key_id: str = "k1") -> None:
        self.jwks = jwks
        self.key_id = key_id
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.public_pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        jwks.write_text(json.dumps({"keys": [self.jwk()]}))

    def jwk(self) -> dict[str, Any]:
        """The public key, as in a set."""
        public: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {**public, "kid": self.key_id, "use": "sig"}

    def token(
        self, role: str = "writer", namespace: str = "default", *, algorithm: str = "RS256", **claims: Any
    ) -> str:
        """A token with these claims; those that are None are left out."""
        merged = {**self.claims(role, namespace), **claims}
        content = {name: value for name, value in merged.items() if value is not None}
        return jwt.encode(content, self.key, algorithm=algorithm, headers={"kid": self.key_id})

    def claims(self, role: str = "writer", namespace: str = "default") -> dict[str, Any]:
        """What a valid token says."""
        return {
            "sub": "agent",
            "aud": AUDIENCE,
            "iss": ISSUER,
            "exp": int(time.time()) + 600,
            "turntree_role": role,
            "turntree_namespace": namespace,
        }


def new_key(
    path: Path, name: str, role: Role = Role.WRITER, namespace: str = "default", *, expires_in: timedelta | None = None
) -> str:
    """A key of a file."""
    now = datetime.now(UTC)
    expire_time = now + expires_in if expires_in is not None else None
    return create_key(path, name, role=role, namespace=namespace, create_time=now, expire_time=expire_time)
