"""TLS: certificates from files, looked at again at each handshake, so that new ones need no restart."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import NoReturn

import grpc
from turntree.errors import InvalidArgument
from turntree.limits import invalid

from turntree_server.access.files import read_file

log = logging.getLogger(__name__)

_REVOCATIONS = b"-----BEGIN X509 CRL-----"


class CertificateFiles:
    """A certificate chain with its private key, and the authorities whose clients are let in.

    Args:
        cert: The chain, in PEM.
        key: The private key, in PEM, without a password.
        client_ca: The authorities that sign certificates of clients; None when clients need none.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None) -> None:
        self._cert = cert
        self._key = key
        self._client_ca = client_ca
        self._stamp: object = None
        self._failure = ""

    def credentials(self) -> grpc.ServerCredentials:
        """What a port with TLS is opened with.

        Raises:
            InvalidArgument: FIELD_INVALID, when a file cannot be read or they do not belong together.
        """
        self._stamp = self._stamp_now()
        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._read(),
            self._read_if_changed,  # type: ignore[arg-type] # None is for no change
            require_client_authentication=self._client_ca is not None,
        )
        return credentials

    def _read_if_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Called at each handshake; None keeps what is in use, also while files are being replaced one by one.

        Files that cannot be used are tried again at the next one, for the reason may go without a change of what they
        hold: whoever replaced them gives them to the server a moment later.
        """
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return None
        try:
            configuration = self._read()
            if stamp != self._stamp_now():
                return None
        except InvalidArgument as error:
            if str(error) != self._failure:
                self._failure = str(error)
                log.error("new certificates cannot be used, those before stay: %s", error)
            return None
        self._stamp = stamp
        self._failure = ""
        log.info("certificates were read again")
        return configuration

    def _read(self) -> grpc.ServerCertificateConfiguration:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            chain, key = read_file(self._cert), read_file(self._key)
            context.load_cert_chain(self._cert, self._key, password=_no_password)
        except (OSError, ValueError) as error:
            invalid("--tls-cert, --tls-key", f"{self._cert}, {self._key}", f"a certificate and its key ({_why(error)})")
        if self._client_ca is None:
            return grpc.ssl_server_certificate_configuration([(key, chain)])
        try:
            authorities = read_file(self._client_ca)
            context.load_verify_locations(self._client_ca)
        except OSError as error:
            invalid("--tls-client-ca", self._client_ca, f"a file of certificates ({_why(error)})")
        if _REVOCATIONS in authorities:  # whoever wrote them there relies on them
            limit = "a file of certificates only: gRPC does not look at lists of revoked ones"
            invalid("--tls-client-ca", self._client_ca, limit)
        return grpc.ssl_server_certificate_configuration([(key, chain)], authorities)

    def _stamp_now(self) -> object:
        files = [file for file in (self._cert, self._key, self._client_ca) if file is not None]
        try:
            states = [file.stat() for file in files]
        except OSError:
            return None
        return [(state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size) for state in states]


def _no_password() -> NoReturn:
    raise ValueError("the key needs a password")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").lower().replace("_", " ")
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
