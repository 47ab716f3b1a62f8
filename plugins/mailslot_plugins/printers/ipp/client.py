"""Requests to an IPP printer, over HTTP (RFC 8010 section 4)."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError, NetworkError, RefusedError, ServerError
from mailslot.net.tls import context_trusting
from mailslot_plugins.printers.ipp.codec import MAX_OCTETS, Attribute, Tag, decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Mapping, Sequence
    from pathlib import Path

    from mailslot_plugins.printers.ipp.codec import Response, Value

GET_PRINTER_ATTRIBUTES: Final = 0x000B

_PORT: Final = 631
_SCHEMES: Final = {"ipp": "http", "ipps": "https"}


def http_address(uri: str) -> str:
    """Return the HTTP address of an IPP printer (RFC 3510 section 5, RFC 7472 section 4.2).

    Args:
        uri: ``ipp://HOST[:PORT]/PATH``, or ``ipps`` for TLS.

    Raises:
        InputError: it is no such address.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port or _PORT
        if parts.scheme not in _SCHEMES or not parts.hostname or parts.username is not None:
            raise ValueError
    except ValueError:
        raise InputError(
            "What is to be a printer's address is none, such as ipp://printer.example/ipp/print.", stage="resolve"
        ) from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{_SCHEMES[parts.scheme]}://{host}:{port}{parts.path or '/'}"


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return how ``ipps`` is verified; blocks for a moment.

    Args:
        ca_file: certificate authorities in PEM that are trusted besides the system's.

    Raises:
        InputError: the file cannot be used.
    """
    return ssl.create_default_context() if ca_file is None else context_trusting(ca_file)


async def printer_attributes(
    uri: str,
    names: Sequence[str],
    *,
    timeout: float = 15.0,
    ca_file: Path | None = None,
) -> Mapping[str, tuple[Value, ...]]:
    """Ask a printer for attributes (Get-Printer-Attributes, RFC 8011 section 4.2.5).

    Args:
        uri: the printer's address, ``ipp`` or ``ipps``.
        names: the attributes' names, or names of groups of them.
        timeout: for each step, in seconds.
        ca_file: certificate authorities in PEM that are trusted besides the system's, for ``ipps``.

    Returns:
        those that the printer has, each with its values.

    Raises:
        InputError: the address or the file cannot be used.
        NetworkError: the printer was not reached.
        ServerError: what answered speaks something else.
        RefusedError: the printer refused.
    """
    wanted = Attribute(Tag.KEYWORD, "requested-attributes", tuple(names))
    operation = (*opening(uri), wanted)
    head = encode(GET_PRINTER_ATTRIBUTES, 1, [(Tag.OPERATION, operation)])
    context = await run_sync(tls_context, ca_file)
    response = await post(http_address(uri), head, context=context, timeout=timeout, within=2 * timeout)
    if response.status >= 0x100:
        raise RefusedError(
            "The printer does not tell its state.",
            stage="greeting",
            cause="protocol_error",
            detail=f"IPP status 0x{response.status:04x}",
        )
    return response.group(Tag.PRINTER)


def opening(uri: str) -> tuple[Attribute, ...]:
    """Return the attributes that every request begins with, in their order (RFC 8011 section 4.1.4)."""
    return (
        Attribute(Tag.CHARSET, "attributes-charset", ("utf-8",)),
        Attribute(Tag.LANGUAGE, "attributes-natural-language", ("en",)),
        Attribute(Tag.URI, "printer-uri", (uri,)),
    )


async def post(
    address: str,
    head: bytes,
    *,
    context: ssl.SSLContext,
    timeout: float,
    within: float,
    document: AsyncIterable[bytes] | None = None,
    size: int = 0,
) -> Response:
    """Send a request, and return the printer's response.

    Args:
        address: the printer's, as HTTP has it.
        head: the request without document.
        context: how TLS is verified.
        timeout: for each step, in seconds.
        within: for all of it, in seconds.
        document: the octets of the document that follows; None without one.
        size: how many those are.

    Raises:
        NetworkError: the printer was not reached, or what was said broke off.
        ServerError: what answered speaks something else.
    """
    import httpx2  # noqa: PLC0415 - a device without such a printer needs no HTTP client

    length = len(head) + size
    headers = {"Content-Type": "application/ipp", "Accept-Encoding": "identity", "Content-Length": str(length)}
    content = head if document is None else _Body(head, document)
    body = bytearray()
    try:
        # A printer stands in the same house: no proxy is asked for it.
        async with httpx2.AsyncClient(timeout=timeout, verify=context, trust_env=False) as http:
            with anyio.fail_after(within):
                async with http.stream("POST", address, content=content, headers=headers) as answer:
                    status = answer.status_code
                    # Ended from inside: whoever leaves the loop leaves a generator half-way, which trio resents.
                    with anyio.CancelScope() as scope:
                        async for piece in answer.aiter_raw():
                            body += piece
                            if len(body) > MAX_OCTETS:
                                scope.cancel()
    except (httpx2.TimeoutException, TimeoutError) as error:
        raise NetworkError(
            "The printer does not answer.",
            stage="connect",
            cause="printer_unreachable",
            retryable=True,
            detail=str(error),
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
        raise NetworkError(
            "The printer cannot be reached.",
            stage="connect",
            cause="printer_unreachable",
            retryable=True,
            detail=_causes(error),
        ) from error
    if status != 200:
        raise ServerError(
            _HTTP.get(status, "What answers at the printer's address is no IPP printer."),
            stage="greeting",
            cause="printer_stopped" if status in _BUSY else "protocol_error",
            retryable=True,
            detail=f"HTTP status {status}",
        )
    return decode(bytes(body))


def _causes(error: BaseException) -> str:
    """Return what an error says, and what led to it."""
    said: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(said) < 5:
        said.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    return ": ".join(dict.fromkeys(each for each in said if each))


_BUSY: Final = frozenset({429, 503})
_HTTP: Final = {
    401: "The printer wants a sign-in.",
    403: "The printer does not let this device print.",
    413: "The printer does not take a document of this size.",
    426: "The printer wants an encrypted connection; its address is to begin with ipps.",
    429: "The printer is busy.",
    503: "The printer is busy.",
}


class _Body:
    """A request and the document behind it; no generator, which would be left half-way where sending breaks off."""

    def __init__(self, head: bytes, document: AsyncIterable[bytes]) -> None:
        self._head: bytes | None = head
        self._document = aiter(document)

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        if self._head is not None:
            head, self._head = self._head, None
            return head
        return await anext(self._document)
