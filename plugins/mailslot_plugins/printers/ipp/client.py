"""Sends requests to an IPP printer, over HTTP (RFC 8010 section 4)."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
from anyio.to_thread import run_sync

from mailslot.net.tls import context_trusting
from mailslot.plugin import InputError, NetworkError, RefusedError, ServerError
from mailslot_plugins.printers.ipp.codec import MAX_OCTETS, Attribute, Tag, decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Mapping, Sequence
    from pathlib import Path

    import httpx2

    from mailslot_plugins.printers.ipp.codec import Response, Value

GET_PRINTER_ATTRIBUTES: Final = 0x000B

_PORT: Final = 631
_SCHEMES: Final = {"ipp": "http", "ipps": "https"}


def http_address(uri: str) -> str:
    """Return the HTTP address of an IPP printer (RFC 3510 section 5, RFC 7472 section 4.2).

    Args:
        uri: ``ipp://HOST[:PORT]/PATH``, or ``ipps`` for TLS.

    Raises:
        InputError: it is not such an address.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port or _PORT
        if parts.scheme not in _SCHEMES or not parts.hostname or parts.username is not None:
            raise ValueError
    except ValueError:
        raise InputError(
            "The printer's address is not valid; an example is ipp://printer.example/ipp/print.", stage="resolve"
        ) from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{_SCHEMES[parts.scheme]}://{host}:{port}{parts.path or '/'}"


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return the TLS context for ``ipps``; blocks for a moment.

    Args:
        ca_file: certificate authorities in PEM that are trusted in addition to the system's.

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
    """Query a printer's attributes (Get-Printer-Attributes, RFC 8011 section 4.2.5).

    Args:
        uri: the printer's address, ``ipp`` or ``ipps``.
        names: the names of attributes or of groups of attributes.
        timeout: seconds for each step.
        ca_file: certificate authorities in PEM that are trusted in addition to the system's, for ``ipps``.

    Returns:
        the attributes that the printer has, each with its values.

    Raises:
        InputError: the address or the file cannot be used.
        NetworkError: the printer cannot be reached.
        ServerError: the server does not speak IPP.
        RefusedError: the printer refused.
    """
    requested = Attribute(Tag.KEYWORD, "requested-attributes", tuple(names))
    operation = (*operation_attributes(uri), requested)
    head = encode(GET_PRINTER_ATTRIBUTES, 1, [(Tag.OPERATION, operation)])
    context = await run_sync(tls_context, ca_file)
    response = await post(http_address(uri), head, context=context, timeout=timeout, total_timeout=2 * timeout)
    if response.status >= 0x100:
        raise RefusedError(
            "The printer does not report its state.",
            stage="greeting",
            cause="protocol_error",
            detail=f"IPP status 0x{response.status:04x}",
        )
    return response.group(Tag.PRINTER)


def operation_attributes(uri: str) -> tuple[Attribute, ...]:
    """Return the attributes that every request begins with, in the required order (RFC 8011 section 4.1.4)."""
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
    total_timeout: float,
    document: AsyncIterable[bytes] | None = None,
    size: int = 0,
) -> Response:
    """Send a request, and return the printer's response.

    Args:
        address: the printer's HTTP address.
        head: the encoded request without document.
        context: the TLS context.
        timeout: seconds for each step.
        total_timeout: seconds for the whole request.
        document: the octets of the document; None for no document.
        size: the number of these octets.

    Raises:
        NetworkError: the printer cannot be reached, or the connection broke.
        ServerError: the server does not speak IPP.
    """
    import httpx2  # noqa: PLC0415 - a device without such a printer needs no HTTP client

    length = len(head) + size
    headers = {"Content-Type": "application/ipp", "Accept-Encoding": "identity", "Content-Length": str(length)}
    content = head if document is None else _RequestBody(head, document)
    try:
        # A printer is on the local network: no proxy is used.
        async with httpx2.AsyncClient(timeout=timeout, verify=context, trust_env=False) as http:
            with anyio.fail_after(total_timeout):
                async with http.stream("POST", address, content=content, headers=headers) as response:
                    status = response.status_code
                    body = await _read_body(response)
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
            detail=_describe_error(error),
        ) from error
    if status != 200:
        raise ServerError(
            _STATUS_SENTENCES.get(status, "The server at the printer's address is not an IPP printer."),
            stage="greeting",
            cause="printer_stopped" if status in _BUSY else "protocol_error",
            retryable=True,
            detail=f"HTTP status {status}",
        )
    return decode(body)


async def _read_body(response: httpx2.Response) -> bytes:
    """Return a response's body; of a large one, little more than the `MAX_OCTETS` that `decode` reads."""
    body = bytearray()
    with anyio.CancelScope() as scope:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_OCTETS:
                # A `break` would leave generators of httpx unfinished, which trio reports as errors.
                scope.cancel()
    return bytes(body)


def _describe_error(error: BaseException) -> str:
    """Return the messages of an error and its causes."""
    messages: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(messages) < 5:
        messages.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    return ": ".join(dict.fromkeys(each for each in messages if each))


_BUSY: Final = frozenset({429, 503})
_STATUS_SENTENCES: Final = {
    401: "The printer requires a sign-in.",
    403: "The printer does not let this device print.",
    413: "The printer does not accept a document of this size.",
    426: "The printer requires an encrypted connection; its address must begin with ipps.",
    429: "The printer is busy.",
    503: "The printer is busy.",
}


class _RequestBody:
    """A request and its document. Not a generator, which would be left suspended if sending fails."""

    def __init__(self, head: bytes, document: AsyncIterable[bytes]) -> None:
        self._head: bytes | None = head
        self._document = aiter(document)

    def __aiter__(self) -> _RequestBody:
        return self

    async def __anext__(self) -> bytes:
        if self._head is not None:
            head, self._head = self._head, None
            return head
        return await anext(self._document)
