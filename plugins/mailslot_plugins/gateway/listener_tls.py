"""The TLS context of a listener; its certificates may be replaced on the disk while it is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot.diagnosis.listener_certificate import ListenerCertificate
from mailslot.errors import InputError
from mailslot.net.certificate_contents import read_certificates
from mailslot.net.certificates import ensure_certificates
from mailslot.net.server_tls import server_context
from mailslot.spool.errors import writing
from mailslot.vault import durable
from mailslot_plugins.gateway.gateway import host_name

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from mailslot.slots.gateway.listeners import Listener


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A loaded context.

    Attributes:
        context: the context for the next handshake.
        certificates: the certificates that it presents.
        made_from: the versions of their files, and the certificates of devices.
    """

    context: ssl.SSLContext
    certificates: tuple[ListenerCertificate, ...]
    made_from: object


class ListenerTls:
    """The certificates of a listener, and the certificates of devices that it accepts.

    Args:
        home: the home folder.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._loaded: _Loaded | None = None

    @property
    def certificates(self) -> tuple[ListenerCertificate, ...]:
        """The certificates that the listener presents; empty before the first `refresh`."""
        return () if self._loaded is None else self._loaded.certificates

    def context(self) -> ssl.SSLContext:
        """Return the context for the next handshake."""
        assert self._loaded is not None  # noqa: S101 - a listener is opened after the first `refresh`
        return self._loaded.context

    async def refresh(self, settings: Listener, device_certificates: tuple[str, ...]) -> None:
        """Load the certificates again if any of them has changed.

        Args:
            settings: the listener's settings, with TLS.
            device_certificates: the certificates that devices may present, in PEM.

        Raises:
            MailError: they cannot be used; the loaded ones stay in use.
        """
        self._loaded = await run_sync(self._load, settings, device_certificates)

    def _load(self, settings: Listener, device_certificates: tuple[str, ...]) -> _Loaded:
        files, before = self._files(settings), self._loaded
        # Read before the files, so that a change meanwhile is noticed at the next refresh.
        made_from = ([[(path, durable.file_version(path)) for path in pair] for pair in files], device_certificates)
        if before is not None and before.made_from == made_from:
            return before
        try:
            context = server_context(files, legacy=settings.legacy, client_certificates=device_certificates)
        except InputError as error:
            if before is None:
                raise
            sentence = f"{error} The listener {settings.name} keeps the certificate that it has."
            raise InputError(sentence, stage="tls", key=error.key, detail=error.detail) from error
        contents = [parsed for parsed in read_certificates([path for path, _ in files]) if parsed is not None]
        generated = settings.certificate is None
        certificates = tuple(ListenerCertificate.of(each, generated=generated) for each in contents)
        return _Loaded(context, certificates, made_from)

    def _files(self, settings: Listener) -> list[tuple[Path, Path]]:
        if settings.certificate is not None and settings.key is not None:
            return [(self._home / settings.certificate, self._home / settings.key)]
        folder = self._home / "gateway"
        with writing(folder):
            durable.make_folder(folder)
            return ensure_certificates(folder, [host_name()])
