"""A certificate authority of the sandbox's own, new with each."""

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
            names: host names and addresses that it is good for; localhost and 127.0.0.1 by default.
            not_before: when it begins to be valid.
            not_after: when it ends.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        names = names or ("localhost", "127.0.0.1")
        leaf = self._ca.issue_cert(*names, not_before=not_before, not_after=not_after)
        leaf.configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - names pyOpenSSL
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a client's context that trusts this authority and no other."""
        return ssl.create_default_context(cadata=self.pem.decode())
