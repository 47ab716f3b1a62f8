"""The sandbox's certificate authority, new for each sandbox."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from datetime import datetime


class CertificateAuthority:
    """Issues the servers' certificates, and good or bad ones for tests.

    Attributes:
        pem: its own certificate, PEM.
    """

    def __init__(self) -> None:
        self._ca = trustme.CA(organization_name="mailslot sandbox")
        self.pem = self._ca.cert_pem.bytes()

    def server_context(
        self,
        *names: str,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> ssl.SSLContext:
        """Return a server's context with a new certificate.

        Args:
            names: its host names and addresses; localhost and 127.0.0.1 by default.
            not_before: the beginning of its validity.
            not_after: the end of its validity.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        names = names or ("localhost", "127.0.0.1")
        leaf = self._ca.issue_cert(*names, not_before=not_before, not_after=not_after)
        leaf.configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - names pyOpenSSL
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a client's context that trusts only this authority."""
        return ssl.create_default_context(cadata=self.pem.decode())
